"""Memory alone: a raw image has no CPU's registers, and a gdb that knows nothing of it must still show all tasks."""
import functools
import re
import struct

import bt
import foreign
from gdb_session import GdbSession, backtraces
from lib import FOREIGN, Dump

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


def write_lime(crash, path):
    """The image's RAM as the module LiME writes it: a header of 32 bytes before each range (LiME, doc/README.md, "Spec")."""
    with open(crash.folder / "raw.img", "rb") as raw, open(path, "wb") as out:
        for line in crash.lines("iomem"):
            if found := re.match(r"([0-9a-f]+)-([0-9a-f]+) : System RAM", line):
                first, last = int(found[1], 16), int(found[2], 16)
                out.write(struct.pack("<IIQQ8x", 0x4C694D45, 1, first, last))
                raw.seek(first)
                out.write(raw.read(last + 1 - first))


def check_lime(env, crash):
    path = env.temp("memory.lime")
    write_lime(crash, path)
    try:
        dump = Dump(crash, path)
        yield from check(env, crash, dump, False)
        dump.options = ["--arch", "x86_64"]
        yield from check(env, crash, dump, True)
    finally:
        path.unlink()


def tests(env):
    for crash in env.crashes() + env.crashes(FOREIGN):
        for dump in crash.dumps():
            if dump.name != "raw.img":
                continue
            yield f"{dump.id}/gdb", functools.partial(check, env, crash, dump, False)
            if crash.kernel not in FOREIGN:
                yield f"{dump.id}/alone", functools.partial(check, env, crash, dump, True)
            if crash.id == "6.1/qemu4":
                yield f"{crash.id}/lime", functools.partial(check_lime, env, crash)
