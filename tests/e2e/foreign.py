"""Dumps of other processors: what the guests said of themselves, gdb-multiarch's backtraces, and the other readers of such files."""
import collections
import functools
import re
import shutil
import struct
import subprocess
from pathlib import Path

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
         "s390x": ["__do_syscall", "system_call"],
         "armhf": [],  # its frame has no name in gdb: check_user goes through it
         "riscv64": ["do_trap_ecall_u", "handle_exception"]}
TO_USER = ["arm64", "armhf", "riscv64"]  # backtraces go through the entry code
# What drgn 0.0.22 and libkdumpfile 0.5 read.  Of ppc64's tables libkdumpfile knows only hash's before 4.6, which no kernel here has;
# drgn knows radix.
PEERS = {"arm64-6.1/qemu/vmcoreinfo.elf": "drgn kdumpfile", "i386-6.1/non-pae/vmcoreinfo.elf": "kdumpfile",
         "i386-6.1-pae/pae/vmcoreinfo.elf": "kdumpfile", "s390x-6.1/nonote-s390/nonote.elf": "drgn kdumpfile",
         "ppc64el-6.1/nonote-radix/nonote.elf": "drgn"}
# What a kernel's own dump says that QEMU's does not: byte order, e_machine and the virtual address of the linear map.
KERNELS = {"s390x": (">", 22, 0), "ppc64el": ("<", 21, 0xc000000000000000)}
# Through lldb too: without a vmlinux or with it.
LLDB = {crash: {"lldb": False, "lldb-alone": True} for crash in ("arm64-6.1/qemu", "arm64-6.12/qemu")}


# s390's gdb knows which registers a call keeps only where the system is GNU/Linux, and we say "none".  A function that does not save r11
# hides it from a caller whose frame the vmlinux finds by it (Debian's has one such function): gdb fails in the middle of vfork()'s
# backtrace, and `thread apply all` stops there.  Our own frames go by r15, but gdb asks the vmlinux first: CODE below is without its.
LOOP = """for thread in gdb.selected_inferior().threads():
  thread.switch()
  print(f'Thread {thread.num} (Thread {thread.ptid[0]}.{thread.ptid[1]} "{thread.name}"):')
  try:
    gdb.execute('bt')
  except gdb.error as error:
    print(error)"""
EACH_BT = f"python exec({LOOP!r})"
HIDDEN = {"s390x": b"vfork-parent"}


# Kernels without BTF, of which no image can be made: the frames that follow from their code are what gdb gets beside the vmlinux.
CODE = ["ppc64el", "s390x"]


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


def check_user(crash, session):
    """Backtraces of tasks that have not run any more end where the task called the kernel; those of kernel threads at their start."""
    before, after, traces = crash.stat_lines("stat"), crash.stat_lines("stat2"), session.traces()
    count = 0
    for tid, lines in crash.per_task("syscall").items():
        words = lines[0].split() if lines else []  # number, arguments, sp, pc; or running
        if len(words) < 3 or after.get(tid) != before.get(tid) or crash.stat("stat2")[tid].state in "RZX":
            continue
        count += 1
        pc = int(words[-1], 16)
        # Behind user code, which it cannot read, gdb takes lr for one more caller.
        ends = traces.get(tid, [])[-2:]
        if (pc and pc not in [address for address, _ in ends]) or (not pc and (not ends or ends[-1][1] != "ret_from_fork")):
            yield f"task {tid} ends at {ends} instead of {pc and hex(pc)}"
    if count < 60:
        yield f"only {count} tasks sleep for certain: the check is worth little"


def check_sleeping(crash, session):
    hidden = [tid for tid, task in crash.stat().items() if task.name == HIDDEN.get(architecture(crash))]
    for problem in bt.check_sleeping(crash, session):
        if not any(problem.startswith(f"task {tid}:") for tid in hidden):
            yield problem


