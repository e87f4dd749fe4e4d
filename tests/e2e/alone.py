"""The dump alone: `--no-vmlinux` answers as with the vmlinux, from the kernel's own symbols and types."""
import functools
import mmap
import re
import struct
import subprocess
import time

import foreign
import reports
from lib import FOREIGN, Env, differ, lacks, text

RAW = ["--format", "raw", "--arch", "x86_64", "--no-vmlinux"]
PAGE = 4096
# Of other processors, those whose kernels carry BTF.
FOREIGN_BTF = {kernel: names for kernel, names in FOREIGN.items() if kernel.startswith(("arm64", "riscv64"))}


class AloneEnv(Env):
    """Asks with no debug file."""

    def __init__(self, env):
        self.inquest, self.corpus, self.work = env.inquest, env.corpus, env.work

    def words(self, command, dump, *words, vmlinux=False):
        return [command, *dump.options, dump.path, "--no-vmlinux", *words]


def only_vmlinux_tells(crash):
    """Lines: those of an image that can lie anywhere, and of a kernel that names its functions only."""
    lines = b"vmlinux:|found by:"
    if crash.kernel in FOREIGN_BTF:
        lines += b"|phys base:"
    return lines if crash.names_all else lines + b"|cpus:|.*this kernel keeps the names of its functions only"


def check_same(env, dump):
    """What is printed, byte by byte.  Only `info` names the vmlinux, and what of it helped to find the kernel."""
    alone = AloneEnv(env)
    for command in ("info", "ps", "log", "modules"):
        expected, got = env.ask(command, dump), alone.ask(command, dump)
        for what, ours, theirs in ((command, got.stdout, expected.stdout), (f"{command}, notes", got.stderr, expected.stderr)):
            ours, theirs = ({line for line in output.split(b"\n") if not re.match(only_vmlinux_tells(dump.crash), line)} for output in (ours, theirs))
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


def wipe_vmcoreinfo(path):
    """The page that holds the text, and the note that is made of it."""
    wiped = 0
    with open(path, "r+b") as file, mmap.mmap(file.fileno(), 0) as ram:
        at = ram.find(b"OSRELEASE=")
        while at != -1:
            end = ram.find(b"\0", at)
            ram[at:end] = bytes(end - at)
            wiped += 1
            at = ram.find(b"OSRELEASE=", end)
    return wiped


def check_wiped(env, dump):
    """An image of RAM and nothing else: no VMCOREINFO, no notes, no vmlinux."""
    alone, copy = AloneEnv(env), env.temp("wiped.img")
    subprocess.run(["cp", "--reflink=auto", dump.path, copy], check=True)
    if not wipe_vmcoreinfo(copy):
        yield "there was nothing to wipe"
    start = time.monotonic()
    info = env.run("info", *RAW, copy)
    if (seconds := time.monotonic() - start) > 2:
        yield f"takes {seconds:.1f} s"
    yield from lacks("info", text(info.stdout), "found by:    the kernel's symbol table, found in memory")
    for command in ("info", "ps", "log", "modules"):
        ours, theirs = env.run(command, *RAW, copy).stdout, alone.ask(command, dump).stdout
        ours, theirs = ([line for line in output.split(b"\n") if not re.match(b"dump:|found by:", line)] for output in (ours, theirs))
        yield from differ(command, ours, theirs)
    copy.unlink()


def write_elf(path, ram, holes):
    """An ELF core of an image of RAM without some pages (their addresses); the RAM follows one page of headers."""
    size, loads, start = ram.stat().st_size, [], 0
    for hole in [*sorted(holes), size]:
        loads.append((start, hole - start))
        start = hole + PAGE
    header = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01", 4, 62, 1, 0, 64, 0, 0, 64, 56, len(loads), 0, 0, 0)
    for start, length in loads:
        header += struct.pack("<IIQQQQQQ", 1, 7, PAGE + start, 0, start, length, length, 0)
    if not path.exists():
        with open(path, "wb") as out, open(ram, "rb") as data:
            out.write(bytes(PAGE))
            while block := data.read(1 << 24):
                out.write(block)
    with open(path, "r+b") as out:
        out.write(header.ljust(PAGE, b"\0"))


