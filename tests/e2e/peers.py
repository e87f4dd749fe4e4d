"""Other readers of the same files: Debian's drgn, crash, gdb and libkdumpfile.  Where they read a file, all say the same.

What each does not read (as of the versions in Debian 12), so that it is not asked here:
  drgn 0.0.22        flattened files; QEMU's ELF files without virtual addresses (it walks the tables with tables that it cannot
                     find); one part of a split dump.
  libkdumpfile 0.5   flattened files.
  crash 8.0.2        6.12 ("do not match!").  Of 6.1 it lists the tasks that run, and no others: it does not find the table of
                     pids ("not found in PID hash").
  gdb 13             anything but ELF; ELF only with virtual addresses (paging.elf, and /proc/vmcore's), and no other tasks
                     than the CPUs'.
"""
import functools
import hashlib
import json
import re
import shutil
import subprocess

from lib import HERE, Skip, differ, lacks, text
from ps import plain

PYTHON = "/usr/bin/python3"  # Debian's modules are there and in no other python
NAMES = ["init_task", "linux_banner", "init_uts_ns", "_text", "saved_command_line", "runqueues"]
WINDOWS = [(0x1000, 0x9E000), (0x100000, 0x200000), (0x1000000, 0x200000), (0x8000000, 0x400000), (0x1E000000, 0x200000)]


def peer(module, script, *words):
    """The JSON that a script of ours prints under Debian's python."""
    if subprocess.run([PYTHON, "-c", f"import {module}"], capture_output=True).returncode:
        raise Skip(f"no {module} (python3-{module.replace('kdumpfile', 'libkdumpfile')})")
    done = subprocess.run([PYTHON, str(HERE / script), *map(str, words)], capture_output=True, timeout=200)
    if done.returncode:
        raise AssertionError(text(done.stderr).splitlines()[-1])
    return json.loads(done.stdout)


def check_drgn(env, dump, names=tuple(NAMES[:-1])):  # runqueues is a per-CPU variable: drgn gives its offset
    """Tasks by their address, names of symbols, and bytes."""
    theirs = peer("drgn", "peer_drgn.py", dump.path, dump.crash.vmlinux, *names)
    ours = {row["task"]: row for row in env.json("ps", dump) if row["tid"]}
    for pid, tgid, comm, state, ppid, address in theirs["tasks"]:
        row = ours.pop(address, None)
        if not row:
            yield f"drgn has a task {pid} ({comm}) at {address}"
            continue
        yield from differ(f"task {address}", (row["tid"], row["pid"], row["state"], row["ppid"]), (pid, tgid, state, ppid))
        # drgn shows task_struct::comm; we show a kernel thread's longer name, and what a worker does, as /proc does.
        if not (row["comm"] == comm or row["comm"].startswith(comm[:15]) or plain(row["comm"])[:15] == comm):
            yield from differ(f"name of {address}", row["comm"], comm)
    yield from differ("tasks drgn does not have", sorted(ours), [])
    symbols = env.json("symbol", dump, *names)
    for row in symbols:
        yield from differ(row["name"], row["address"], theirs["symbols"][row["name"]])
    for name, contents in theirs["bytes"].items():
        yield from differ(f"512 bytes of {name}", env.ask("read", dump, name, 512, "--output", "-").stdout.hex(), contents)


def our_pages(env, dump):
    """Page address -> SHA-256, or None where inquest has a gap."""
    pages = {}
    for start, length in WINDOWS:
        done = env.ask("read", dump, hex(start), length, "--physical", "--output", "-")
        for at in range(0, length, 4096):
            pages[start + at] = hashlib.sha256(done.stdout[at:at + 4096]).hexdigest()
        for at, size in re.findall(r"^inquest: (0x[0-9a-f]+): not in the dump .*\((\d+) bytes\)$", text(done.stderr), re.M):
            for gap in range(int(at, 16), int(at, 16) + int(size), 4096):
                pages[gap] = None
    return pages


def check_kdumpfile(env, dump):
    theirs = dict(peer("kdumpfile", "peer_kdumpfile.py", dump.path, *(f"{start}:{length}" for start, length in WINDOWS)))
    ours = our_pages(env, dump)
    yield from differ("pages", len(ours), len(theirs))
    for address, digest in theirs.items():
        if ours[address] != digest:
            yield f"page {address:#x}: {ours[address]} and, in libkdumpfile, {digest}"
    if not any(theirs.values()):
        yield "libkdumpfile reads nothing: the check is worth nothing"


def root_of(dump):
    """The physical address of i386's root table.  VMCOREINFO has a virtual one, and libkdumpfile 0.5 would read it there before it can
    translate anything ("Cannot read 32-bit PTE at KVADDR"): the image's distance is QEMU's word, as for every symbol."""
    if not dump.crash.kernel.startswith("i386"):
        return 0
    virtual, physical = (int(word, 16) for word in dump.crash.lines("translate")[0].split()[:2])
    with dump.path.open("rb") as file:
        symbol = re.search(rb"SYMBOL\(swapper_pg_dir\)=([0-9a-f]+)", file.read(1 << 16))
    return int(symbol[1], 16) - (virtual - physical)


def check_translation(env, dump):
    """Kernel addresses, as libkdumpfile translates and reads them: symbols of the image and of modules, and every task."""
    words = [line.split()[0] for line in dump.crash.lines("translate")][::4] + [row["task"] for row in env.json("ps", dump)][::4]
    theirs = dict(peer("kdumpfile", "peer_kdumpfile.py", dump.path, "--virtual", root_of(dump), *words))
    for word in words:
        done = env.ask("read", dump, word, 64, "--output", "-")
        yield from differ(f"64 bytes at {word}", done.stdout.hex() if not done.returncode else None, theirs[word])
    if 2 * sum(map(bool, theirs.values())) < len(theirs):
        yield "libkdumpfile reads less than half: the check is worth little"


