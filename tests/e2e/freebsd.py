"""Real dumps of FreeBSD kernels, LLVM's own: threads, registers, memory and frames are those that LLVM's test of lldb states
(TestFreeBSDKernelVMCore.py of LLVM 19).  The dumps hold what lldb read of them and zeros for the rest, and the kernels have a score of
symbols, so nothing else can be asked.

lldb's frames are those of the frame pointers, which do not need symbols."""
import functools
import json
import re
import shutil
import struct
import subprocess
from typing import NamedTuple

from gdb_session import run_gdb, switch
from lib import Session, Skip, differ, lacks, text
from lldb_session import PluginSession, StockSession


class Thread(NamedTuple):
    pid: int
    name: str     # of the process, and behind a slash of the thread where it is another
    state: str    # "crashed", "running on CPU 4"; empty: neither
    registers: dict
    frames: list


class Facts(NamedTuple):
    hz: int
    threads: int
    shown: list


FACTS = {
    "amd64-full": Facts(hz=100, threads=13, shown=[
        Thread(806, "sysctl", "crashed",
               {"rbx": 0x0, "rbp": 0xfffffe0085cb2760, "rsp": 0xfffffe0085cb2748, "r12": 0xfffffe0045a6c300, "r13": 0xfffff800033693a8,
                "r14": 0x0, "r15": 0xfffff80003369380, "rip": 0xffffffff80c09ade},
               [0xffffffff80c09ade, 0xffffffff80c09916, 0xffffffff80c09d90, 0xffffffff80c09b93, 0xffffffff80c57d91, 0xffffffff80c19e71,
                0xffffffff80c192bc, 0xffffffff80c19933, 0xffffffff80c1977f, 0xffffffff8108ba8c, 0xffffffff810620ce]),
        Thread(11, "idle/idle: cpu0", "running on CPU 0",
               {"rbx": 0xffffffff81d43950, "rbp": 0xffffffff81d43820, "rsp": 0xffffffff81d43808, "r12": 0xfffff80003374000,
                "r13": 0x27be000, "r14": 0x0, "r15": 0xfffffe00009f7300, "rip": 0xffffffff81057988},
               [0xffffffff81057988, 0xffffffff81057949, 0xffffffff8108a5ff, 0xffffffff81062537, 0xffffffff80c1aa38, 0xffffffff80b9d587,
                0xffffffff810575b1, 0xffffffff81063b33, 0xffffffff804e3edb, 0xffffffff8104dc6e, 0xffffffff8104dd1f, 0xffffffff80c3f0b4,
                0xffffffff80bc7c5e]),
        Thread(11, "idle/idle: cpu9", "",
               {"rbx": 0x7fff29f4, "rbp": 0xfffffe00007a4ad0, "rsp": 0xfffffe00007a4a08, "r12": 0xfffffe00009fd300, "r13": 0x608,
                "r14": 0xfffffe00009250c0, "r15": 0xfffffe0045a6c300, "rip": 0xffffffff80c3c8c8},
               [0xffffffff80c3c8c8, 0xffffffff80c16521, 0xffffffff80c3f0b4, 0xffffffff80bc7c5e]),
    ]),
    "amd64-minidump": Facts(hz=100, threads=16, shown=[
        Thread(800, "sysctl", "crashed",
               {"rbx": 0x0, "rbp": 0xfffffe00798c4760, "rsp": 0xfffffe00798c4748, "r12": 0xfffffe0045b11c00, "r13": 0xfffff800033693a8,
                "r14": 0x0, "r15": 0xfffff80003369380, "rip": 0xffffffff80c09ade},
               [0xffffffff80c09ade, 0xffffffff80c09916, 0xffffffff80c09d90, 0xffffffff80c09b93, 0xffffffff80c57d91, 0xffffffff80c19e71,
                0xffffffff80c192bc, 0xffffffff80c19933, 0xffffffff80c1977f, 0xffffffff8108ba8c, 0xffffffff810620ce]),
        Thread(28, "pagedaemon/dom0", "running on CPU 4",
               {"rbx": 0xfffffe00008e2f30, "rbp": 0xfffffe00008e2e00, "rsp": 0xfffffe00008e2de8, "r12": 0xfffff80003845000,
                "r13": 0x27be000, "r14": 0x4, "r15": 0xfffffe00458c2700, "rip": 0xffffffff81057988},
               [0xffffffff81057988, 0xffffffff81057949, 0xffffffff8108a5ff, 0xffffffff81062537, 0xffffffff8107171e, 0xffffffff81075f9c,
                0xffffffff80f4359e, 0xffffffff80f494b4, 0xffffffff80f47430, 0xffffffff80f46eee, 0xffffffff80bc7c5e]),
        Thread(28, "pagedaemon/laundry: dom0", "",
               {"rbx": 0x7fff25f1, "rbp": 0xfffffe00527dd890, "rsp": 0xfffffe00527dd7c8, "r12": 0xfffffe0045b13100, "r13": 0x104,
                "r14": 0xfffffe00008d70c0, "r15": 0xfffffe00009f5e00, "rip": 0xffffffff80c3c8c8},
               [0xffffffff80c3c8c8, 0xffffffff80c16521, 0xffffffff80c15c3b, 0xffffffff80f48dfc, 0xffffffff80bc7c5e]),
    ]),
    "arm64-minidump": Facts(hz=1000, threads=10, shown=[
        Thread(939, "sysctl", "crashed",
               {"x0": 0x0, "x1": 0x0, "x2": 0x0, "x3": 0x0, "x4": 0x0, "x5": 0x0, "x6": 0x0, "x7": 0x0, "x8": 0xffffa00001548700,
                "x9": 0x0, "x10": 0xffffa00000e04580, "x11": 0x0, "x12": 0x8950a, "x13": 0x89500, "x14": 0x39, "x15": 0x0,
                "x16": 0xffffffd8, "x17": 0x0, "x18": 0xffff000000e6d380, "x19": 0xffff000000af9000, "x20": 0xffff000000b82000,
                "x21": 0xffffa00000319da8, "x22": 0xffff000000b84000, "x23": 0xffff000000b84000, "x24": 0xffff000000b55000, "x25": 0x0,
                "x26": 0x40800, "x27": 0x0, "x28": 0x2019ca, "fp": 0xffff0000d58f23b0, "sp": 0xffff0000d58f23b0,
                "pc": 0xffff0000004b6e78},
               [0xffff0000004b6e78]),
        Thread(21, "syncer", "running on CPU 6",
               {"x0": 0x0, "x1": 0x0, "x2": 0x0, "x3": 0x0, "x4": 0x0, "x5": 0x0, "x6": 0x0, "x7": 0x0, "x8": 0x6, "x9": 0x560,
                "x10": 0xffff000000e8f640, "x11": 0x1, "x12": 0x56000000, "x13": 0x2af8, "x14": 0x2710, "x15": 0x2, "x16": 0xffffffff,
                "x17": 0x2, "x18": 0xffff000000e6db80, "x19": 0x6, "x20": 0xffff0000853a3670, "x21": 0xffff0000009279c1, "x22": 0x804,
                "x23": 0x4, "x24": 0xffff000082a93000, "x25": 0xffffa0000053f080, "x26": 0xffff000000e6391c, "x27": 0xffff000000e63000,
                "x28": 0x4, "fp": 0xffff0000853a35c0, "sp": 0xffff0000853a35c0, "pc": 0xffff000000811370},
               [0xffff000000811370]),
        Thread(11, "idle/idle: cpu2", "",
               {"x0": 0x0, "x1": 0x0, "x2": 0x0, "x3": 0x0, "x4": 0x0, "x5": 0x0, "x6": 0x0, "x7": 0x0, "x8": 0xffffffff, "x9": 0x1,
                "x10": 0x2710, "x11": 0x7ff7e333, "x12": 0x7ff7ba9c, "x13": 0x2af8, "x14": 0x2897, "x15": 0x2af8, "x16": 0x28e1,
                "x17": 0xffffffff, "x18": 0xffff000000e6d380, "x19": 0xffffa0000032e580, "x20": 0xffff000000b82000,
                "x21": 0xffff000040517100, "x22": 0xffffa00000e04580, "x23": 0xffff000000b84000, "x24": 0x1, "x25": 0xffff000000dd1000,
                "x26": 0xffff000082783898, "x27": 0xffff000000e26000, "x28": 0xffff000000b82000, "fp": 0xffff0000827835f0,
                "sp": 0xffff000082783570, "pc": 0xffff0000004ee99c},
               [0xffff0000004ee99c]),
    ]),
    "i386-minidump": Facts(hz=100, threads=13, shown=[
        Thread(806, "sysctl", "crashed",
               {"ebp": 0x151968e4, "esp": 0x151968d8, "esi": 0xc77aa80, "edi": 0x3f0dc80, "eip": 0x10025c5},
               [0x10025c5, 0x1002410, 0x10027d5, 0x1002644, 0x1049a2f, 0x1011077, 0x1010780, 0x1010c7a, 0x1010ab2, 0x13e9e2d,
                0xffc033f9]),
        Thread(11, "idle/idle: cpu0", "running on CPU 0",
               {"ebp": 0x3d979bc, "esp": 0x3d979a0, "esi": 0x7f7, "edi": 0x0, "eip": 0x13a91f6},
               [0x13a91f6, 0x13a91c0, 0x13e8ce4, 0xffc0319f, 0x28]),
        Thread(11, "idle/idle: cpu11", "",
               {"ebp": 0x3dc4af0, "esp": 0x3dc4aa4, "esi": 0x3f97e00, "edi": 0x3e8, "eip": 0x103012c},
               [0x103012c, 0x100de0e, 0x100b770, 0x10323be, 0xfc50b6]),
    ]),
}
GDB_NAMES = {"fp": "x29"}


