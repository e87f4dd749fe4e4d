"""gdb with nothing but the dump: `target remote | inquest serve --stdio DUMP`, on the image that is made of it."""
import functools
import os
import re
import subprocess
from pathlib import Path

import alone
import bt
import foreign
from gdb_session import THREAD, GdbSession, server, switch
from lib import lacks

ENTRY = {"arm64": foreign.ENTRY["arm64"], "riscv64": foreign.ENTRY["riscv64"], "amd64": ["do_syscall_64", "entry_SYSCALL_64_after_hwframe"]}
# What interrupts enter, and the code that leads to another stack.
INTERRUPTS = {"arm64": r" in (el1h_64_|call_on_irq_stack)\w* \(", "riscv64": r" in call_on_irq_stack \(",
              "amd64": r" in (asm_|sysvec_|error_|paranoid_|common_interrupt)\w* \("}


def architecture(crash):
    return foreign.architecture(crash) if foreign.architecture(crash) in ENTRY else "amd64"


def plain(name):
    return name.split(".")[0]  # gdb has the kernel's own names here, .cold and .isra.0 included


def check_panic(crash, session):
    frames = [plain(name) for _, name in session.traces().get(1, [])]
    if missing := bt.in_order([*foreign.PANIC, *ENTRY[architecture(crash)]], frames, lambda one, other: one == other):
        yield f"no {missing} in its place in {frames}"


def check_interrupted(crash, session):
    """A task that was interrupted: the code that the interrupt enters has its name, and what was interrupted follows."""
    found = 0
    for tid, lines in sections(session.output("bt")).items():
        for name, after in zip(lines, lines[1:]):
            if "<signal handler called>" in after:
                found += 1
                if not re.search(INTERRUPTS[architecture(crash)], name):
                    yield f"task {tid}: {name} before an interrupted frame"
    if not found and crash.name != "kexec":
        tid = next(tid for tid, task in crash.stat().items() if task.name == b"spinning")
        if "__schedule" not in "".join(sections(session.output("bt")).get(tid, [])):
            yield "no task was interrupted"


def sections(output):
    """tid -> its lines of frames."""
    found, current = {}, None
    for line in output.splitlines():
        if thread := THREAD.match(line):
            current = found.setdefault(int(thread[1]), [])
        elif current is not None and line.startswith("#"):
            current.append(line)
    return found


def check_ends(crash, session):
    """No backtrace goes on behind the first frame of user code, nor ends in an error."""
    for tid, lines in sections(session.output("bt")).items():
        for line in lines[:-1]:
            if re.match(r"#\d+ +0x0000[0-9a-f]{12} in \?\?", line):
                yield f"task {tid}: frames behind user code: {lines[-3:]}"
                break
    output = re.sub(r"#0  <unavailable> in \?\? \(\)\nBacktrace stopped: not enough registers.*", "", session.output("bt"))  # zombies
    # Code that was freed after start-up called it, and gdb does not unwind on Arm where it cannot read.
    output = re.sub(r" in (start_kernel|arch_call_rest_init) \(\)\nBacktrace stopped: previous frame identical.*", "", output)
    if architecture(crash) in foreign.TO_USER:  # nor can it read user code: see foreign.check_user
        output = re.sub(r"#\d+ +0x0000[0-9a-f]{12} in \?\? \(\)\nBacktrace stopped: previous frame.*", "", output)
    for said in ("Backtrace stopped", "previous frame"):
        if said in output:
            yield f"gdb says: {said}"


def check_values(crash, session):
    tid = next(tid for tid, task in crash.stat().items() if task.name == b"nanosleep")
    yield from lacks("init_task", session.output("init_task"), '"swapper/0')
    yield from lacks("a task", session.output("task"), f"pid = {tid},", 'comm = "nanosleep')
    yield from lacks("ptype", session.output("sk_buff"), "struct sk_buff {", "sk_buff_data_t tail;", "unsigned char *head")
    yield from lacks("release", session.output("release"), crash.release)
    yield from lacks("prototype", session.output("vfs_read"), "ssize_t (struct file *, char *, size_t, loff_t *)")
    yield from lacks("arguments", session.output("scope"), "Symbol file", "Symbol buf", "Symbol pos")
    yield from lacks("a breakpoint", session.output("break"), "Breakpoint 1 at 0x")


def check_module(crash, session):
    address, _, name, module = next(row for row in crash.kallsyms() if row[3] == "loop" and row[1] in "tT" and row[2] == "loop_queue_rq")
    yield from lacks("info symbol", session.output("module symbol"), name)
    yield from lacks("info address", session.output("module function"), f"{address:#x}")
    yield from lacks("a module's type", session.output("module type"), "struct loop_device {", "lo_backing_file")


