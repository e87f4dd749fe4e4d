"""Dumps of other processors: what the guests said of themselves, gdb-multiarch's backtraces, and the other readers of such files."""
import collections
import functools
import re
import shutil
import struct
import subprocess

import bt
import memory
import peers
import ps
from gdb_session import GdbSession
from lib import FOREIGN, Dump, Skip, differ, lacks, text
from lldb_session import PluginSession

# From the panic to the entry of the system call, by architecture.
PANIC = ["panic", "sysrq_handle_crash", "__handle_sysrq", "write_sysrq_trigger", "vfs_write", "ksys_write"]
ENTRY = {"arm64": ["el0_svc", "el0t_64_sync_handler", "el0t_64_sync"],
         "i386": ["do_fast_syscall_32", "entry_SYSENTER_32"],
         "ppc64el": ["system_call_exception"],
         "s390x": ["__do_syscall", "system_call"]}
# What drgn 0.0.22 and libkdumpfile 0.5 read.  Of ppc64's tables libkdumpfile knows only hash's before 4.6, which no kernel here has.
PEERS = {"arm64-6.1/qemu/vmcoreinfo.elf": "drgn kdumpfile", "i386-6.1/non-pae/vmcoreinfo.elf": "kdumpfile",
         "i386-6.1-pae/pae/vmcoreinfo.elf": "kdumpfile", "s390x-6.1/nonote-s390/nonote.elf": "kdumpfile"}
# Through lldb too: without a vmlinux or with it.
LLDB = {"arm64-6.1/qemu": {"lldb": False, "lldb-alone": True}}


def architecture(crash):
    return crash.kernel.split("-")[0]


def check_translate(env, dump):
    """Addresses of the kernel's symbols against QEMU's own walk of CPU 0's tables."""
    places = [line.split(" ", 2)[:2] for line in dump.crash.lines("translate")]
    mapped = [(virt, int(phys, 16)) for virt, phys in places if phys != "Unmapped"]
    for (virt, phys), row in zip(mapped, env.json("translate", dump, *(virt for virt, _ in mapped)), strict=True):
        yield from differ(virt, int(row.get("physical", "0"), 16), phys)
    if len(mapped) < 100:
        yield f"only {len(mapped)} addresses: the check is worth little"


def check_panic(crash, session):
    frames = [name for _, name in session.traces().get(1, [])]
    if missing := bt.in_order([*PANIC, *ENTRY[architecture(crash)]], frames, bt.same_function):
        yield f"no {missing} in its place in {frames}"


def check_modules(crash, session):
    """Each module's functions are where /proc/kallsyms says, in gdb too.  (&FUNCTION is what debug information says, which on
    some machines is behind the entry's room for tracing.)"""
    shown = re.findall(r"^(\S+) in section", session.output("functions"), re.M)
    yield from differ("functions", shown, [name for _, _, name, _ in functions(crash)])
    if not shown:
        yield "no module has a function that the kernel names: the check is worth nothing"


