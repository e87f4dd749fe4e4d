"""`thread apply all bt` against the guest's own /proc/*/stack, which is exact for a sleeping task."""
import functools
import re

from gdb_session import sessions, switch
from lib import lacks

# The kernel's name for a frame -> gdb's.  kallsyms takes the nearest label, gdb the function that debug information knows.
ALIASES = {
    "entry_SYSCALL_64_after_hwframe": ["entry_SYSCALL_64"],  # a label in the middle of the entry code
    "syscall_common": ["handle_sys64"],  # another, of MIPS
    "ret_from_fork_asm": ["ret_from_fork_asm"],
    "entry_SYSENTER_32": ["__begin_SYSENTER_singlestep_region"],  # two names of one address
}

def truth(lines):
    """[(function, offset)] of lines like `[<0>] do_nanosleep+0x6a/0x170` and `[<0>] f+0x1/0x2 [loop]`."""
    return [(name, int(offset, 16)) for name, offset in re.findall(r"^\[<0>\] ([^+\s]+)\+(0x[0-9a-f]+)/", "\n".join(lines), re.M)]


def in_order(wanted, have, same):
    """The first of `wanted` that `have` does not hold after the ones before it; None: it holds all of them."""
    rest = iter(have)
    for one in wanted:
        if not any(same(one, other) for other in rest):
            return one
    return None


def same_function(kernel, gdb):
    plain = kernel.split(".")[0]  # the compiler's .isra.0 and .cold are no names in debug information
    return gdb in (kernel, kernel.rsplit(".", 1)[0], plain, *ALIASES.get(plain, []))  # of .part.0 gdb shows .part


def sleeping(crash):
    """The tasks whose stack is certain: they have not run between stat and stat2, as their CPU time says.

    rcu_preempt (rcu_sched) wakes by itself whatever these say: with the panic it was seen in another place.
    """
    before, after, stacks = crash.stat_lines("stat"), crash.stat_lines("stat2"), crash.per_task("stack")
    # On Power the kernel begins with a word of the stack that nothing has written lately (arch_stack_walk()).
    stale = 1 if crash.kernel.startswith("ppc64") else 0
    for tid, task in crash.stat("stat2").items():
        stack = truth(stacks.get(tid, [])[stale:])
        if task.state != "R" and task.name not in (b"rcu_preempt", b"rcu_sched") and after[tid] == before.get(tid) and stack:
            yield tid, stack


def check_sleeping(crash, session, beyond=()):
    """`beyond`: functions that the debugger cannot get to."""
    traces = session.traces()
    addresses, names = {}, {}
    for address, _, name, module in crash.kallsyms():
        addresses.setdefault(name, set()).add(address)
        names.setdefault(address, set()).add(name)
    # The compiler makes one function of two that are alike.
    twins = {name: set().union(*(names[address] for address in places)) for name, places in addresses.items()}
    count = 0
    for tid, stack in sleeping(crash):
        count += 1
        wanted = [frame for frame in stack if frame[0] not in beyond]
        frames = traces.get(tid, [])
        if missing := in_order([twins.get(name, {name}) for name, _ in wanted], [name for _, name in frames],
                               lambda some, one: any(same_function(name, one) for name in some)):
            yield f"task {tid}: no {missing} in its place in {[name for _, name in frames]}"
        returns = [{start + offset for start in addresses[name]} for name, offset in wanted]
        if missing := in_order(returns, [address for address, _ in frames], lambda some, one: one in some):
            yield f"task {tid}: no frame at {'/'.join(map(hex, missing))}"
    if count < 60:
        yield f"only {count} tasks have a certain stack: the check is worth little"


def check_all_there(crash, session):
    traces = session.traces()
    if missing := crash.stat("stat2").keys() - traces.keys():
        yield f"no backtrace of {sorted(missing)[:10]}"
    running = {tid for tid, task in crash.stat("stat2").items() if task.name == b"spinning"}  # see check_spinning
    if crash.dump().name == "raw.img":
        running.add(1)  # memory alone: what the task that panicked had in its registers is not in it
    dead = {tid for tid, task in crash.stat("stat2").items() if task.state == "Z" and not crash.per_task("stack").get(tid)}
    for tid, frames in traces.items():
        if len(frames) < 3 and tid not in running | dead:
            yield f"task {tid} has {len(frames)} frames"
        if len(frames) > 2 and tid in dead:
            yield f"zombie {tid}, whose stack is freed and used by others, has {len(frames)} frames"