def check_kept(crash, cache):
    """The image is kept, and a second gdb takes the same file."""
    images = [path for path in (cache / "inquest" / "images").rglob("*") if path.is_file()]
    if len(images) != 1 or images[0].name != "vmlinux":
        yield f"the cache has {[path.name for path in images]}"
    elif os.stat(cache / "inquest" / "images").st_mode & 0o077:
        yield "others may read the cache"


def check_remote(env, dump, cache):
    """Over a pipe whose ends see different files (an ssh) the image comes through the protocol; here, by hiding that gdb is our parent."""
    from gdb_session import run_gdb
    target = "| exec setsid --wait " + server(env, dump, "--no-vmlinux", vmlinux=False).removeprefix("exec ")
    answers, stdout, stderr = run_gdb(env, ["bt", "p init_task.comm"], target, variables={"XDG_CACHE_HOME": str(cache)})
    yield from lacks("bt", answers[0].output, "entry_SYSCALL_64_after_hwframe")
    yield from lacks("init_task", answers[1].output, '"swapper/0')


def check_file(env, dump):
    """`inquest image`: tools accept the file."""
    path = Path(env.work.name) / "vmlinux.image"
    made = env.run("image", *dump.options, dump.path, "--no-vmlinux", "-o", str(path))
    if made.returncode or made.stdout or (made.stderr and dump.crash.names_all):
        yield f"inquest image: {made.returncode} {made.stderr}"
        return
    verify = subprocess.run(["llvm-dwarfdump-19", "--verify", str(path)], capture_output=True, text=True)
    if verify.returncode or "No errors." not in verify.stdout:
        yield f"llvm-dwarfdump --verify: {[line for line in verify.stdout.splitlines() if 'error' in line][:3]}"
    read = subprocess.run(["readelf", "-a", "-w", str(path)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if read.returncode or read.stderr:
        yield f"readelf: {read.stderr[:200]}"
    slide = env.json("info", dump)["slide"]
    name = "unwind.py" if architecture(dump.crash) == "amd64" else "code_unwind.py"
    unwind = Path(__file__).resolve().parent.parent / "corpus_checks" / name
    compared = subprocess.run([str(unwind), str(path), str(dump.crash.vmlinux), slide], capture_output=True, text=True)
    if compared.returncode:
        yield f"{name}: {compared.stdout.splitlines()[-1:]} {compared.stdout.splitlines()[:2]} {compared.stderr[-200:]}"
    path.unlink()


def plan(crash, session):
    tid = next(tid for tid, task in crash.stat().items() if task.name == b"nanosleep")
    loop = next((row for row in crash.kallsyms() if row[3] == "loop" and row[2] == "loop_queue_rq"), None)
    session.want("bt", "thread apply all bt")
    session.want("init_task", "p init_task.comm")
    session.want("to nanosleep", switch(tid))
    session.want("task", f"python t=next(t for t in __import__('json').loads(__import__('subprocess').run({ps(session)!r}, capture_output=True).stdout) "
                         f"if t['tid'] == {tid}); gdb.execute('p *(struct task_struct *)' + t['task'])")
    session.want("sk_buff", "ptype struct sk_buff")
    session.want("release", "p init_uts_ns.name.release")
    session.want("vfs_read", "whatis vfs_read")
    session.want("scope", "info scope vfs_read")
    session.want("break", "break vfs_read")
    session.want("module symbol", f"info symbol {loop[0] + 4:#x}")
    session.want("module function", "info address loop_queue_rq")
    session.want("module type", "ptype struct loop_device")


def ps(session):
    return [session.env.inquest, "ps", *session.dump.options, str(session.dump.path), "--no-vmlinux", "--json"]


def tests(env):
    for crash in [*env.crashes(), *env.crashes(alone.FOREIGN_BTF)]:
        if crash.name == "many":
            continue
        cache = Path(env.work.name) / f"cache-{crash.id.replace('/', '-')}"
        session = GdbSession(env, crash.dump(), alone=True, variables={"XDG_CACHE_HOME": str(cache)})
        plan(crash, session)
        checks = {"sleeping": bt.check_sleeping, "everyone": bt.check_all_there, "panic": check_panic, "interrupted": check_interrupted,
                  "ends": check_ends, "values": check_values, "module": check_module}
        if architecture(crash) in foreign.TO_USER:
            checks["user"] = foreign.check_user
        for name, check in checks.items():
            yield f"{crash.id}/{name}", functools.partial(check, crash, session)
        if crash.names_all:  # what the image of another kernel lacks is said each time
            yield f"{crash.id}/kept", functools.partial(check_kept, crash, cache)
        if crash.name == "qemu4":
            yield f"{crash.id}/remote", functools.partial(check_remote, env, crash.dump(), cache)
        if crash.name in ("qemu4", "qemu", "nonote-sv48"):
            yield f"{crash.id}/file", functools.partial(check_file, env, crash.dump())