class FreebsdDump:
    """As lib.Dump: what the sessions want to know."""

    def __init__(self, env, name):
        self.folder = env.corpus / "freebsd" / name
        self.path, self.vmlinux = self.folder / "vmcore", self.folder / "kernel"
        self.name, self.id, self.options, self.damaged = name, f"freebsd/{name}", [], False
        self.crash = self  # the kernel's file is asked of the crash


def check_info(env, dump):
    done = env.ask("info", dump)
    said = text(done.stdout)
    yield from lacks("info", said, "system:      FreeBSD", f"kernel:      {dump.vmlinux}", f"tasks:       {FACTS[dump.name].threads}")
    for stream in (said, text(done.stderr)):
        if re.search("vmlinux|Linux", stream):
            yield f"a word of Linux: {stream}"


def tasks(env, dump):
    """(pid, shown name) -> row of ps."""
    rows = env.json("ps", dump)
    return {(row["pid"], row["comm"] + (f"/{row['thread']}" if row.get("thread", row["comm"]) != row["comm"] else "")): row for row in rows}


def check_ps(env, dump):
    facts, rows = FACTS[dump.name], tasks(env, dump)
    yield from differ("threads", len(env.json("ps", dump)), facts.threads)
    crashed = env.json("info", dump)["panic_task"]
    for thread in facts.shown:
        row = rows.get((thread.pid, thread.name))
        if not row:
            yield f"no {thread.name} of process {thread.pid} in {list(rows)}"
        elif thread.state == "crashed":
            yield from differ("crashed", crashed["tid"], row["tid"])
        elif thread.state:
            yield from differ(f"CPU of {thread.name}", row["cpu"], int(thread.state.split()[-1]))


