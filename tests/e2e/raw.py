"""Memory alone: a raw image has no CPU's registers, and a gdb that knows nothing of it must still show all tasks."""
import functools

import bt
import foreign
from gdb_session import GdbSession, backtraces
from lib import FOREIGN

CALLERS = ["sysrq_handle_crash", "write_sysrq_trigger", "vfs_write", "ksys_write", "do_syscall_64"]  # of panic()


def check(env, crash, dump, alone):
    session = GdbSession(env, dump, alone)
    answers, printed = session.run(["bt", foreign.EACH_BT if crash.kernel in FOREIGN else "thread apply all bt"])
    if "not available" in printed:
        yield printed[-300:]
    traces = backtraces(answers[1].output)
    if missing := crash.stat("stat2").keys() - traces.keys():
        yield f"no backtrace of {sorted(missing)[:10]}"
    if crash.kernel in FOREIGN:
        if "#0" not in answers[0].output:
            yield f"gdb begins at a thread without frames: {answers[0].output[-300:]}"
        return
    # The x86 code says what called panic().
    frames = [name for _, name in traces.get(1, [])]
    if missing := bt.in_order(CALLERS, frames, bt.same_function):
        yield f"no {missing} in its place in {frames}"
    if "sysrq_handle_crash" not in answers[0].output:
        yield f"gdb begins elsewhere: {answers[0].output[-300:]}"


def tests(env):
    for crash in env.crashes() + env.crashes(FOREIGN):
        for dump in crash.dumps():
            if dump.name != "raw.img":
                continue
            yield f"{dump.id}/gdb", functools.partial(check, env, crash, dump, False)
            if crash.kernel not in FOREIGN:
                yield f"{dump.id}/alone", functools.partial(check, env, crash, dump, True)