def check_modules(crash, session):
    """Each module's functions are where /proc/kallsyms says, in gdb too.  (&FUNCTION is what debug information says, which on
    some machines is behind the entry's room for tracing.)"""
    shown = re.findall(r"^(\S+) in section", session.output("functions"), re.M)
    yield from differ("functions", shown, [name for _, _, name, _ in functions(crash)])
    if not shown:
        yield "no module has a function that the kernel names: the check is worth nothing"


def qemu_registers(crash):
    """Each CPU's general registers by gdb's names, as `info registers -a` prints them."""
    for cpu in re.split("^CPU#", crash.truth("registers").decode(), flags=re.M)[1:]:
        if architecture(crash) == "s390x":
            words = {f"r{int(number)}": value for number, value in re.findall(r"\bR(\d\d)=([0-9a-f]{16})", cpu)}
            words |= dict(zip(("pswm", "pswa"), re.search(r"PSW=mask (\S+) addr (\S+)", cpu).groups()))
        else:
            rows = re.findall(r"^GPR(\d\d) (.*)$", cpu, re.M)
            words = {f"r{int(first) + i}": value for first, row in rows for i, value in enumerate(row.split())}
            words |= {name: re.search(rf"\b{said} +([0-9a-f]{{16}})", cpu)[1] for name, said in (("pc", "NIP"), ("lr", "LR"), ("ctr", "CTR"), ("msr", "MSR"))}
        if words.get("r15"):
            yield {name: int(value, 16) for name, value in words.items()}


def check_registers(crash, session):
    """The panicking CPU's, as QEMU has them."""
    shown = {name: int(value, 16) for name, value in re.findall(r"^ *(\w+) +(?:= )?(0x[0-9a-f]+)", session.output("registers"), re.M)}
    pc = "pswa" if architecture(crash) == "s390x" else "pc"
    cpu = next((words for words in qemu_registers(crash) if words[pc] == shown.get(pc)), None)
    if not cpu:
        yield f"no CPU of QEMU's is at {shown.get(pc)}"
        return
    for name, value in cpu.items():
        yield from differ(name, shown.get(name), value)


