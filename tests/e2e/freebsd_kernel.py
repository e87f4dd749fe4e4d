"""A FreeBSD kernel of each processor, built here (freebsd_kernel.c), crashed by writing down what a crash leaves (freebsd_machines.py), and
dumped as the kernel dumps itself.  gdb must find its threads, go through traps into a module, and end where threads begin."""
import functools
import json
import re
import shutil
import struct
import subprocess

from freebsd_layouts import FULL, GUESTS, MINIDUMPS
from freebsd_machines import MACHINES, Amd64, Arm64, Arm64Signed
from gdb_session import run_gdb, switch
from lib import HERE, Skip, differ, lacks, text

CODE = ["sched_switch", "mi_switch", "sleepq_wait", "kern_wait6", "sys_wait6", "syscall", "fork_exit", "swapper", "sched_idletd", "cpu_idle", "cpustop_handler",
        "trap", "trap_pfault", "vpanic", "doadump", "sys_ioctl"]
BYTES, INSIDE = 64, 16  # of a function; where it was left
MODULE_PHYS, MODULE_BYTES, PAGE = 0x8000000, 0x40000, 4096
AVAILABLE = [(0x1000, 0x9f000), (0x100000, 0x7fe0000), (0x8000000, 0x9000000)]


def functions(machine, names, entries=()):
    """Assembly: `names` with a frame, `entries` of which nothing is known."""
    lines = ["  .text"]
    for name in names:
        lines += [f"  .globl {name}", f"  .type {name}, %function", "  .p2align 6", f"{name}:", "  .cfi_startproc", f"  {machine.cfi}",
                  f"  .rept {BYTES}", "  nop", "  .endr", "  .cfi_endproc", f"  .size {name}, .-{name}"]
    for name in entries:
        lines += [f"  .globl {name}", "  .p2align 6", f"{name}:", f"  .rept {BYTES}", "  nop", "  .endr"]
    return "\n".join(lines) + "\n"


MODULE_DATA = """  .data
  .p2align 7
  .globl crash_data
crash_data: .long 4711
  .size crash_data, 4
  .type crash_data, %object
"""
SCRIPT = """SECTIONS { . = %#x; kernel_base = .; .text : { *(.text*) } _etext = .; etext = .; . = ALIGN(4096); .rodata : { *(.rodata*) }
  .note.gnu.build-id : { *(.note.gnu.build-id) } .eh_frame : { *(.eh_frame) } .dynsym : { *(.dynsym) } .dynstr : { *(.dynstr) }
  .hash : { *(.hash) } .gnu.hash : { *(.gnu.hash) } .rela.dyn : { *(.rela*) } .dynamic : { *(.dynamic) } . = ALIGN(4096);
  .data : { *(.data*) *(.got*) *(.toc*) } .bss : { *(.bss*) *(COMMON) } _end = .; }"""


def run(*words):
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True)
    if done.returncode:
        raise AssertionError(f"{words[0]}: {done.stderr[-600:]}")
    return done.stdout


class Elf:
    def __init__(self, path, word):
        self.raw, wide = path.read_bytes(), word == 8
        rows = run("readelf", "-SW", path).splitlines()
        found = [re.match(r" +\[ *\d+\] (\S+) +(\S+) +([0-9a-f]+) ([0-9a-f]+) ([0-9a-f]+) [0-9a-f]+ +([A-Za-z]*) +\d+ +\d+ +(\d+)", row) for row in rows]
        self.sections = [(m[1], m[2], int(m[3], 16), int(m[4], 16), int(m[5], 16), m[6], int(m[7])) for m in found if m]
        self.symbols = {}
        for row in run("readelf", "-sW", path).splitlines():
            words = row.split()
            if len(words) >= 8 and words[0].rstrip(":").isdigit() and words[6] != "UND":
                self.symbols[words[-1]] = (int(words[1], 16), words[6])
        self.relocations = re.findall(r"^([0-9a-f]+) +\S+ R_PPC64_RELATIVE +([0-9a-f]+)", run("readelf", "-rW", path), re.M) if wide else []

    def image(self, move=0, place=None):
        """(address, bytes) of what is loaded; `place` tells where a relocatable file's sections are."""
        for index, (name, kind, address, offset, size, flags, _) in enumerate(self.sections):
            if "A" in flags and size:
                yield (place or {}).get(index, address + move), bytes(size) if kind == "NOBITS" else self.raw[offset:offset + size]

    def packed(self, base):
        """link_elf_load_file() in sys/kern/link_elf_obj.c."""
        places = {}
        for index, (_, kind, _, _, size, flags, align) in enumerate(self.sections):
            if size and "A" in flags and kind in ("PROGBITS", "NOBITS", "INIT_ARRAY", "FINI_ARRAY", "X86_64_UNWIND"):
                base += -base % max(align, 1)
                places[index] = base
                base += size
        return places


