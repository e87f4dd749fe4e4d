"""In a session nothing can run and nothing can be written: each wish ends with one clear sentence, and gdb and server live on."""
import functools
import os
import re
import subprocess

from gdb_session import OPTIONS, server
from lib import differ, lacks, text

CANNOT_RUN = "this is a crash dump, it cannot run"
READ_ONLY = "this dump is read-only"
# From an inlined function gdb steps, out of any other it sets a breakpoint: where the CPU was is not the same in each boot.
STEP_OR_BREAKPOINT = (CANNOT_RUN, "Cannot insert breakpoint")
# The command, what it must say (one of several), and what undoes it (breakpoints stay in gdb's list).
WISHES = [
    ("continue", CANNOT_RUN, ""),
    ("next", CANNOT_RUN, ""),
    ("stepi", CANNOT_RUN, ""),
    ("nexti", CANNOT_RUN, ""),
    ("finish", STEP_OR_BREAKPOINT, ""),
    ("until", STEP_OR_BREAKPOINT, ""),
    ("signal SIGTERM", CANNOT_RUN, ""),
    ("step", "", ""),  # from an inlined function to its caller gdb needs no target
    ("thread apply 1 2 3 stepi", CANNOT_RUN, "thread 1"),
    ("break ksys_write\ncontinue", "Cannot insert breakpoint", "delete"),
    ("tbreak panic\ncontinue", "Cannot insert breakpoint", "delete"),
    ("advance ksys_write", "Cannot insert breakpoint", "delete"),
    ("hbreak panic\ncontinue", "Cannot insert hardware breakpoint", "delete"),
    ("watch jiffies\ncontinue", "Could not insert hardware watchpoint", "delete"),
    ("rwatch jiffies\ncontinue", "Could not insert hardware watchpoint", "delete"),
    ("set var init_uts_ns.name.release[0] = 65", "Cannot access memory at address 0x", ""),
    ("set var $rax = 1", READ_ONLY, ""),
    ("set var $rip = 0", READ_ONLY, ""),
    ("call schedule()", "Cannot access memory at address 0x", ""),
    ("jump panic", READ_ONLY, ""),
    ("run", 'does not support "run"', ""),
    ("start", 'does not support "run"', "delete"),
    ("reverse-step", "does not support this command", ""),
]


def cli(env, dump, commands, target=None, program=True, before=(), timeout=120):
    """What a user sees after each of `commands` (each may be several lines), in plain gdb; `before`: more options."""
    words = ["gdb", *OPTIONS, *before, *([str(dump.crash.vmlinux)] if program else []), "-ex", "target remote " + (target or "| " + server(env, dump))]
    for number, command in enumerate(commands):
        for line in [f"echo \\n@@{number}@@\\n", *command.split("\n")]:
            words += ["-ex", line]
    done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout,
                          env={**os.environ, "LC_ALL": "C.UTF-8"})
    parts = re.split(r"^@@\d+@@\n", text(done.stdout), flags=re.M)
    if done.returncode < 0 or len(parts) != len(commands) + 1:
        raise AssertionError(f"gdb ended with {done.returncode} after {len(parts) - 1} of {len(commands)} commands: {parts[-1]}")
    return [part.strip() for part in parts[1:]]


ALIVE = "output 1+1\necho \\n\np init_uts_ns.name.release\nthread 1"


def check_wishes(env, dump):
    commands = []
    for wish, _, undo in WISHES:
        commands += [wish, undo, ALIVE]
    shown = cli(env, dump, commands)
    for (wish, sentences, _), said, alive in zip(WISHES, shown[::3], shown[2::3]):
        sentence = sentences if isinstance(sentences, str) else next((s for s in sentences if s in said), sentences[0])
        yield from lacks(wish.replace("\n", "; "), said, sentence)
        yield from lacks(f"after {wish!r}", alive, "2\n", dump.crash.release, "[Switching to thread 1 (Thread 1.1)]")
        if said.count(sentence) > 3 and sentence:
            yield f"{wish}: said {said.count(sentence)} times"


def check_end(env, dump, command):
    """After kill and detach gdb is there, and takes the dump again."""
    again = "target remote | " + server(env, dump)
    first, again = cli(env, dump, [f"{command}\necho still here\\n", again + "\np init_uts_ns.name.release"])
    yield from lacks(command, first, "[Inferior 1 (process 1) ", "still here")
    yield from lacks("again", again, dump.crash.release)


def check_no_program(env, dump):
    """gdb without a file asks the server for its name.

    With gdb's own sysroot, `target:`, all 590 MB would come through vFile, which takes minutes; the modules do come that way.
    """
    shown = cli(env, dump, ["bt 14", "info threads 1", "p/x $rip"], program=False, before=["-iex", "set sysroot /"])
    yield from lacks("bt", shown[0], "entry_SYSCALL_64")
    yield from lacks("info threads", shown[1], '"truth"')
    yield from lacks("p $rip", shown[2], "0xffffffff")


def check_inquest_gdb(env, dump):
    """`inquest gdb DUMP VMLINUX -- WORDS`: gdb starts connected; the words are gdb's own."""
    done = env.run("gdb", dump.path, dump.crash.vmlinux, "--", "-nx", "-batch", "-ex", "bt", "-ex", "info threads", timeout=200)
    yield from differ("exit status", done.returncode, 0)
    yield from lacks("stdout", text(done.stdout), "panic (fmt=", "sysrq_handle_crash", "entry_SYSCALL_64", '"kthreadd"')
    yield from lacks("stderr", text(done.stderr), f"inquest: Linux {dump.crash.release}: Kernel panic - not syncing: sysrq triggered crash")


def check_threads_option(env, dump):
    """--threads=user has no kernel threads, --threads=cpus one thread for each CPU."""
    for choice, count in (("user", None), ("cpus", 2)):
        target = "| " + server(env, dump, f"--threads={choice}")
        shown = cli(env, dump, ["info threads"], target=target)[0]
        threads = len(re.findall(r"^[* ]+\d+ +Thread ", shown, re.M))
        wanted = count or sum(task.ppid != 2 and task.tid != 2 for task in dump.crash.stat("stat2").values())
        yield from differ(f"threads with --threads={choice}", threads, wanted)


def tests(env):
    for kernel in ("6.1", "6.12"):
        for crash in env.crashes():
            if crash.id == f"{kernel}/qemu4":
                dump = crash.dump()
                yield f"{kernel}/wishes", functools.partial(check_wishes, env, dump)
                yield f"{kernel}/inquest-gdb", functools.partial(check_inquest_gdb, env, dump)
                if kernel == "6.1":
                    yield f"{kernel}/kill", functools.partial(check_end, env, dump, "kill")
                    yield f"{kernel}/detach", functools.partial(check_end, env, dump, "detach")
                    yield f"{kernel}/no-program", functools.partial(check_no_program, env, dump)
                    yield f"{kernel}/threads", functools.partial(check_threads_option, env, dump)
