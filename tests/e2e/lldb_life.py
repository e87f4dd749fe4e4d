"""The plugin's life in lldb: opening and closing, several dumps at once, bad files, dumps that go away, speed."""
import functools
import re
import shutil

from lib import Skip, differ, lacks, text
from lldb_session import opening, run_lldb, with_plugin

COMMANDS = ["open", "close", "ps", "modules", "log", "translate", "symbol", "info"]
NOT_OURS = "the selected target is no dump that `inquest open` opened"
STATE = "script import os; print('@@', len(os.listdir('/proc/self/task')), len(os.listdir('/proc/self/fd')), flush=True)"


def lines(error):
    return len((error or "").strip().splitlines())


def check_reports(env, dump):
    """The same reports as on the command line."""
    answers, _ = run_lldb(env, [opening(env, dump), "inquest info", "inquest ps", "inquest modules", "inquest log", "inquest symbol init_uts_ns",
                                "inquest translate init_uts_ns", "inquest symbol nonesuch", "inquest symbol", "inquest nonsense",
                                "help inquest", "help inquest open", "@complete inq", "@complete inquest ",
                                *(f"help inquest {name}" for name in COMMANDS), *(f"@complete inquest {name[:2]}" for name in COMMANDS)],
                          with_plugin(env))
    names = ["info", "ps", "modules", "log"]
    for name, answer in zip(names, answers[1:]):
        yield from differ(f"inquest {name} in lldb", answer.output == env.ask(name, dump).stdout.decode("utf-8", "replace"), True)
    for name, answer in zip(("symbol", "translate"), answers[5:]):
        yield from differ(f"inquest {name} in lldb", answer.output.strip(), text(env.ask(name, dump, "init_uts_ns").stdout))
    yield from lacks("a symbol that is none", answers[7].both, "error: 'nonesuch' is neither an address nor a known symbol")
    for answer in answers[7:10]:
        yield from differ("an error where something is wrong", bool(answer.error), True)
    yield from lacks("help inquest", answers[10].output, *COMMANDS)
    yield from lacks("help inquest open", answers[11].output, "inquest open [OPTIONS] DUMP [VMLINUX]", "--symbols DIR", "--threads WHICH")
    yield from lacks("completion", answers[12].output, "inquest")
    yield from lacks("completion of a subcommand", answers[13].output.split(), *COMMANDS)
    for name, help_, completed in zip(COMMANDS, answers[14:], answers[14 + len(COMMANDS):], strict=False):
        yield from lacks(f"help inquest {name}", help_.output, f"Syntax: inquest {name}", "dump")
        yield from lacks(f"completion of {name[:2]}", completed.output.split(), name)


def state(said):
    """Threads and descriptors at each STATE."""
    return [tuple(map(int, found)) for found in re.findall(r"@@ (\d+) (\d+)", said)]


def check_several(env, first, second):
    """Two dumps at once, each with its own target; closing one leaves the other; nothing is left behind in the end."""
    release = "p init_uts_ns.name.release"
    commands = [STATE, opening(env, first), opening(env, second), release, "target select 0", release, "inquest info", "bt 3",
                "inquest close", "target list", release, "inquest close", STATE, "inquest info", "inquest close", "inquest ps",
                opening(env, first), opening(env, first), "bt 3", "target delete", "bt 3", "process detach", "inquest info", "inquest close",
                "target list", STATE]
    answers, said = run_lldb(env, commands, with_plugin(env))
    shown = [answer.output for answer in answers]
    yield from lacks("the second dump's release", shown[3], second.crash.release)
    yield from lacks("the first dump's release", shown[5], first.crash.release)
    yield from lacks("inquest info", shown[6], first.crash.release)
    yield from lacks("the first dump's backtrace", shown[7], PANIC)
    yield from differ("inquest close", answers[8].error, None)
    yield from differ("targets after it", shown[9].count("target #"), 1)
    yield from lacks("the dump that is left", shown[10], second.crash.release)
    for answer in answers[13:16]:
        yield from lacks("without a dump", answer.error or "", NOT_OURS)
    yield from lacks("opened twice", shown[18] + shown[20], PANIC)
    yield from differ("detach", answers[21].error, None)
    yield from lacks("inquest info after detach", shown[22], first.crash.release)
    yield from differ("inquest close after detach", answers[23].error, None)
    yield from lacks("targets", shown[24], "No targets.")
    before, closed, end = state(said)
    # lldb starts a few threads and keeps them; ours and its own for a process are gone.
    for what, (threads, descriptors) in (("closing", closed), ("the end", end)):
        if threads > before[0] + 2 or descriptors > before[1]:
            yield f"threads and descriptors after {what}: {(threads, descriptors)}, at first {before}"


PANIC = "stop reason = Kernel panic - not syncing: sysrq triggered crash"


def check_bad(env, dump):
    """One line, and no target."""
    empty, elf, cut = env.temp("empty"), env.temp("true"), env.temp("cut.elf")
    empty.write_bytes(b"")
    shutil.copyfile("/bin/true", elf)
    with dump.path.open("rb") as source:
        cut.write_bytes(source.read(100))
    wrong = next(crash.vmlinux for crash in env.crashes() if crash.kernel != dump.crash.kernel)
    bad = ["inquest open", "inquest open /nonexistent", "inquest open /etc", f"inquest open {empty}", f"inquest open {elf}", f"inquest open {cut}",
           f"inquest open {dump.path} /nonexistent", f"inquest open {dump.path} {wrong}", "inquest open --nonsense x",
           f"inquest open --slide=x {dump.path}", f"inquest open --threads=none {dump.path}", "inquest close now", "inquest ps extra"]
    answers, said = run_lldb(env, [STATE, *bad, "target list", STATE], with_plugin(env))
    for command, answer in zip(bad, answers[1:]):
        yield from differ(f"{command}: lines of its error", lines(answer.error), 1)
        yield from lacks(command, answer.error or "", "error: ")
    yield from lacks("target list", answers[-2].output, "No targets.")
    before, after = state(said)
    yield from differ("threads and descriptors after bad files", after, before)