# A page of each table: what is left then, and what the one remark about it says.
HOLES = {"names": ("kallsyms_names", 0x40000, "ps", "symbols cannot be read"),
         "markers": ("kallsyms_markers", 0, "ps", "symbols cannot be read"),  # the last names end in the same page
         "offsets": ("kallsyms_offsets", 0x8000, "ps", "symbols cannot be read"),
         "tokens": ("kallsyms_token_index", 0, None, "(kallsyms) cannot be read"),
         "count": ("kallsyms_num_syms", 0, None, "(kallsyms) cannot be read"),
         "types": ("__start_BTF", 0x100000, "symbol", "gives symbols, but no types")}


def check_hole(env, dump, name):
    """One page is missing: what does not need it is as it was, and one remark says what it costs."""
    symbol, offset, works, remark = HOLES[name]
    path, alone = env.temp("holes.elf"), AloneEnv(env)
    whole = alone.json("info", dump)
    virtual = next(at for at, found in nm(dump.crash.vmlinux) if found == symbol) + int(whole["slide"], 16) + offset
    hole = (virtual - 0xFFFFFFFF80000000 + int(whole["phys_base"], 16)) % 2**64 & -PAGE
    write_elf(path, dump.path, [hole])
    remarks = [r for r in text(env.run("info", "--no-vmlinux", path).stdout).split("remark:")[1:] if "no registers of the CPU" not in r]
    yield from differ("remarks", len(remarks), 1)
    yield from lacks("the remark", "".join(remarks), remark)
    if works == "ps":
        for command in ("ps", "log", "modules"):
            yield from differ(command, env.run(command, "--no-vmlinux", path).stdout == alone.ask(command, dump).stdout, True)
    else:
        done = env.run("ps", "--no-vmlinux", path)
        yield from differ("ps", (done.returncode, done.stdout, done.stderr.count(b"\n")), (1, b"", 1))
    if works:
        words = ["init_task", "linux_banner", "swapper_pg_dir"]
        ours, theirs = env.run("symbol", "--no-vmlinux", path, *words).stdout, alone.ask("symbol", dump, *words).stdout
        yield from differ("symbols", ours, theirs)
    at = hex((virtual & -PAGE) - PAGE)
    ours, theirs = env.run("translate", "--no-vmlinux", path, at).stdout, alone.ask("translate", dump, at).stdout
    yield from lacks("the page before", text(ours), *re.findall(r"PHYSICAL +0x[0-9a-f]+|STATUS +present", text(theirs)))


def check_images(env, dump):
    for name in HOLES:
        for problem in check_hole(env, dump, name):
            yield f"{name}: {problem}"
    env.temp("holes.elf").unlink()


def tests(env):
    alone = AloneEnv(env)
    for crash in env.crashes(FOREIGN_BTF):
        yield f"{crash.id}/functions", functools.partial(check_functions, env, crash.dump())
        if crash.names_all:
            yield f"{crash.id}/symbol", functools.partial(reports.check_symbol, alone, crash.dump())
        yield f"{crash.id}/symbol-at", functools.partial(reports.check_symbol_at, alone, crash.dump())
        for dump in crash.dumps():
            yield f"{dump.id}/same", functools.partial(check_same, env, dump)
            yield f"{dump.id}/translate", functools.partial(foreign.check_translate, alone, dump)
    for crash in env.crashes():
        dump = crash.dump()
        yield f"{crash.id}/functions", functools.partial(check_functions, env, dump)
        for name, check in {"info": reports.check_info, "symbol": reports.check_symbol, "symbol-at": reports.check_symbol_at}.items():
            yield f"{dump.id}/{name}", functools.partial(check, alone, dump)
        for other in crash.dumps():
            if other.name == "raw.img":
                yield f"{other.id}/wiped", functools.partial(check_wiped, env, other)
                if crash.name == "qemu4":
                    yield f"{other.id}/holes", functools.partial(check_images, env, other)
            yield f"{other.id}/same", functools.partial(check_damaged if other.damaged else check_same, env, other)
