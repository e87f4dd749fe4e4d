"""lldb on real dumps, with our plugin and without: threads, backtraces, values, modules, memory, wishes that cannot be granted."""
import functools
import re

import bt
from lib import differ, lacks
from lldb_session import PluginSession, StockSession
from queries import functions_of, samples
from registers import SAVED, gdb_threads, qemu_cpus

PANIC = "Kernel panic - not syncing: sysrq triggered crash"
CANNOT_RUN = "this is a crash dump, it cannot run"


def check_threads(env, crash, session):
    """Every task is a thread with its name; the panicking one is selected, and only it has a reason to have stopped."""
    listed = session.output("thread list")
    names = {int(tid, 16): name for tid, name in re.findall(r"^[* ] thread #\d+: tid = 0x([0-9a-f]+).*, name = '(.*?)'(?:,|$)", listed, re.M)}
    rows = env.json("ps", session.dump)
    yield from differ("threads", len(re.findall(r"^[* ] thread #", listed, re.M)), len(rows))
    for row in rows:
        if row["tid"] and row["comm"].isprintable() and row["comm"].isascii() and row["comm"]:
            yield from differ(f"the name of thread {row['tid']}", names.get(row["tid"]), row["comm"])
    yield from differ("stop reasons", re.findall(r"^(.) thread #(\d+).*stop reason = (.*)$", listed, re.M), [("*", "1", PANIC)])
    yield from lacks("the first stop", session.opened.output + session.said, "* thread #1, name = 'truth', stop reason = " + PANIC)


def check_panic(env, crash, session):
    yield from bt.check_panic(crash, session)
    yield from lacks("bt", session.output("bt"), "kernel/panic.c" if "kernel/panic.c" in session.output("bt") else "at panic.c:",
                     "at read_write.c:", "count=1", "`entry_SYSCALL_64 at entry_64.S:")
    # gdb's frames below the entry mean nothing; lldb has none.
    yield from differ("the outermost frame", session.traces()[1][-1][1].startswith("entry_SYSCALL_64"), True)


def check_values(env, crash, session):
    release, banner = crash.release, crash.truth("version").decode().strip()
    yield from lacks("p init_task.comm", session.output("p init_task.comm"), '"swapper/0"')
    yield from lacks("expression", session.output("release"), f'"{release}"')
    yield from lacks("expression of a pointer", session.output("comm"), '"swapper/0"')
    yield from lacks("memory read", session.output("banner"), f'"{banner}')
    yield from lacks("frame variable", session.output("frame variable"), "(size_t) count = 1", "(ssize_t) ret = ")
    start, shown = (1 << 32) - 300 * 250, re.search(r"jiffies_64 = (\d+)", session.output("target variable"))  # INITIAL_JIFFIES
    if not shown or not start < int(shown[1]) < start + 3600 * 250:
        yield f"target variable: {session.output('target variable')}"
    yield from lacks("ptype", session.output("type"), "comm", "mm_struct *mm")


def check_registers(env, crash, session):
    """A sleeping task has what the kernel saved and no more; the CPUs' registers are QEMU's."""
    shown = dict(re.findall(r"^ +(\w+) = (0x[0-9a-f]+)", session.output("registers of a sleeper"), re.M))
    if int(shown.get("rip", "0"), 16) < 0xFFFFFFFF80000000 or int(shown.get("rsp", "0"), 16) < 1 << 63:
        yield f"a sleeper: {shown}"
    if "rax" in shown:
        yield "rax of a sleeping task: nobody saved it"
    yield from lacks("unavailable registers", session.output("registers of a sleeper"), "registers were unavailable")
    if crash.has_truth("registers"):
        one = {name: int(value, 16) for name, value in re.findall(r"^ +(\w+) = (0x[0-9a-f]+)", session.output("registers"), re.M)}
        cpus = [cpu for cpu in qemu_cpus(crash) if (cpu["rip"], cpu["rsp"]) == (one["rip"], one["rsp"])]
        yield from differ("CPUs with the panicking task's registers", len(cpus), 1)
        for name, value in cpus[0].items() if cpus else ():
            if name in one:
                yield from differ(name, hex(one[name]), hex(value))