# From the panic to the entry of the system call.  The names differ a little between the kernels.
PANIC = ["panic", "sysrq_handle_crash", "__handle_sysrq", "write_sysrq_trigger", "vfs_write", "ksys_write", "do_syscall_64",
         "entry_SYSCALL_64"]
KEXEC = ["__crash_kexec", *PANIC]


def check_panic(crash, session):
    frames = [name for _, name in session.traces().get(1, [])]
    if missing := in_order(KEXEC if crash.name == "kexec" else PANIC, frames, same_function):
        yield f"no {missing} in its place in {frames}"


def check_spinning(crash, session):
    """The thread that ran on another CPU, in user mode: where is it?

    Kexec's NMI keeps the interrupted registers: the program's own address.  Else the panic stops the CPU with an interrupt and
    QEMU sees it there; or a kernel thread had just taken the CPU from it, and it sleeps in the kernel.  When the interrupt came
    in the kernel itself, gdb cannot go back from the interrupt stack to the task's ("inner to this frame"): sysvec_reboot is the last.
    """
    tid = next(tid for tid, task in crash.stat().items() if task.name == b"spinning")
    frames = session.traces().get(tid, [])
    names = [name for _, name in frames]
    if crash.name == "kexec":
        start, end = next(line.split()[0].split("-") for line in crash.per_task("maps")[crash.stat()[tid].tgid] if " r-xp " in line)
        if not frames or not int(start, 16) <= (frames[0][0] or 0) < int(end, 16):
            yield f"not in the program's text ({start}-{end}): {frames}"
    else:
        expected = ["context_switch", "exit_to_user_mode_prepare"] if "__schedule" in names else ["stop_this_cpu", "sysvec_reboot"]
        if missing := in_order(expected, names, same_function):
            yield f"no {missing} in its place in {names}"


def check_source(crash, session):
    """Arguments, local variables and source lines of the panicking task."""
    yield from lacks("bt", session.output("bt 1"), "fmt=fmt@entry=0x", '"sysrq triggered crash\\n"', "kernel/panic.c:",
                     "fs/read_write.c:", "key=", "count=1")
    yield from lacks("info locals", session.output("locals of ksys_write"), "f = ", "ret = ")
    yield from lacks("info frame", session.output("info frame"), "in ksys_write (fs/read_write.c:")
    yield from lacks("info args", session.output("args of ksys_write"), "fd = ", "buf = 0x", "count = 1")


def check_values(crash, session):
    """A sleeper's timer: its thread's argument leads to its own task."""
    tid = next(tid for tid, task in crash.stat().items() if task.name == b"nanosleep")
    yield from lacks("do_nanosleep's timer", session.output("timer's task"), f"pid = {tid}", '"nanosleep"')


def plan(crash, session):
    nanosleep = next(tid for tid, task in crash.stat().items() if task.name == b"nanosleep")
    session.want("bt", "thread apply all bt")
    session.want("bt 1", "bt")
    session.want("frame ksys_write", "frame function ksys_write")
    session.want("info frame", "info frame")
    session.want("locals of ksys_write", "info locals")
    session.want("args of ksys_write", "info args")
    session.want("to nanosleep", switch(nanosleep))
    session.want("its frame", "frame function do_nanosleep")
    session.want("timer's task", "printf \"pid = %d \\\"%s\\\"\\n\", t->task->pid, t->task->comm")
    session.want("back", "thread 1")


def tests(env):
    for crash, session in sessions(env):
        plan(crash, session)
        checks = {"sleeping": check_sleeping, "everyone": check_all_there, "panic": check_panic, "spinning": check_spinning,
                  "source": check_source, "values": check_values}
        for name, check in checks.items():
            yield f"{crash.id}/{name}", functools.partial(check, crash, session)