def check_memory(env, dump):
    hz = env.json("symbol", dump, "hz")[0]["address"]
    done = env.ask("read", dump, hz, 4, "--output", "-")
    yield from differ("hz", int.from_bytes(done.stdout, "little"), FACTS[dump.name].hz)


def check_gdb(env, dump):
    if not shutil.which("gdb-multiarch"):
        raise Skip("no gdb-multiarch")
    facts, rows = FACTS[dump.name], tasks(env, dump)
    wanted = [thread for thread in facts.shown if (thread.pid, thread.name) in rows]
    commands = ["info threads", "print *(int *) &hz"]
    for thread in wanted:
        names = [GDB_NAMES.get(name, name) for name in thread.registers]
        values = ", ".join(f"int(gdb.parse_and_eval('(unsigned long) ${name}')) & 0xffffffffffffffff" for name in names)
        commands += [switch(rows[thread.pid, thread.name]["tid"]), f"python print([{values}])"]
    server = f"| exec {env.inquest} serve --stdio {dump.path} {dump.vmlinux}"
    answers, *_ = run_gdb(env, commands, server, program=dump.vmlinux, gdb="gdb-multiarch", options=["-iex", "set osabi none"])
    listed = answers[0].output
    yield from differ("threads", len(re.findall(r"Thread 1\.", listed)), facts.threads)
    yield from lacks("hz", answers[1].output, f"= {facts.hz}")
    for thread, answer in zip(wanted, answers[3::2], strict=True):
        if not re.search(rf'"{re.escape(thread.name)}" \({thread.state}', listed):
            yield f"no {thread.name} that is {thread.state or 'there'} in {listed}"
        got = dict(zip(thread.registers, json.loads(answer.both) if answer.both.startswith("[") else [answer.both] * 40))
        yield from differ(f"registers of {thread.name}", got, thread.registers)