class Built:
    """The kernel, its module, and the dump in a folder of their own."""

    def __init__(self, env, kind):
        self.folder = env.temp(f"freebsd-{kind.name}")
        (self.folder / "boot").mkdir(parents=True)
        self.machine = kind(self.write)
        self.kernel, self.module, self.dump = self.folder / "boot/kernel", self.folder / "boot/crash.ko", self.folder / "vmcore"
        self.ram = {}
        self.slide = getattr(kind, "slide", 0)
        self.module_phys = getattr(kind, "module_phys", MODULE_PHYS)
        self.sign = "<" if self.machine.order == "little" else ">"
        self.compile(env)
        self.load()
        self.crash()
        self.save()

    def compile(self, env):
        m = self.machine
        clang = ["clang-19", "-target", f"{m.target}-unknown-freebsd15", "-g", "-O1", "-ffreestanding", "-fno-pic", *m.flags, "-c"]
        (self.folder / "kernel.S").write_text(functions(m, CODE, [*dict.fromkeys(m.entries.values()), "fork_trampoline"]))
        (self.folder / "module.S").write_text(functions(m, ["crash_modevent", "crash_write"]) + MODULE_DATA)
        (self.folder / "kernel.ld").write_text(SCRIPT % m.base)
        run(*clang, HERE / "freebsd_kernel.c", "-o", self.folder / "kernel.o")
        for name in ("kernel", "module"):
            run(*clang, self.folder / f"{name}.S", "-o", self.folder / f"{name}-code.o")
        defined = [f"--defsym={name}={value:#x}" for name, value in m.symbols.items()]
        how = ["-pie", "-z", "notext", "--no-dynamic-linker"] if self.slide else ["-static"]
        run("ld.lld", "-T", self.folder / "kernel.ld", *defined, *how, "-e", "0", "--build-id=sha1", self.folder / "kernel-code.o", self.folder / "kernel.o",
            "-o", self.kernel)
        if m.module is None:
            shutil.copy(self.folder / "module-code.o", self.module)
        else:
            run("ld.lld", *m.module, "--build-id=sha1", self.folder / "module-code.o", "-o", self.module)

    def phys(self, at):
        m = self.machine
        return self.module_phys + at - m.module_base if m.module_base <= at < m.module_base + 0x100000 else m.phys + at - m.base - self.slide

    def write(self, at, raw):
        for offset in range(len(raw)):
            address = self.phys(at + offset)
            self.ram.setdefault(address & -PAGE, bytearray(PAGE))[address % PAGE] = raw[offset]

    def page(self, raw):
        """A page for page tables."""
        at = 0x7000000 + PAGE * sum(0x7000000 <= place < 0x7100000 for place in self.ram)
        self.ram[at] = bytearray(raw)
        return at

    def at(self, name, offset=0):
        return self.elf.symbols[name][0] + self.slide * (self.elf.symbols[name][1] != "ABS") + offset

    def load(self):
        m = self.machine
        self.elf, self.ko = Elf(self.kernel, m.word), Elf(self.module, m.word)
        for address, raw in self.elf.image(self.slide):
            self.write(address, raw)
        for place, addend in self.elf.relocations:
            m.put(int(place, 16) + self.slide, int(addend, 16) + self.slide)
        self.places = self.ko.packed(m.module_base) if m.module is None else None
        for address, raw in self.ko.image(m.module_base, self.places):
            self.write(address, raw)

    def in_module(self, name):
        value, section = self.ko.symbols[name]
        if self.places is None:
            return self.machine.module_base + value
        return self.places[int(section) - (0 if self.ko.sections[0][1] == "NULL" else 1)] + value

    def crash(self):
        m = self.machine
        pc = lambda name: self.at(name, INSIDE)
        entry = lambda what: self.at(m.entries[what], INSIDE + m.moved)
        start = lambda index: m.start(top(index), self.at("fork_trampoline", INSIDE + m.moved))
        calls = lambda frame, *names: functools.reduce(m.call, map(pc, names), frame)
        top = lambda index: self.at("kstacks") + (index + 1) * 512 * m.word - 256
        swapper = calls(start(0), "fork_exit", "swapper", "sleepq_wait", "mi_switch", "sched_switch")
        init = calls(m.user(top(1), entry("syscall")), "syscall", "sys_wait6", "kern_wait6", "sleepq_wait", "mi_switch", "sched_switch")
        idle = calls(start(2), "fork_exit", "sched_idletd", "cpu_idle")
        idle = calls(m.trap(idle, entry("interrupt")), "trap", "cpustop_handler")
        crashed = m.call(calls(m.user(top(3), entry("syscall")), "syscall", "sys_ioctl"), self.in_module("crash_write") + INSIDE)
        crashed = calls(m.trap(crashed, entry("trap")), "trap", "trap_pfault", "vpanic", "doadump")
        stop = self.at("pcb_array") + 1024
        self.threads = {100000: (swapper, self.at("pcb_swapper")), 100002: (init, self.at("pcb_init")), 100004: (idle, stop),
                        100100: (crashed, self.at("dumppcb"))}
        for frame, pcb in self.threads.values():
            m.save(pcb, frame)
        m.put(self.at("setidt_disp"), m.moved)
        file = self.at("crash_file") + self.offset("linker_file", "address")
        m.put(file, m.module_base)
        m.put(file + m.word, MODULE_BYTES)

    def offset(self, _, member):
        raw = self.ram[self.phys(self.at("kld_off_" + member)) & -PAGE]
        return struct.unpack_from(self.sign + "I", raw, self.phys(self.at("kld_off_" + member)) % PAGE)[0]

    def save(self):
        m = self.machine
        size = self.phys(self.at("_end")) - m.phys + PAGE
        head, entries = m.tables((m.base, m.phys, size & -PAGE), (m.module_base, self.module_phys, MODULE_BYTES), self.page)
        pairs = getattr(m, "available", AVAILABLE)  # none: version 1, which has no such list
        frames, numbers = 0, {}
        for first, end in pairs or [(0, max(self.ram) + PAGE)]:
            numbers |= {at: frames + at // PAGE - first // PAGE for at in self.ram if first <= at < end}
            frames += (end - first) // PAGE
        bits = bytearray(-(-frames // 8 // PAGE) * PAGE)
        for number in numbers.values():
            bits[number // 8 ^ (7 if self.sign == ">" else 0)] |= 1 << number % 8
        version_at = 0x40 if m.elf == 21 else 0x18
        head = bytearray(head.ljust(PAGE, b"\0"))
        struct.pack_into(self.sign + "I", head, version_at + 8, len(bits))
        available = b"".join(struct.pack(self.sign + "QQ", *pair) for pair in pairs or [])
        pad = lambda raw: raw + bytes(-len(raw) % PAGE)
        stored = [bytes(self.ram[at]) for at in sorted(numbers, key=numbers.get)]
        self.dump.write_bytes(b"".join([bytes(head), bytes(PAGE), pad(available), pad(bytes(bits)), pad(entries), *stored]))

    def core(self, levels, guest):
        """All of memory: as the kernel dumps it (sys/kern/kern_dump.c), or QEMU while the machine runs."""
        m, saved = self.machine, {at: bytes(page) for at, page in self.ram.items()}
        size = self.phys(self.at("_end")) - m.phys + PAGE
        root = m.roots((m.base, m.phys, size & -PAGE), (m.module_base, self.module_phys, MODULE_BYTES), self.page, levels, self.at)
        notes = b""
        if guest:
            m.put(self.at("dumptid"), 0, 4)
            notes = m.notes([self.threads[100100][0], self.threads[100004][0]], root, levels)
        runs = []
        for at in sorted(self.ram):
            if runs and runs[-1][0] + runs[-1][1] == at:
                runs[-1][1] += PAGE
            else:
                runs.append([at, PAGE])
        told = m.name.startswith(("amd64", "arm64")) and not guest  # where the kernel lies
        count = len(runs) + guest + told
        bytes_of = {8: (64, 56), 4: (52, 32)}[m.word]
        offset = -(-(bytes_of[0] + bytes_of[1] * count + len(notes)) // PAGE) * PAGE
        word = {8: "Q", 4: "I"}[m.word]

        def program(kind, offset, virt, phys, length, align):
            flags = (4,)
            return struct.pack("<I" + "I" * (m.word == 8) + word * 5 + "I" * (m.word == 4) + word, kind, *(flags if m.word == 8 else ()), offset, virt, phys,
                               length, length, *(flags if m.word == 4 else ()), align)

        heads = [program(4, bytes_of[0] + bytes_of[1] * count, 0, 0, len(notes), 0)] if guest else []
        if told:
            heads = [program(0x6fb5d000, 0, m.symbols["kernbase"], m.phys - (m.base - m.symbols["kernbase"]), 0, 0x200000)]
        for at, length in runs:
            heads.append(program(1, offset, 0 if guest else at, at, length, PAGE))
            offset += length
        ident = b"\x7fELF" + bytes([m.word // 4, 1, 1 if guest else 0, 0 if guest else 255]) + bytes(8)
        head = ident + struct.pack("<HHI" + word * 3 + "IHHHHHH", 4, m.elf, 1 if guest else 0, 0, bytes_of[0], 0, 0, 8 if guest else bytes_of[0], bytes_of[1],
                                   count, 0 if guest else 64, 0, 0)
        front = head + b"".join(heads) + notes
        path = self.folder / f"core-{levels}-{guest}"
        path.write_bytes(front + bytes(-len(front) % PAGE) + b"".join(bytes(self.ram[at]) for at in sorted(self.ram)))
        self.ram = {at: bytearray(page) for at, page in saved.items()}
        return path

    def expected(self, tid):
        m = self.machine
        user = m.user_shown or m.user_pc
        # No symbol says what code is that was moved.
        entry = lambda name: self.at(name, INSIDE + m.moved) if m.moved else name
        syscall, first = entry(m.entries["syscall"]), entry("fork_trampoline")
        waits = ["sched_switch", "mi_switch", "sleepq_wait"]
        return {100000: [*waits, "swapper", "fork_exit", first],
                100002: [*waits, "kern_wait6", "sys_wait6", "syscall", syscall, user],
                100004: ["cpustop_handler", "trap", entry(m.entries["interrupt"]), "cpu_idle", "sched_idletd", "fork_exit", first],
                100100: ["doadump", "vpanic", "trap_pfault", "trap", entry(m.entries["trap"]), "crash_write", "sys_ioctl", "syscall", syscall, user]}[tid]


WALK = """def walk():
  f, rows = gdb.newest_frame(), []
  while f and len(rows) < 40:
    rows.append([f.name() or int(f.pc()), int(f.pc())])
    f = f.older()
  return rows
"""


def check_gdb(env, kind, dump=lambda built: built.dump, states=("(crashed", "(running on CPU 1")):
    if not all(map(shutil.which, ("gdb-multiarch", "clang-19", "ld.lld"))):
        raise Skip("needs gdb-multiarch, clang-19 and ld.lld")
    built = built_for(env, kind)
    m = built.machine
    ask = ["info threads", "print ((struct proc *) allproc.lh_first)->p_comm", "print &crash_data", "print *(int *) &crash_data",
           "python exec(" + repr("import json\n" + WALK) + ", globals())"]
    fixed = len(ask)
    for tid in built.threads:
        ask += [switch(tid), "python print(json.dumps(walk()))"]
    ask += [switch(100100), "frame function crash_write", f"print/x ${m.kept}"]
    window = m.direct is not None and dump(built) == built.dump
    if window:
        ask.insert(fixed, f"print *(int *) {m.direct + built.phys(built.in_module('crash_data')):#x}")
        fixed += 1
    answers, *said = run_gdb(env, ask, f"| exec {env.inquest} serve --stdio {dump(built)} {built.kernel}", program=built.kernel, gdb="gdb-multiarch",
                             options=["-iex", "set osabi none"])
    yield from differ("threads", len(re.findall(r"Thread 1\.", answers[0].output)), 6)
    yield from lacks("states", answers[0].output, *states)
    yield from lacks("a structure", answers[1].output, '"crasher')
    yield from lacks("a module's variable", answers[2].output, f"{built.in_module('crash_data'):#x}")
    yield from lacks("its value", answers[3].output, "= 4711")
    if window:
        yield from lacks("the same through the direct map", answers[fixed - 1].output, "= 4711")
    for tid, answer in zip(built.threads, answers[fixed + 1::2]):
        try:
            rows = json.loads(answer.both)
        except ValueError:
            yield f"thread {tid}: {answer.both} {said}"
            continue
        expected = built.expected(tid)
        yield from differ(f"frames of {tid}", [name for name, _ in rows][:len(expected)], expected)
        if "fork_exit" in expected:
            yield from differ(f"the end of {tid}", len(rows), len(expected))
    yield from lacks("a register at the trap", answers[-1].output, f"= {m.kept_value:#x}")


def check_ps(env, kind):
    if not all(map(shutil.which, ("clang-19", "ld.lld"))):
        raise Skip("needs clang-19 and ld.lld")
    built = built_for(env, kind)
    done = env.run("ps", "--json", built.dump, built.kernel)
    rows = {(row["pid"], row["tid"]): row for row in json.loads(done.stdout)}
    states = {key: row["state"] for key, row in rows.items()}
    yield from differ("states", states, {(0, 100000): "D", (1, 100002): "S", (11, 100003): "R", (11, 100004): "R", (800, 100100): "R", (900, 100101): "Z"})
    yield from differ("parents", {pid: row["ppid"] for (pid, _), row in rows.items()}, {0: 0, 1: 0, 11: 0, 800: 1, 900: 800})
    said = text(env.run("info", built.dump, built.kernel).stdout)
    yield from lacks("info", said, "FreeBSD", "15.1-RELEASE", "page fault")


def check_lldb(env, kind):
    """lldb has the kernel's names, and follows calls; through traps it follows frame pointers only."""
    if not all(map(shutil.which, ("lldb-19", "clang-19", "ld.lld"))):
        raise Skip("needs lldb-19, clang-19 and ld.lld")
    built = built_for(env, kind)
    said = text(env.run("lldb", built.dump, built.kernel, "--", "-b", "-o", "bt all").stdout)
    threads = re.split(r"^[ *] thread #\d+, name = ", said, flags=re.M)
    for tid, name in ((100000, "kernel/swapper"), (100002, "init")):
        traces = [re.findall(r"frame #\d+: \S+ kernel`(\w+)", thread) for thread in threads if thread.startswith(f"'{name}'")]
        expected = [frame for frame in built.expected(tid) if isinstance(frame, str)]
        yield from differ(f"frames of {name}", [trace[1:len(expected)] for trace in traces], [expected[1:]])


def built_for(env, kind):
    known = env.__dict__.setdefault("freebsd_kernels", {})
    if kind not in known:
        known[kind] = Built(env, kind)
    return known[kind]


def tests(env):
    for kind in MACHINES:
        yield f"{kind.name}/gdb", functools.partial(check_gdb, env, kind)
        yield f"{kind.name}/ps", functools.partial(check_ps, env, kind)
    for kind in (Amd64, Arm64Signed):
        yield f"{kind.name}/lldb", functools.partial(check_lldb, env, kind)
    for kind in MINIDUMPS:
        yield f"{kind.name}/gdb", functools.partial(check_gdb, env, kind)
        yield f"{kind.name}/ps", functools.partial(check_ps, env, kind)
    own = [(Amd64, 4), (Amd64, 5), (Arm64, 4)]
    for kind, levels in own + FULL:
        yield f"{kind.name}-full-{levels}/gdb", functools.partial(check_gdb, env, kind, lambda built, levels=levels: built.core(levels, False))
    for kind, levels in own + GUESTS:
        yield f"{kind.name}-guest-{levels}/gdb", functools.partial(check_gdb, env, kind, lambda built, levels=levels: built.core(levels, True),
                                                                   ("(running on CPU 0", "(running on CPU 1"))