def functions(crash):
    """A few functions of modules, whose names and places nothing else has."""
    rows = crash.kallsyms()
    count = collections.Counter([row[2] for row in rows] + [row[0] for row in rows])
    found = [row for row in rows if row[3] and row[1] in "tT" and count[row[2]] == count[row[0]] == 1 and row[2].isidentifier()]
    return found[::max(1, len(found) // 20)]


def check_log(env, dump):
    log = text(env.ask("log", dump).stdout)
    yield from lacks("log", log, "sysrq: Trigger a crash", "Kernel panic - not syncing: sysrq triggered crash")
    said = [line.split(None, 1)[-1] for line in dump.crash.lines("dmesg")]
    for line in said[:200:20]:
        words = re.sub(r"^(<\d+>)?\[ *\d+\.\d+\] ", "", line)
        if words.strip() and words.split("] ")[-1].strip() not in log:
            yield f"log has no {words!r}"


def check_process(env, dump):
    """The process `registers`: README.md of the corpus says what it has where."""
    tid = memory.process(dump.crash, b"registers")
    for at, words in ((0x10000000, b"a readable page of the process registers\0"), (0x10010000, b"a PROT_NONE page of the process registers\0")):
        yield from differ(hex(at), memory.read(env, dump, hex(at), len(words), "--pid", tid), words)


def as_proc_vmcore(env, dump):
    """A copy of QEMU's file with virtual addresses in its program headers, as the kernel's own dumps have them: without them drgn
    looks for the page tables with the page tables."""
    copy = env.temp("virtual.elf")
    subprocess.run(["cp", "--sparse=always", str(dump.path), str(copy)], check=True)
    with copy.open("r+b") as file:
        note = file.read(1 << 16)
        info = dict(re.findall(r"^([\w()]+)=(\w+)$", note.decode("latin-1"), re.M))
        file.seek(0)
        header = bytearray(file.read(64))
        offset, count = struct.unpack_from("<Q", header, 32)[0], struct.unpack_from("<H", header, 56)[0]
        file.seek(offset)
        segments = [list(struct.unpack("<IIQQQQQQ", file.read(56))) for _ in range(count)]
        ram = next(segment for segment in segments if segment[0] == 1)
        ram[3] = (1 << 64) - (1 << int(info["NUMBER(VA_BITS)"])) + ram[4] - int(info["NUMBER(PHYS_OFFSET)"], 16)
        image = (int(info["SYMBOL(_stext)"], 16) - 0x10000, 64 << 20)
        into = image[0] - int(info["NUMBER(kimage_voffset)"], 16) - ram[4]
        segments.append([1, 7, ram[2] + into, image[0], ram[4] + into, image[1], image[1], 0])
        file.seek(0, 2)
        struct.pack_into("<Q", header, 32, file.tell())
        struct.pack_into("<H", header, 56, len(segments))
        file.write(b"".join(struct.pack("<IIQQQQQQ", *segment) for segment in segments))
        file.seek(0)
        file.write(header)
    return Dump(dump.crash, copy)


def without_sections(env, dump):
    """A big-endian file of QEMU 7.2 says that its section names have 2^59 bytes and more, which libkdumpfile believes."""
    with dump.path.open("rb") as file:
        if file.read(6)[5] != 2:
            return dump
    copy = env.temp("no-sections.elf")
    subprocess.run(["cp", "--sparse=always", str(dump.path), str(copy)], check=True)
    with copy.open("r+b") as file:
        for offset, field in ((40, bytes(8)), (60, bytes(4))):  # e_shoff; e_shnum and e_shstrndx
            file.seek(offset)
            file.write(field)
    return Dump(dump.crash, copy)


def check_kdumpfile(env, dump):
    yield from peers.check_translation(env, without_sections(env, dump))


def check_drgn(env, dump):
    yield from peers.check_drgn(env, as_proc_vmcore(env, dump), ["init_task", "linux_banner", "init_uts_ns", "saved_command_line"])


def tests(env):
    for crash in env.crashes(FOREIGN):
        for dump in crash.dumps():
            yield f"{dump.id}/ps", functools.partial(ps.check_dump, env, dump)
            yield f"{dump.id}/translate", functools.partial(check_translate, env, dump)
            yield f"{dump.id}/log", functools.partial(check_log, env, dump)
            yield f"{dump.id}/process", functools.partial(check_process, env, dump)
            for name in PEERS.get(dump.id, "").split():
                yield f"{dump.id}/{name}", functools.partial({"drgn": check_drgn, "kdumpfile": check_kdumpfile}[name], env, dump)
        if not shutil.which(crash.gdb):
            raise Skip(f"no {crash.gdb}")
        session = GdbSession(env, crash.dump())
        session.want("bt", "thread apply all bt")
        session.want("functions", "python " + "; ".join(f"gdb.execute('info symbol {address:#x}')" for address, *_ in functions(crash)))
        backtraces = {"sleeping": bt.check_sleeping, "everyone": bt.check_all_there, "panic": check_panic}
        if crash.dump().name == "raw.img":  # memory alone: what the CPUs had in their registers is not in it
            del backtraces["panic"]
        for name, check in {**backtraces, "modules": check_modules}.items():
            yield f"{crash.id}/{name}", functools.partial(check, crash, session)
        for how, alone in LLDB.get(crash.id, {}).items():
            session = PluginSession(env, crash.dump(), alone)
            session.want("frames", "@frames")
            for name, check in backtraces.items():
                yield f"{crash.id}/{how}/{name}", functools.partial(check, crash, session)