def check_lldb(env, dump, session):
    """A debugger on a server asks what code may be executed, which the test of a core file does not: of most code these dumps lack
    the page tables.  The first of them ends lldb's way, if not one frame earlier."""
    facts, rows = FACTS[dump.name], tasks(env, dump)
    traces = session.traces()
    yield from differ("threads", len(traces), facts.threads)
    for thread in facts.shown:
        row = rows.get((thread.pid, thread.name), {"tid": 0})
        mapped = [place["status"] == "present" for place in env.json("translate", dump, *map(hex, thread.frames))]
        sure = max(1, (mapped + [False]).index(False) - 1)
        got = [hex(address) for address, _ in traces.get(row["tid"], [])]
        yield from differ(f"frames of {thread.name}", got[:sure], [hex(frame) for frame in thread.frames[:sure]])


def number(env, dump, address):
    return int.from_bytes(env.ask("read", dump, hex(address), 8, "--output", "-").stdout, "little")


ENTRY_BYTES = 0x40  # of the entry code's symbol


def frames_by_pointer(ranges):
    """.debug_frame of functions that keep a frame pointer, amd64 (DWARF 5, 6.4.1)."""
    entry = struct.pack("<I", 0xffffffff) + bytes([4, 0, 8, 0, 1, 0x78, 16, 0x0c, 6, 16, 0x86, 2, 0x90, 1])  # rbp at cfa - 16, pc at cfa - 8
    section = struct.pack("<I", len(entry) + 6) + entry + bytes(6)
    for first, end in ranges:
        section += struct.pack("<IIQQ", 20, 0, first, end - first)
    return section


def with_entry_code(env, dump, name, address):
    """A kernel file with the symbols of the dump's, and entry code that begins at `address`.  Its other code has frame pointers, and
    says so.  System V ABI, chapter 4."""
    listed = subprocess.run(["readelf", "-sW", dump.vmlinux], capture_output=True, text=True, check=True).stdout
    base, end = 0xffffffff80000000, 0xffffffff84000000
    symbols = [(words[7], int(words[1], 16), int(words[2], 0), 1, 2) for words in map(str.split, listed.splitlines()) if len(words) == 8 and words[3] == "OBJECT"]
    symbols += [(name, address, 0, 0, 1), ("next_function", address + ENTRY_BYTES, 0, 0, 1), ("kernbase", base, 0, 0, 2)]  # assembly's have no type
    names, table = b"\0", bytes(24)
    for symbol, value, size, kind, section in symbols:
        table += struct.pack("<IBBHQQ", len(names), 0x10 | kind, 0, section, value, size)
        names += symbol.encode() + b"\0"
    section_names = b"\0.text\0.data\0.symtab\0.strtab\0.shstrtab\0.debug_frame\0"
    parts = [table, names, section_names, frames_by_pointer([(base, address), (address + ENTRY_BYTES, end)])]
    places = [64 + sum(map(len, parts[:i])) for i in range(len(parts))]
    rows = [(0, 0, 0, 0, 0, 0, 0, 0), (1, 8, 6, address & ~0xffff, 64, 0x100000, 0, 0), (7, 8, 3, base, 64, end - base, 0, 0),
            (13, 2, 0, 0, places[0], len(table), 4, 1), (21, 3, 0, 0, places[1], len(names), 0, 0),
            (29, 3, 0, 0, places[2], len(section_names), 0, 0), (39, 1, 0, 0, places[3], len(parts[3]), 0, 0)]
    headers = b"".join(struct.pack("<IIQQQQIIQQ", *row, 1, 24 if row[1] == 2 else 0) for row in rows)
    identity = b"\x7fELF" + bytes([2, 1, 1, 9]) + bytes(8)  # FreeBSD
    head = identity + struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, 0, 0, places[3] + len(parts[3]), 0, 64, 0, 0, 64, len(rows), 5)
    path = env.temp("kernel-with-entry-code")
    path.write_bytes(head + b"".join(parts) + headers)
    return path


