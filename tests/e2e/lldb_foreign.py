"""lldb on dumps of other processors, with our plugin and without it: what lldb 19 can, and where it ends."""
import functools
import re

import bt
import foreign
from foreign import architecture
from lib import FOREIGN, differ, lacks
from lldb_checks import check_threads
from lldb_session import PluginSession, StockSession

# One of each processor; arm64 has its own in foreign.py.
CRASHES = ("s390x-6.1/nonote-s390", "ppc64el-6.1/nonote-radix", "riscv64-6.12/nonote-sv57", "i386-6.1/non-pae", "armhf-6.1/nonote-short")
# Frames that lldb's backtraces do not have: entry code in assembly, and what Power's vector for interrupts interrupted.
# docs/support-matrix.md says why.
ENDS = {"s390x": ["system_call", "ret_from_fork"], "riscv64": ["ret_from_fork", "ret_from_fork_kernel_asm", "handle_exception"], "ppc64el": ["panic"]}


def check_panic(crash, session):
    ends = ENDS.get(architecture(crash), [])
    wanted = [name for name in [*foreign.PANIC, *foreign.ENTRY[architecture(crash)]] if name not in ends]
    frames = [name for _, name in session.traces().get(1, [])]
    if missing := bt.in_order(wanted, frames, bt.same_function):
        yield f"no {missing} in its place in {frames}"


def check_sleeping(crash, session):
    yield from bt.check_sleeping(crash, session, ENDS.get(architecture(crash), []))


def check_values(crash, session):
    yield from lacks("p init_task.comm", session.output("comm"), '"swapper/0"')
    yield from lacks("expression", session.output("release"), f'"{crash.release}"')
    yield from lacks("memory read", session.output("banner"), crash.truth("version").decode().strip())


def check_modules(crash, session):
    """lldb has each module, and knows what is at its functions' addresses."""
    for module in crash.module_sections():
        yield from lacks("image list", session.output("image list"), f"/{module}.ko")
    rows = foreign.functions(crash)
    for address, _, name, module in rows:
        yield from lacks(f"image lookup -a {address + 4:#x}", session.output(f"at {address:#x}"), f"{module}.ko`{name.split('.')[0]}")
    if not rows:
        yield "no module has a function that the kernel names: the check is worth nothing"
    yield from differ("errors", re.findall(r"^error: .* unsupported .*", session.said, re.M)[:3], [])


def plan(crash, session):
    for key, command in (("frames", "@frames"), ("thread list", "thread list"), ("registers", "register read"), ("comm", "p init_task.comm"),
                         ("release", "expression init_uts_ns.name.release"), ("image list", "image list"),
                         ("banner", "memory read --format s --count 1 `(char*)&linux_banner`")):
        session.want(key, command)
    for address, *_ in foreign.functions(crash):
        session.want(f"at {address:#x}", f"image lookup --address {address + 4:#x}")


def tests(env):
    for crash in env.crashes(FOREIGN):
        if crash.id not in CRASHES:
            continue
        for kind in (StockSession, PluginSession):
            session = kind(env, crash.dump())
            plan(crash, session)
            checks = {"panic": check_panic, "sleeping": check_sleeping, "everyone": bt.check_all_there, "values": check_values, "modules": check_modules}
            if architecture(crash) == "armhf":
                del checks["sleeping"]  # /proc/PID/stack tells of nobody but the reader
            if architecture(crash) in foreign.KERNELS:
                checks["registers"] = foreign.check_registers
            for name, check in checks.items():
                yield f"{kind.how}/{crash.id}/{name}", functools.partial(check, crash, session)
            yield f"{kind.how}/{crash.id}/threads", functools.partial(check_threads, env, crash, session)
