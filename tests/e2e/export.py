"""`inquest export --elf`: plain readelf, gdb and lldb on the file, without Inquest; their bytes are those that `inquest read` gives."""
import functools
import json
import os
import re
import resource
import shutil
import signal
import subprocess

from freebsd import FACTS, FreebsdDump
from lib import FOREIGN, Skip

VARIABLES = ["linux_banner", "init_task", "init_uts_ns", "saved_command_line"]


def run(*command, **options):
    return subprocess.run([str(word) for word in command], capture_output=True, timeout=300, **options)


def export(env, dump, out):
    return run(env.inquest, "export", dump.path, dump.crash.vmlinux, *dump.options, "--elf", out)


def places(env, dump):
    """(address, size) of variables, and of the first page of a few tasks, which lie in the direct map."""
    found = []
    for row in env.json("symbol", dump, *VARIABLES):
        found.append((int(row["address"], 16), min(int(row["size"]) or 8, 4096)))
    tasks = env.json("ps", dump)
    found += [(int(row["task"], 16), 256) for row in tasks[:: max(1, len(tasks) // 5)]]
    return found


def expected(env, dump, address, size):
    done = run(env.inquest, "read", dump.path, "--vmlinux", dump.crash.vmlinux, *dump.options, hex(address), size, "--output", "-")
    return done.stdout if done.returncode == 0 else None


def segments(core):
    shown = run("readelf", "-lnW", core, text=True, env={**os.environ, "LC_ALL": "C"})
    if shown.returncode or "Warning" in shown.stdout + shown.stderr or "Error" in shown.stderr:
        yield f"readelf: {shown.stderr[:200]}"
    loads = re.findall(r"^ +LOAD +(0x\S+) (0x\S+) (0x\S+) (0x\S+) (0x\S+)", shown.stdout, re.M)
    if not loads:
        yield "no PT_LOAD"
    for offset, virt, phys, size, memory in loads:
        if size != memory or (int(offset, 16) - int(virt, 16)) % 4096:
            yield f"segment at {virt}: offset {offset}, {size} bytes of {memory}"
    for first, second in zip(loads, loads[1:]):
        joined = [int(first[i], 16) + int(first[3], 16) == int(second[i], 16) for i in range(3)]
        if int(first[1], 16) + int(first[3], 16) > int(second[1], 16):
            yield f"segments overlap at {second[1]}"
        if all(joined) and first == second:
            yield f"segments at {second[1]} are not merged"
    if "NT_PRSTATUS" not in shown.stdout:
        yield "no NT_PRSTATUS"


def compare(env, dump, debugger, wanted):
    """What the debugger wrote into a file for each place."""
    for i, (address, size) in enumerate(wanted):
        ours, path = expected(env, dump, address, size), env.temp(f"{debugger}{i}")
        theirs = path.read_bytes() if path.exists() else b""
        path.unlink(missing_ok=True)
        if ours is not None and theirs != ours:
            yield f"{debugger} at {address:#x}: {theirs[:16].hex()} ({len(theirs)} bytes), expected {ours[:16].hex()} ({size})"


def in_gdb(env, dump, core, wanted):
    commands = [f"dump binary memory {env.temp(f'gdb{i}')} {address:#x} {address + size:#x}" for i, (address, size) in enumerate(wanted)]
    words = [word for command in [f"core-file {core}", *commands, "info threads"] for word in ("-ex", command)]
    done = run(dump.crash.gdb, "-nx", "-batch", *words, text=True, errors="replace")
    yield from compare(env, dump, "gdb", wanted)
    if "Thread" not in done.stdout and "LWP 1" not in done.stdout:
        yield f"gdb shows no thread: {done.stdout[-200:]} {done.stderr[-200:]}"


def symbols_in_gdb(env, dump, core):
    """The kernel's variables by name, moved by its slide; and a backtrace of what panicked."""
    slide = env.json("info", dump).get("slide", "0x0")
    done = run(dump.crash.gdb, "-nx", "-batch", "-ex", f"symbol-file {dump.crash.vmlinux} -o {slide}", "-ex", f"core-file {core}", "-ex",
               "p linux_banner", "-ex", "bt -1", text=True, errors="replace")
    if f"Linux version {dump.crash.release}" not in done.stdout:
        yield f"gdb: {done.stdout[-300:]}"


def in_lldb(env, dump, core, wanted):
    if not shutil.which("lldb-19"):
        return
    words = ["-o", f"target create --core {core}"]
    for i, (address, size) in enumerate(wanted):
        words += ["-o", f"memory read --force --binary --outfile {env.temp(f'lldb{i}')} --count {size} {address:#x}"]
    done = run("lldb-19", "--no-lldbinit", "-b", *words, "-o", "thread list", text=True, errors="replace")
    yield from compare(env, dump, "lldb", wanted)
    if "thread #1" not in done.stdout:
        yield f"lldb: {done.stdout[-300:]}"


def on_dump(env, dump, symbols):
    core = env.temp("exported.elf")
    done = export(env, dump, core)
    if done.returncode:
        yield done.stderr.decode(errors="replace")[:300]
        return
    wanted = places(env, dump)
    yield from segments(core)
    yield from in_gdb(env, dump, core, wanted)
    yield from in_lldb(env, dump, core, wanted)
    if symbols:
        yield from symbols_in_gdb(env, dump, core)
    core.unlink()


def refuses(env, dump):
    """Neither the dump nor the vmlinux is overwritten, by whatever name; nothing is left behind after a failure."""
    link = env.temp("link.elf")
    link.symlink_to(dump.path)
    before = dump.path.stat()
    for out, why in ((dump.path, "what is being read"), (link, "what is being read"), (dump.crash.vmlinux, "what is being read"),
                     ("/dev/null", "not a regular file"), ("/nonexistent/out", "cannot be written")):
        done = export(env, dump, out)
        if done.returncode == 0 or why not in done.stderr.decode():
            yield f"{out}: status {done.returncode}, {done.stderr.decode()[:200]}"
    if dump.path.stat()[:9] != before[:9] and dump.path.stat().st_size != before.st_size:
        yield "the dump has changed"
    link.unlink()


def full_disk(env, dump):
    """One line says so, and no file is left.  (A limit for files' sizes stands for the disk.)"""
    out = env.temp("full.elf")

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    done = run(env.inquest, "export", dump.path, dump.crash.vmlinux, "--elf", out, preexec_fn=limit)
    lines = [line for line in done.stderr.decode().splitlines() if "note:" not in line]
    if done.returncode != 1 or len(lines) != 1 or not lines[0].endswith("cannot be written: File too large"):
        yield f"status {done.returncode}: {lines}"
    left = [path.name for path in out.parent.iterdir() if path.name.startswith("full.elf")]
    if left:
        yield f"left behind: {left}"


def same_file(env, crash):
    """What the kernel's tables map is the same whichever file of a crash is exported."""
    found = {}
    for name in ("vmcoreinfo.elf", "vmcoreinfo.kdump", "raw.elf", "nocomp.kdump"):
        if (crash.folder / name).exists():
            core = env.temp("same.elf")
            if export(env, crash.dump(name), core).returncode:
                yield f"{name}: export failed"
                continue
            found[name] = run("sha256sum", core, text=True).stdout.split()[0]
            core.unlink()
    if len(found) < 2:
        raise Skip("one file only")
    pairs = [("vmcoreinfo.elf", "vmcoreinfo.kdump")]
    for one, other in pairs:
        if one in found and other in found and found[one] != found[other]:
            yield f"{one} and {other} give different files"


def freebsd(env, name):
    """A FreeBSD kernel's core: `hz` and each CPU's pc, in a gdb that is told not to look for FreeBSD's layout of registers."""
    dump = FreebsdDump(env, name)
    core = env.temp("freebsd.elf")
    done = export(env, dump, core)
    if done.returncode not in (0, 1):  # the samples are cut, which is said
        yield done.stderr.decode(errors="replace")[:300]
    hz = env.json("symbol", dump, "hz")[0]["address"]
    running = [row for row in env.json("ps", dump) if row["cpu"] is not None]
    gdb = "gdb-multiarch" if name.startswith("arm64") else "gdb"
    for words in ([f"core-file {core}"], ["set osabi GNU/Linux", f"file {dump.vmlinux}", f"core-file {core}"]):
        shown = run(gdb, "-nx", "-batch", *[part for word in [*words, f"x/wd {hz}", "info threads"] for part in ("-ex", word)], text=True, errors="replace")
        if f"\t{FACTS[name].hz}" not in shown.stdout:
            yield f"{words}: hz is not {FACTS[name].hz}: {shown.stdout[-200:]} {shown.stderr[-200:]}"
        if shown.stdout.count("LWP") < 2 or not running:
            yield f"{words}: no threads: {shown.stdout[-200:]}"
    shown = run("lldb-19", "--no-lldbinit", "-b", "-o", f"target create --core {core}", "-o", f"memory read -c1 -s4 -f d {hz}", "-o", "thread list", text=True)
    if f": {FACTS[name].hz}" not in shown.stdout or "thread #1" not in shown.stdout:
        yield f"lldb: {shown.stdout[-300:]}"
    yield from opened_again(env, dump, core)
    core.unlink(missing_ok=True)


def opened_again(env, dump, core):
    """Inquest on what it exported: the same system, threads and registers."""
    for report in ("info", "ps", "modules", "log"):
        first, again = (run(env.inquest, report, path, dump.vmlinux, "--json") for path in (dump.path, core))
        values = [json.loads(done.stdout) if done.returncode == 0 else done.stderr.decode(errors="replace") for done in (first, again)]
        if report == "info":
            for value in values:
                for key in ("dump", "format", "paging", "phys_base", "source", "remarks"):
                    value.pop(key)
        elif first.returncode:
            values = [first.returncode, again.returncode]
        if values[0] != values[1]:
            yield f"{report}: {values[1]}, expected {values[0]}"


def tests(env):
    for name in FACTS:
        if (env.corpus / "freebsd" / name / "vmcore").exists():
            yield f"freebsd/{name}", functools.partial(freebsd, env, name)
    for crash in [*env.crashes(), *env.crashes(FOREIGN)]:
        # gdb 13 dies of a MIPS core without registers, and a raw image has none.
        if crash.name != "many" and crash.dump().name != "raw.img":
            yield crash.dump().id, functools.partial(on_dump, env, crash.dump(), crash.name in ("kexec", "qemu"))
    for crash in env.crashes():
        if crash.id == "6.1/kexec":
            yield "refuses", functools.partial(refuses, env, crash.dump())
            yield "full-disk", functools.partial(full_disk, env, crash.dump())
            yield "zstd", functools.partial(on_dump, env, crash.dump("zstd.kdump"), True)
        if crash.name == "qemu4":
            yield f"same/{crash.id}", functools.partial(same_file, env, crash)