def check_trap(env, dump):
    """A thread that an NMI stopped: behind the entry code gdb goes on in the interrupted function.  Where the entry code called trap()
    is among the frames that LLVM's test states, and so is where the interrupted function was called from; of the trap frame itself
    the dump holds nothing, so that a copy gets one."""
    thread = FACTS[dump.name].shown[1]
    slot = thread.registers["rbp"]
    for _ in range(2):  # frame pointers lead to trap()'s frame, above which lies the return address into the entry code
        slot = number(env, dump, slot)
    yield from differ("the return address into the entry code", hex(number(env, dump, slot + 8)), hex(thread.frames[3]))
    frame, interrupted = slot + 16, thread.frames[4] - 0x21
    copy = env.temp("with-trap-frame")
    subprocess.run(["cp", "--sparse=always", dump.path, copy], check=True)
    with copy.open("r+b") as file:
        # sys/x86/include/frame.h: tf_rbp, tf_rip, tf_rsp.
        for offset, value in ((0x40, number(env, dump, slot)), (0x98, interrupted), (0xb0, frame + 0xc0)):
            place = env.json("translate", dump, hex(frame + offset))[0]["file_offset"]
            file.seek(int(place, 16) if isinstance(place, str) else place)
            file.write(struct.pack("<Q", value))
    kernel = with_entry_code(env, dump, "nmi_calltrap", thread.frames[3] - 0x20)
    tid = tasks(env, dump)[thread.pid, thread.name]["tid"]
    walk = "python f, pcs = gdb.newest_frame(), []\nwhile f: pcs.append((f.pc(), f.type() == gdb.SIGTRAMP_FRAME)); f = f.older()"
    commands = [switch(tid), "python exec(" + repr(walk.removeprefix("python ").replace("f, pcs =", "global f, pcs; f, pcs =")) + ")", "python print(json.dumps(pcs))"]
    answers, *said = run_gdb(env, commands, f"| exec {env.inquest} serve --stdio {copy} {kernel}", program=kernel, gdb="gdb-multiarch",
                             options=["-iex", "set osabi none", "-iex", "python import json"])
    if not answers[2].output.startswith("["):
        yield f"gdb does not walk: {[answer.both for answer in answers]} {said}"
        return
    got = [(hex(pc), signal) for pc, signal in json.loads(answers[2].output)]
    expected = [(hex(pc), i == 3) for i, pc in enumerate(thread.frames[:4])] + [(hex(interrupted), False)] + [(hex(pc), False) for pc in thread.frames[4:]]
    yield from differ("frames", got[:len(expected)], expected)


def tests(env):
    for name in FACTS:
        dump = FreebsdDump(env, name)
        if not dump.path.exists():
            continue
        for check, function in {"info": check_info, "ps": check_ps, "memory": check_memory, "gdb": check_gdb}.items():
            yield f"{name}/{check}", functools.partial(function, env, dump)
        if name.startswith("amd64"):
            yield f"{name}/trap", functools.partial(check_trap, env, dump)
        for kind in (PluginSession, StockSession):
            session: Session = kind(env, dump)
            session.want("frames", "@frames")
            yield f"{name}/lldb-{session.how}", functools.partial(check_lldb, env, dump, session)
