"""lldb with nothing but the dump, on the image that is made of it: with our plugin, and without it on `inquest serve`."""
import functools
import re

import bt
import image
from lib import differ, lacks
from lldb_session import PluginSession, StockSession, run_lldb
from server import serving


def check_panic(crash, session):
    yield from image.check_panic(crash, session)
    yield from differ("the outermost frame", session.traces()[1][-1][1], "entry_SYSCALL_64_after_hwframe")
    yield from lacks("bt", session.output("bt"), "stop reason = Kernel panic - not syncing: sysrq triggered crash", "vmlinux`panic(fmt=<unavailable>)")


def check_values(crash, session):
    yield from lacks("init_task.comm", session.output("comm"), '"swapper/0"')
    yield from lacks("release", session.output("release"), crash.release)
    yield from lacks("a type", session.output("type"), "struct sk_buff", "sk_buff_data_t tail")
    yield from lacks("a module's type", session.output("module's type"), "lo_backing_file")
    yield from lacks("a module's function", session.output("module's function"), "loop_queue_rq")
    yield from lacks("image list", session.output("image list"), "/vmlinux")
    yield from lacks("memory read", session.output("banner"), f"Linux version {crash.release}")
    if "nable to find file" in session.said:
        yield f"lldb looks for a vmlinux: {session.said[:300]}"


def check_interrupted(crash, session):
    """What an interrupt interrupted is shown below it."""
    tid = next(tid for tid, task in crash.stat().items() if task.name == b"spinning")
    names = [name for _, name in session.traces().get(tid, [])]
    if crash.name != "kexec" and "__schedule" not in names and not any(re.match(r"asm_|common_interrupt", name) for name in names):
        yield f"no code that an interrupt enters in {names}"


def check_own_vmlinux(env, dump):
    """The server has no vmlinux, lldb has one: it is moved to where the kernel ran."""
    with serving(env, dump, vmlinux=False) as server:
        answers, _ = run_lldb(env, [f"target create {dump.crash.vmlinux}", f"gdb-remote {server.where}", "bt", "p init_task.comm"])
    yield from lacks("bt", answers[2].output, "`panic(", "`ksys_write(", "read_write.c:", "`entry_SYSCALL_64 at ")
    yield from lacks("init_task.comm", answers[3].output, '"swapper/0"')


def plan(crash, session):
    loop = next(row for row in crash.kallsyms() if row[3] == "loop" and row[2] == "loop_queue_rq")
    ordered = [("frames", "@frames"), ("bt", "thread backtrace"), ("comm", "p init_task.comm"), ("release", "p init_uts_ns.name.release"),
               ("type", "image lookup --type sk_buff"), ("module's type", "image lookup --type loop_device"),
               ("module's function", f"image lookup --address {loop[0] + 4:#x}"), ("image list", "image list"),
               ("banner", "memory read --format s --count 1 `(char*)&linux_banner`")]
    for key, command in ordered:
        session.want(key, command)


CHECKS = {"panic": check_panic, "values": check_values, "interrupted": check_interrupted, "sleeping": bt.check_sleeping,
          "everyone": bt.check_all_there, "spinning": bt.check_spinning}
PLUGIN = ("6.1/qemu4", "6.12/qemu5", "6.1/kexec", "6.12/kexec")
STOCK = ("6.12/qemu4", "6.1/qemu5-nonote")


def tests(env):
    for ids, kind in ((PLUGIN, PluginSession), (STOCK, StockSession)):
        for crash in env.crashes():
            if crash.id in ids:
                session = kind(env, crash.dump(), alone=True)
                plan(crash, session)
                for name, check in CHECKS.items():
                    yield f"{kind.how}/{crash.id}/{name}", functools.partial(check, crash, session)
    for crash in env.crashes():
        if crash.id == "6.12/qemu4":
            yield f"stock/{crash.id}/own-vmlinux", functools.partial(check_own_vmlinux, env, crash.dump())