def check_deleted(env, dump):
    """The file goes away: what is open stays open, and the next one is another."""
    copy = env.temp("deleted.kdump")
    shutil.copyfile(dump.path, copy)
    answers, _ = run_lldb(env, [f'inquest open "{copy}" "{dump.crash.vmlinux}"', f"script import os; os.remove('{copy}')", "bt", "thread list",
                                "p init_uts_ns.name.release", "inquest log", "inquest close", f'inquest open "{copy}"'], with_plugin(env))
    yield from lacks("bt", answers[2].output, "entry_SYSCALL_64")
    yield from lacks("thread list", answers[3].output, "name = 'kthreadd'")
    yield from lacks("release", answers[4].output, dump.crash.release)
    yield from lacks("inquest log", answers[5].output, "sysrq triggered crash")
    yield from differ("inquest close", answers[6].error, None)
    yield from lacks("opening it again", answers[7].error or "", "No such file or directory")


def check_found(env, dump):
    """`inquest open DUMP`: the vmlinux and the modules are found by build id, and the debugger's settings stay what they were."""
    show = "settings show target.prefer-dynamic-value"
    command = f'inquest open --symbols "{dump.crash.vmlinux.resolve().parents[4]}" "{dump.path}"'
    answers, _ = run_lldb(env, [show, command, "bt", "image list", "inquest close", show], with_plugin(env))
    yield from lacks("bt", answers[2].output, "`panic(", "`entry_SYSCALL_64")
    yield from lacks("image list", answers[3].output, *(f"/{module}.ko" for module in dump.crash.module_sections()))
    yield from differ("the setting", answers[5].output, answers[0].output)


def check_inquest_lldb(env, dump):
    """`inquest lldb DUMP VMLINUX -- WORDS`: lldb starts with the dump open; the words are lldb's own."""
    if env.preload:
        raise Skip("the program takes the plugin beside it")
    done = env.run("lldb", dump.path, dump.crash.vmlinux, "--threads=cpus", "--", "-x", "-b", "-o", "bt", "-o", "thread list", "-o", "inquest modules",
                   timeout=200)
    yield from differ("exit status", done.returncode, 0)
    shown = text(done.stdout)
    yield from lacks("stdout", shown, f"Linux {dump.crash.release}: Kernel panic", PANIC, "sysrq_handle_crash", "entry_SYSCALL_64", "loop")
    yield from differ("threads", len(re.findall(r"^[* ] thread #\d+: tid", shown, re.M)), 2)
    bad = env.run("lldb", "/etc/passwd", timeout=60)
    yield from differ("a bad file", (bad.returncode, len(text(bad.stderr).splitlines())), (1, 1))
    missing = env.run("lldb", dump.path, dump.crash.vmlinux, "--lldb", "/nonexistent/lldb", timeout=60)
    yield from lacks("an lldb that is none", text(missing.stderr), "inquest: /nonexistent/lldb: cannot be started: No such file or directory")


def packets(log):
    """What lldb asked for, by kind.  Its log begins with what came before."""
    return [line.split("$", 1)[1] for line in log.read_text(errors="replace").splitlines() if " send packet: $" in line and "history[" not in line]


def check_speed(env, dump):
    """3,000 tasks: the list within a second, and all stacks with the bytes that came with the threads."""
    log = env.temp("packets.log")
    quick = env.crash("6.12", "qemu4").dump()
    commands = [opening(env, quick), "target delete", opening(env, quick), "inquest close", opening(env, dump), "thread list",
                f"log enable --file {log} gdb-remote packets", "bt all", "log disable gdb-remote packets", "thread list"]
    answers, _ = run_lldb(env, commands, with_plugin(env))
    count = len(re.findall(r"^[* ] thread #\d+: tid", answers[5].output, re.M))
    yield from differ("threads", count, len(env.json("ps", dump)))
    yield from differ("backtraces", len(re.findall(r"^[* ] thread #\d+", answers[7].output, re.M)), count)
    reads = [packet for packet in packets(log) if packet[0] in "xm"]
    if len(reads) > 10 * count / 500:
        yield f"bt all of {count} tasks needs {len(reads)} memory packets: {reads[:5]}"
    if env.preload:
        return
    # In time of the processor: other work on the machine does not count.  The second opening finds lldb's own work done.
    for what, answer, limit in (("inquest open, again", answers[2], 0.3), ("thread list of 3,000 tasks", answers[5], 1.0), ("bt all of 3,000 tasks", answers[7], 20.0)):
        if answer.cpu > limit:
            yield f"{what}: {answer.cpu:.2f} s"


def tests(env):
    names = {"reports": (check_reports, "6.1/qemu4"), "bad": (check_bad, "6.1/qemu4"), "several": (check_several, "6.1/qemu4", "6.12/qemu4"),
             "found": (check_found, "6.12/qemu4"),
             "inquest-lldb": (check_inquest_lldb, "6.12/qemu4"), "speed": (check_speed, "6.1/many")}
    crashes = {crash.id: crash for crash in env.crashes()}
    for name, (check, *ids) in names.items():
        if all(one in crashes for one in ids):
            yield name, functools.partial(check, env, *(crashes[one].dump() for one in ids))
    if "6.1/qemu4" in crashes:
        yield "deleted", functools.partial(check_deleted, env, crashes["6.1/qemu4"].dump("vmcoreinfo.kdump"))