def check_crash(env, dump):
    if not shutil.which("crash"):
        raise Skip("crash is not installed")
    commands = env.temp("crash-commands")
    commands.write_text("ps\nmod\nsym linux_banner\nrd -8 linux_banner 64\nrd -64 init_uts_ns 50\nlog\nquit\n")
    done = subprocess.run(["crash", "-s", "-i", commands, dump.path, dump.crash.vmlinux],
                          stdin=subprocess.DEVNULL, capture_output=True, timeout=200)
    said = text(done.stdout)
    ours = {row["task"]: row for row in env.json("ps", dump)}
    rows = re.findall(r"^>? +(\d+) +(\d+) +(\d+) +([0-9a-f]{16}) +(\S+) .* (\S+)$", said, re.M)
    if len(rows) < 4:
        yield f"crash lists {len(rows)} tasks"
    for pid, ppid, cpu, address, state, comm in rows:
        row = ours.get(f"0x{address}", {})
        yield from differ(f"task {address}", (row.get("tid"), row.get("cpu"), row.get("comm")), (int(pid), int(cpu), comm.strip("[]")))
        if pid != "0":  # the idle task of CPU 1 has another `parent` (crash) than `real_parent` (/proc, drgn, we); nobody uses either
            yield from differ(f"parent of {address}", row.get("ppid"), int(ppid))
    modules = {name: (int(base, 16), int(size)) for name, base, size in
               re.findall(r"^[0-9a-f]{16} +(\S+) +([0-9a-f]{16}) +(\d+) ", said, re.M)}
    yield from differ("modules", {row["name"]: (int(row["base"], 16), row["size"]) for row in env.json("modules", dump)}, modules)
    yield from lacks("sym linux_banner", said, f"{int(env.json('symbol', dump, 'linux_banner')[0]['address'], 16):x} (D) linux_banner")
    bytes_shown = "".join(re.findall(r"^[0-9a-f]{16}:  ((?:[0-9a-f]{2} ){16})", said, re.M)).replace(" ", "")
    yield from differ("rd -8", env.ask("read", dump, "linux_banner", 64, "--output", "-").stdout.hex(), bytes_shown)
    words = re.findall(r"\b([0-9a-f]{16})\b", "".join(re.findall(r"^[0-9a-f]{16}:(  [0-9a-f]{16} [0-9a-f]{16})", said, re.M)))
    read = env.ask("read", dump, "init_uts_ns", 400, "--output", "-").stdout
    yield from differ("rd -64", [f"{int.from_bytes(read[at:at + 8], 'little'):016x}" for at in range(0, 400, 8)], words)
    # Of a record of several lines crash stamps the first only, and moves the others to the right.
    stamp = re.compile(r"^\[ *\d+\.\d{6}\] |^ {15}")
    log = said[said.index("[    0.000000] Linux version"):].splitlines()
    own = text(env.ask("log", dump).stdout).splitlines()
    yield from differ("lines of the log", len(own), len(log))
    for mine, other in zip(own, log):
        yield from differ("log", stamp.sub("", mine).rstrip(), stamp.sub("", other).rstrip())


def check_gdb(env, dump):
    """gdb's own reading of an ELF file with virtual addresses: the same bytes, and the CPUs' registers."""
    places = [int(row["address"], 16) for row in env.json("symbol", dump, *NAMES[:-1])]
    places += [int(row["task"], 16) for row in env.json("ps", dump)[:20]]
    words = ["gdb", "-nx", "-q", "-batch", "-core", dump.path]
    for number, place in enumerate(places):
        words += ["-ex", f"dump binary memory {env.temp(f'peer-{number}')} {place:#x} {place + 256:#x}"]
    done = subprocess.run([*map(str, words), "-ex", "info threads"], stdin=subprocess.DEVNULL, capture_output=True, timeout=100)
    for number, place in enumerate(places):
        ours = env.ask("read", dump, hex(place), 256, "--output", "-").stdout
        if not env.temp(f"peer-{number}").exists():
            yield f"gdb does not read {place:#x}"
        elif env.temp(f"peer-{number}").read_bytes() != ours:
            yield f"{place:#x}: other bytes in gdb"
    yield from differ("threads", len(re.findall(r"^[* ]+\d+ +LWP", text(done.stdout), re.M)), env.json("info", dump)["cpus"])


# Of each kind of file one, and of both kernels.
FILES = {("kexec", "raw.elf"): "drgn kdumpfile gdb", ("kexec", "filtered.elf"): "kdumpfile", ("kexec", "lzo.kdump"): "kdumpfile crash",
         ("kexec", "zlib.kdump"): "drgn kdumpfile", ("kexec", "zstd.kdump"): "drgn kdumpfile", ("kexec", "snappy.kdump"): "kdumpfile",
         ("kexec", "nocomp.kdump"): "kdumpfile", ("qemu4", "paging.elf"): "drgn gdb", ("qemu4", "vmcoreinfo.elf"): "kdumpfile translation",
         ("qemu5", "vmcoreinfo.elf"): "translation"}


def tests(env):
    checks = {"drgn": check_drgn, "kdumpfile": check_kdumpfile, "translation": check_translation, "crash": check_crash, "gdb": check_gdb}
    for crash in env.crashes():
        for dump in crash.dumps():
            for name in FILES.get((crash.name, dump.name), "").split():
                if name == "crash" and crash.kernel != "6.1":
                    continue
                yield f"{name}/{dump.id}", functools.partial(checks[name], env, dump)
