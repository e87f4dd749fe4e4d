"""Registers in gdb: of the CPUs against QEMU's own view, of a process on its way into the kernel against what it had."""
import functools
import re

from gdb_session import sessions, switch
from lib import differ

# QEMU's name -> gdb's
NAMES = {**{name.upper(): name for name in ("rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp", "r8", "r9", "r10", "r11", "r12",
                                            "r13", "r14", "r15", "rip")}, "RFL": "eflags"}
SEGMENTS = {"CS": "cs", "SS": "ss", "DS": "ds", "ES": "es"}


def qemu_cpus(crash):
    """Of each CPU: gdb's register name -> value."""
    for block in crash.truth("registers").decode().split("CPU#")[1:]:
        values = {NAMES[name]: int(value, 16) for name, value in re.findall(r"\b(\w+) ?=([0-9a-f]+)", block) if name in NAMES}
        for name, selector, base in re.findall(r"^(\w\w) =([0-9a-f]{4}) ([0-9a-f]{16})", block, re.M):
            if name in SEGMENTS:
                values[SEGMENTS[name]] = int(selector, 16)
            if name in ("FS", "GS"):
                values[name.lower() + "_base"] = int(base, 16)
        for name, value in re.findall(r"\b(CR[0234])=([0-9a-f]+)", block):
            values[name.lower()] = int(value, 16)
        yield values


def gdb_threads(output):
    """tid -> register -> value."""
    threads = {}
    for part in re.split(r"^Thread \d+ \(Thread \d+\.", output, flags=re.M)[1:]:
        threads[int(part.split()[0])] = {name: int(value, 16) for name, value in re.findall(r"^(\w+) +(0x[0-9a-f]+)", part, re.M)}
    return threads


def check_cpus(crash, session):
    """Each CPU's registers are those of one thread, all of them; the panicking CPU's are process 1's."""
    threads = gdb_threads(session.output("all registers"))
    for number, wanted in enumerate(qemu_cpus(crash)):
        have = [tid for tid, values in threads.items() if (values.get("rip"), values.get("rsp")) == (wanted["rip"], wanted["rsp"])]
        if len(have) != 1:
            yield f"CPU {number} at {wanted['rip']:#x}, stack {wanted['rsp']:#x}: threads {have}"
            continue
        for name, value in wanted.items():
            if name in threads[have[0]]:
                yield from differ(f"{name} of CPU {number} (thread {have[0]})", hex(threads[have[0]][name]), hex(value))
            elif not name.startswith("cr"):
                yield f"thread {have[0]} has no {name}"
    one = {(values["rip"], values["rsp"]) for values in qemu_cpus(crash)}
    if (threads[1]["rip"], threads[1]["rsp"]) not in one:
        yield "the panicking thread has no CPU's registers"


def check_sleeping(crash, session):
    """A sleeping task's saved frame: no more than the kernel keeps, and a stack in the kernel's half."""
    threads = gdb_threads(session.output("all registers"))
    tid = next(tid for tid, task in crash.stat().items() if task.name == b"nanosleep")
    if threads[tid].get("rip", 0) < 0xFFFFFFFF80000000 or threads[tid].get("rsp", 0) < 1 << 63:
        yield f"nanosleep: {threads[tid]}"
    if "rax" in threads[tid]:
        yield "rax of a sleeping task: nobody saved it"


# The process `registers` (README.md of the corpus), as struct pt_regs names them.
SAVED = {"bx": 0x1111111111111111, "bp": 0x5555555555555555, "r8": 0x0808080808080808, "r9": 0x0909090909090909,
         "r10": 0x1010101010101010, "r12": 0x1212121212121212, "r13": 0x1313131313131313, "r14": 0x1414141414141414,
         "r15": 0x1515151515151515, "di": 0x0D1D1D1D1D1D1D1D, "si": 0x0515151515151515, "dx": 0x0D0D0D0D0D0D0D0D, "orig_ax": 34}


def check_saved(crash, session):
    """Up in do_syscall_64, `regs` leads to what the process had on entry; sp and ip are as /proc/PID/syscall showed them."""
    shown = dict(re.findall(r"(\w+) = (0x[0-9a-f]+)", session.output("saved registers")))
    tid = next(tid for tid, task in crash.stat().items() if task.name == b"registers")
    sp, ip = crash.per_task("syscall")[tid][0].split()[-2:]
    for name, value in {**SAVED, "sp": int(sp, 16), "ip": int(ip, 16)}.items():
        yield from differ(name, shown.get(name), hex(value))


def tests(env):
    for crash, session in sessions(env):
        checks = {"saved": check_saved}
        if crash.has_truth("registers") and crash.name != "many":
            session.want("all registers", "thread apply all info registers")
            checks |= {"cpus": check_cpus, "sleeping": check_sleeping}
        session.want("to registers", switch(next(tid for tid, task in crash.stat().items() if task.name == b"registers")))
        session.want("to do_syscall_64", "frame function do_syscall_64")
        session.want("saved registers", "p/x *regs")
        session.want("back from registers", "thread 1")
        for name, check in checks.items():
            yield f"{crash.id}/{name}", functools.partial(check, crash, session)