def check_modules(env, crash, session):
    """`image list` has the modules, and an address inside one has a function and a line."""
    for module in crash.module_sections():
        yield from lacks("image list", session.output("image list"), f"/{module}.ko")
        address, name = functions_of(crash, module)[len(functions_of(crash, module)) // 2]
        shown = session.output(f"lookup {module}")
        yield from lacks(f"image lookup -a {address + 4:#x}", shown, f".ko`{name.split('.')[0]}", " at ", ".c:")
        yield from lacks(f"address of {name}", session.output(f"address {module}"), f"{address:#x}")


def functions(crash):
    """Of the samples, those that lldb has a symbol for: data's symbols may have no size."""
    return [row for row in samples(crash) if row[1] in "tT"][::10]


def check_kallsyms(env, crash, session):
    """Functions of the kernel, at the addresses that the guest said."""
    names = {}
    for address, _, name, _ in crash.kallsyms():
        names.setdefault(address, set()).add(name)
    for address, *_ in functions(crash):
        shown = session.output(f"symbol {address:#x}")
        if not any(f"`{name}" in shown for name in names[address]):
            yield f"image lookup -a {address:#x}: none of {names[address]} in {shown}"


def check_memory(env, crash, session):
    regions = re.findall(r"^\[(0x\w+)-(0x\w+)\) (\S{3})", session.output("regions"), re.M)
    end = 0
    for first, last, _ in regions:
        yield from differ("a gap between memory regions", int(first, 16), end)
        end = int(last, 16)
    text = next(address for address, _, name, _ in crash.kallsyms() if name == "_text")
    inside = [rights for first, last, rights in regions if int(first, 16) <= text < int(last, 16)]
    yield from differ("rights of the kernel's text", inside, ["r-x"])
    yield from lacks("memory find", session.output("find"), "data found at location: 0x")
    yield from lacks("memory read of nothing", session["nothing"].both, "memory read failed for 0x")


# The command and what it must say; each leaves the session as it was.
WISHES = [
    ("continue", PANIC),
    ("thread step-over", PANIC),
    ("thread step-in", PANIC),
    ("thread step-inst", PANIC),
    ("thread step-inst-over", PANIC),
    ("finish", PANIC),
    ("thread until 1", ""),
    ("breakpoint set --name ksys_write", "Breakpoint 1: where = "),
    ("continue", PANIC),
    ("breakpoint delete --force", "All breakpoints removed"),
    ("watchpoint set expression -- &jiffies_64", "Watchpoint creation failed"),
    ("expression (void)schedule()", "Can't evaluate the expression without a running target"),
    ("expression init_task.comm[0] = 65", "couldn't write to memory"),
    ("memory write &init_task 1", "Memory write to 0x"),
    ("register write rip 0", "Failed to write register 'rip'"),
    ("process interrupt", "Process is not running"),
    ("process signal SIGINT", "Failed to send signal"),
    ("thread jump --by 1", ""),
]
RESUMING = 7


def check_wishes(env, crash, session):
    for number, (wish, sentence) in enumerate(WISHES):
        yield from lacks(wish, session[f"wish {number}"].both, sentence)
        if (seconds := session[f"wish {number}"].seconds) > 50:  # lldb waits 60 s for an answer that does not come
            yield f"{wish} took {seconds:.0f} s"
        yield from lacks(f"alive after {wish}", session.output(f"alive {number}"), crash.release)
        yield from lacks(f"stopped after {wish}", session.output(f"stop {number}"), "* thread #1", "name = 'truth'")
    said = session.said.count(CANNOT_RUN)
    if not RESUMING <= said <= 2 * RESUMING + 4:
        yield f"lldb was told {said} times that the dump cannot run"


def check_end(env, crash, session):
    yield from differ("process detach", session["detach"].error, None)
    yield from lacks("the target after it", session.output("target"), "state=detached")


def plan(crash, session):
    tid = next(tid for tid, task in crash.stat().items() if task.name == b"nanosleep")
    ordered = [("thread list", "thread list"), ("frames", "@frames"), ("bt", "thread backtrace"), ("registers", "register read --all"),
               ("to ksys_write", "@frame ksys_write"), ("frame variable", "frame variable"),
               ("p init_task.comm", "p init_task.comm"), ("release", "expression init_uts_ns.name.release"),
               ("comm", "expression (char *)init_task.comm"), ("banner", "memory read --format s --count 1 `(char*)&linux_banner`"),
               ("target variable", "target variable jiffies_64"), ("type", "image lookup --type task_struct"),
               ("image list", "image list"), ("regions", "memory region --all"),
               ("find", "memory find --string Linux -- `(char*)&linux_banner` `(char*)&linux_banner + 64`"), ("nothing", "memory read 0x10"),
               ("to a sleeper", f"thread select --thread-id {tid}"), ("registers of a sleeper", "register read"), ("back", "thread select 1")]
    for key, command in ordered:
        session.want(key, command)
    for module in crash.module_sections():
        if functions_of(crash, module):
            address, name = functions_of(crash, module)[len(functions_of(crash, module)) // 2]
            session.want(f"lookup {module}", f"image lookup --address {address + 4:#x}")
            session.want(f"address {module}", f"image lookup --verbose --name {name}")
    for address, *_ in functions(crash):
        session.want(f"symbol {address:#x}", f"image lookup --address {address:#x}")
    for number, (wish, _) in enumerate(WISHES):
        session.want(f"wish {number}", wish)
        session.want(f"stop {number}", "thread list")
        session.want(f"alive {number}", "p init_uts_ns.name.release")
    session.want("detach", "process detach")
    session.want("pause", "script import time; time.sleep(2)")  # lldb tells its own state a little later
    session.want("target", "target list")


CHECKS = {"threads": check_threads, "panic": check_panic, "values": check_values, "registers": check_registers, "modules": check_modules,
          "kallsyms": check_kallsyms, "memory": check_memory, "wishes": check_wishes, "end": check_end}
BACKTRACES = {"sleeping": bt.check_sleeping, "everyone": bt.check_all_there, "spinning": bt.check_spinning}
# Each has something of its own: cold functions and modules with them, five levels, no note, a kernel that saved itself.
PLUGIN = ("6.1/qemu4", "6.12/qemu5", "6.12/kexec")
STOCK = ("6.1/qemu5-nonote", "6.12/qemu4")


def tests(env):
    for ids, kind in ((PLUGIN, PluginSession), (STOCK, StockSession)):
        for crash in env.crashes():
            if crash.id not in ids:
                continue
            session = kind(env, crash.dump())
            plan(crash, session)
            for name, check in CHECKS.items():
                yield f"{kind.how}/{crash.id}/{name}", functools.partial(check, env, crash, session)
            for name, check in BACKTRACES.items():
                yield f"{kind.how}/{crash.id}/{name}", functools.partial(check, crash, session)