def functions(crash):
    """A few functions of modules, whose names and places nothing else has ($x and .L0 are marks and labels)."""
    rows = [row for row in crash.kallsyms() if not row[2].startswith(("$", ".L"))]
    count = collections.Counter([row[2] for row in rows] + [row[0] for row in rows])
    found = [row for row in rows if row[3] and row[1] in "tT" and count[row[2]] == count[row[0]] == 1 and row[2].isidentifier()]
    return found[::max(1, len(found) // 20)]


def without_frames(env, crash):
    """The vmlinux without its call-frame information, so that gdb has ours alone."""
    copy = Path(env.work.name) / f"no-frames-{crash.kernel}"
    if not copy.exists():
        subprocess.run(["llvm-objcopy-19", "--remove-section=.debug_frame", str(crash.vmlinux), str(copy)], check=True)
    return copy


def check_code_unwind(env, crash, session, cache):
    session.output("bt")
    made = list((cache / "inquest" / "images").glob("*.unwind"))
    yield from differ("files", len(made), 1)
    program = Path(__file__).resolve().parent.parent / "corpus_checks" / "code_unwind.py"
    compared = subprocess.run([str(program), str(made[0]), str(crash.vmlinux), env.json("info", crash.dump())["slide"]], capture_output=True, text=True)
    if compared.returncode:
        yield f"{compared.stdout.splitlines()[-1:]} {compared.stdout.splitlines()[:2]} {compared.stderr[-200:]}"


def code_tests(env, crash):
    cache = Path(env.work.name) / f"cache-{crash.id.replace('/', '-')}"
    session = GdbSession(env, crash.dump(), variables={"XDG_CACHE_HOME": str(cache)}, program=without_frames(env, crash))
    # Behind the pc -1 of interrupted user code gdb 13 looks for one more frame on s390, and fails.
    session.want("bt", EACH_BT if architecture(crash) == "s390x" else "thread apply all bt")
    for name, check in {"sleeping": bt.check_sleeping, "everyone": bt.check_all_there, "panic": check_panic}.items():
        yield f"{crash.id}/code/{name}", functools.partial(check, crash, session)
    yield f"{crash.id}/code/unwind", functools.partial(check_code_unwind, env, crash, session, cache)


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


def as_kernels_own(env, dump):
    """A file as the kernel itself would write it: in its byte order, with the VMCOREINFO note that lies in RAM where sysfs said."""
    order, machine, linear = KERNELS[architecture(dump.crash)]
    note_at, note_size = (int(word, 16) for word in dump.crash.truth("vmcoreinfo").split())
    copy = env.temp("own.elf")
    with dump.path.open("rb") as file, copy.open("wb") as out:
        header = file.read(64)
        words = ">" if header[5] == 2 else "<"
        offset, count = struct.unpack_from(words + "Q", header, 32)[0], struct.unpack_from(words + "H", header, 56)[0]
        file.seek(offset)
        ram = next(s for s in (struct.unpack(words + "IIQQQQQQ", file.read(56)) for _ in range(count)) if s[0] == 1)
        file.seek(ram[2] + note_at - ram[4])
        note = file.read(note_size)
        name, desc = struct.unpack_from(order + "II", note)
        note = note[:12 + (name + 3 & ~3) + (desc + 3 & ~3)]
        start, size = 0x10000, ram[5]
        ident = b"\x7fELF" + bytes([2, 2 if order == ">" else 1, 1]) + bytes(9)
        out.write(ident + struct.pack(order + "HHIQQQIHHHHHH", 4, machine, 1, 0, 64, 0, 0, 64, 56, 2, 64, 0, 0))
        out.write(struct.pack(order + "IIQQQQQQ", 4, 0, 64 + 2 * 56, 0, 0, len(note), len(note), 0))
        out.write(struct.pack(order + "IIQQQQQQ", 1, 7, start, linear + ram[4], ram[4], size, size, 0))
        out.write(note)
        file.seek(ram[2])
        out.seek(start)
        shutil.copyfileobj(file, out, 1 << 20)
        out.truncate(start + size)
    return Dump(dump.crash, copy)


def check_drgn(env, dump):
    copy = (as_kernels_own if architecture(dump.crash) in KERNELS else as_proc_vmcore)(env, dump)
    yield from peers.check_drgn(env, copy, ["init_task", "linux_banner", "init_uts_ns", "saved_command_line"])


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
        session.want("registers", "info registers")
        session.want("bt", EACH_BT if architecture(crash) == "s390x" else "thread apply all bt")
        session.want("functions", "python " + "; ".join(f"gdb.execute('info symbol {address:#x}')" for address, *_ in functions(crash)))
        backtraces = {"sleeping": check_sleeping, "everyone": bt.check_all_there, "panic": check_panic}
        if crash.dump().name == "raw.img":  # memory alone: what the CPUs had in their registers is not in it
            del backtraces["panic"]
        if architecture(crash) == "armhf":
            del backtraces["sleeping"]  # /proc/PID/stack tells of nobody but the reader
        checks = {**backtraces, "modules": check_modules}
        if architecture(crash) in TO_USER:
            checks["user"] = check_user
        if architecture(crash) in KERNELS:
            checks["registers"] = check_registers
        for name, check in checks.items():
            yield f"{crash.id}/{name}", functools.partial(check, crash, session)
        if architecture(crash) in CODE:
            yield from code_tests(env, crash)
        for how, alone in LLDB.get(crash.id, {}).items():
            session = PluginSession(env, crash.dump(), alone)
            session.want("frames", "@frames")
            for name, check in backtraces.items():
                yield f"{crash.id}/{how}/{name}", functools.partial(check, crash, session)
