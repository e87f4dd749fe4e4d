"""The dump alone: `--no-vmlinux` answers as with the vmlinux, from the kernel's own symbols and types."""
import functools
import re
import subprocess

import reports
from lib import Env, differ, lacks


class AloneEnv(Env):
    """Asks with no debug file."""

    def __init__(self, env):
        self.inquest, self.corpus, self.work = env.inquest, env.corpus, env.work

    def words(self, command, dump, *words, vmlinux=False):
        return [command, *dump.options, dump.path, "--no-vmlinux", *words]


def check_same(env, dump):
    """What is printed, byte by byte.  Only `info` names the vmlinux, and what of it helped to find the kernel."""
    alone = AloneEnv(env)
    for command in ("info", "ps", "log", "modules"):
        expected, got = env.ask(command, dump), alone.ask(command, dump)
        for what, ours, theirs in ((command, got.stdout, expected.stdout), (f"{command}, notes", got.stderr, expected.stderr)):
            ours, theirs = ({line for line in output.split(b"\n") if not re.match(b"vmlinux:|found by:", line)} for output in (ours, theirs))
            if ours != theirs:
                yield f"{what}: {sorted(ours ^ theirs)[:3]}"
        yield from differ(command, got.returncode, expected.returncode)


def check_damaged(env, dump):
    """Where the dump lost what the kernel tells of itself, one line says so; what is left is as with the vmlinux."""
    info = AloneEnv(env).json("info", dump)
    about = [remark for remark in info["remarks"] if "only CPUs are shown" in remark]
    if about:
        yield from differ("remarks about it", len(about), 1)
        yield from lacks("the remark", " ".join(about), "lost", "kallsyms" if "kallsyms" in " ".join(about) else "BTF")
        for command in ("ps", "log", "modules"):
            done = AloneEnv(env).ask(command, dump)
            yield from differ(f"{command}: exit status, lines", (done.returncode, done.stdout, done.stderr.count(b"\n")), (1, b"", 1))
    else:
        yield from check_same(env, dump)


def nm(vmlinux):
    """(link address, kind, name) of what the vmlinux's symbol table says."""
    lines = subprocess.run(["nm", vmlinux], capture_output=True, text=True, check=True).stdout.splitlines()
    return {(int(address, 16), name) for address, kind, name in (line.split(" ", 2) for line in lines if line[0] != " ")}


def check_functions(env, dump):
    """Every function of the kernel, by name: where the guest and the vmlinux say it is."""
    crash = dump.crash
    count = {}
    for _, _, name, _ in crash.kallsyms():
        count[name] = count.get(name, 0) + 1
    rows = [row for row in crash.kallsyms() if row[1] in "tTwW" and not row[3] and count[row[2]] == 1]
    linked = nm(crash.vmlinux)
    slide = int(AloneEnv(env).json("info", dump)["slide"], 16)
    for start in range(0, len(rows), 2000):
        part = rows[start:start + 2000]
        found = AloneEnv(env).json("symbol", dump, *(name for _, _, name, _ in part))
        yield from differ("answers", len(found), len(part))
        for (address, _, name, _), row in zip(part, found):
            yield from differ(name, (row["name"], int(row["address"], 16)), (name, address))
            if (address - slide, name) not in linked:
                yield f"{name} is not at {address - slide:#x} in the vmlinux"


def tests(env):
    alone = AloneEnv(env)
    for crash in env.crashes():
        dump = crash.dump()
        yield f"{crash.id}/functions", functools.partial(check_functions, env, dump)
        for name, check in {"info": reports.check_info, "symbol": reports.check_symbol, "symbol-at": reports.check_symbol_at}.items():
            yield f"{dump.id}/{name}", functools.partial(check, alone, dump)
        for other in crash.dumps():
            yield f"{other.id}/same", functools.partial(check_damaged if other.damaged else check_same, env, other)
