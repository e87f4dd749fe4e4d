"""What a crashed FreeBSD machine of each processor looks like: code, stacks, saved registers, page tables, the minidump.  Facts are from
FreeBSD's sys/MACHINE/{include/{pcb,frame,minidump,pte,vmparam}.h, MACHINE/{exception.S,swtch.S,minidump_machdep.c}}, and shared with nobody."""
import struct
from typing import NamedTuple

FILL = 0x1111  # interrupted code had this, and a register's number more, in each register


class Frame(NamedTuple):
    pc: int
    sp: int
    fp: int


def note(name, kind, body):
    return struct.pack("<III8s", len(name) + 1, len(body), kind, name) + bytes(body)


class Machine:
    """Functions keep a frame pointer, but Power's; `word` is of 8 bytes."""
    word, order, flags, module = 8, "little", [], ["-shared"]
    signed = 0           # added to a return address on a stack
    entries = {}         # what tests call an entry -> the label of the assembly's
    user_pc, user_sp = 0x201234, 0x7ffffffde000
    user_shown = None    # the pc of a user's frame, where another than user_pc
    phys = 0x6200000     # where the kernel lies
    moved = 0            # from where entry code was linked to where it runs
    direct = None        # where a minidump says that all of memory is

    def __init__(self, memory):
        self.memory = memory  # put(virtual address, bytes)

    def put(self, at, value, size=None):
        size = size or self.word
        self.memory(at, (value & (1 << 8 * size) - 1).to_bytes(size, self.order))

    def start(self, top, pc):
        return Frame(pc, top, 0)

    def user(self, top, pc):
        """A system call's entry code at a stack's top."""
        return self.entry(Frame(self.user_pc, self.user_sp, 0x7ffffffdf000), pc, top)

    def trap(self, frame, pc):
        return self.entry(frame, pc, None)

    def save(self, pcb, frame):
        for offset, value in self.pcb(frame).items():
            self.put(pcb + offset, value)


class Amd64(Machine):
    name, elf, target, base = "amd64", 62, "x86_64", 0xffffffff80200000
    flags, module = ["-mcmodel=kernel", "-mno-red-zone"], None  # relocatable
    module_base, symbols = 0xffffffff82400000, {"kernbase": 0xffffffff80000000}
    cfi = ".cfi_def_cfa %rbp, 16; .cfi_offset %rbp, -16; .cfi_offset %rip, -8"
    entries = {"trap": "calltrap", "interrupt": "nmi_calltrap", "syscall": "fast_syscall_common"}
    kept, kept_value = "rbx", FILL + 7  # tf_rbx is the eighth
    direct, direct_phys = 0xfffff80000000000, 0

    def call(self, frame, pc):
        self.put(frame.sp - 8, frame.pc)
        self.put(frame.sp - 16, frame.fp)
        return Frame(pc, frame.sp - 48, frame.sp - 16)

    def entry(self, frame, pc, top):
        at = ((frame.sp & ~15) if top is None else top) - 0xc0
        user = top is not None
        for number, offset in enumerate(range(0, 0x78, 8)):
            self.put(at + offset, FILL + number)
        for offset, value in ((0x40, frame.fp), (0x98, frame.pc), (0xa0, 0x43 if user else 0x20), (0xa8, 0x246), (0xb0, frame.sp),
                              (0xb8, 0x3b if user else 0x28)):
            self.put(at + offset, value)
        return Frame(pc, at, frame.fp)

    def pcb(self, frame):
        return {0x20: frame.fp, 0x28: frame.sp, 0x30: 0x77, 0x38: frame.pc}

    def tables(self, kernel, module, page):
        """Page directories from the beginning of kernel addresses on; `kernel` and `module` are (virtual, physical, bytes)."""
        first = 0xfffffe0000000000
        directories = bytearray(4096 * ((0xffffffff80000000 - first >> 30) + 1))
        table = bytearray(4096)
        virt, phys, size = kernel
        for offset in range(0, size, 4096):
            struct.pack_into("<Q", table, (virt + offset >> 12 & 511) * 8, phys + offset | 0x163)
        for address, entry in ((virt, page(bytes(table)) | 0x63), (module[0], module[1] & ~0x1fffff | 0x1e3)):  # a table; a page of 2 MB
            struct.pack_into("<Q", directories, (address - first >> 21) * 8, entry)
        head = struct.pack("<24sIIIIQQQI", b"minidump FreeBSD/amd64", 3, 4096, 0, len(directories), first, 0xfffff80000000000, 0xfffffc0000000000, 4096)
        return head, bytes(directories)


    def roots(self, kernel, module, page, levels, at):
        """The processor's own tables, and where their root lies: at a page of odd number."""
        table = lambda entries: b"".join(struct.pack("<Q", entries.get(number, 0)) for number in range(512))
        virt, phys, size = kernel
        small = page(table({virt + offset >> 12 & 511: phys + offset | 0x163 for offset in range(0, size, 4096)}))
        directory = page(table({virt >> 21 & 511: small | 0x63, module[0] >> 21 & 511: module[1] & ~0x1fffff | 0x1e3}))
        upper, direct = page(table({510: directory | 0x63})), page(table({0: 0x1e3}))
        root = table({511: upper | 0x63, 0xfffff80000000000 >> 39 & 511: direct | 0x63})
        for _ in range(levels - 4):
            root = table({511: page(root) | 0x63})
        place = page(root)
        place = place if place & 0x1000 else page(root)
        self.put(at(f"KPML{levels}phys"), place)
        return place

    def notes(self, frames, root, levels):
        """What QEMU says of its CPUs: for each a prstatus, and a note of QEMU's own with control registers."""
        raw = b""
        for number, frame in enumerate(frames):
            status, own = bytearray(336), bytearray(440)
            for offset, value in ((32, number + 1), (144, frame.fp), (240, frame.pc), (264, frame.sp)):
                struct.pack_into("<Q", status, offset, value)
            struct.pack_into("<II", own, 0, 1, 440)
            for offset, value in ((56, frame.sp), (64, frame.fp), (136, frame.pc), (392, 0x80050033), (416, root), (424, 0x6f0 | (levels == 5) << 12)):
                struct.pack_into("<Q", own, offset, value)
            raw += note(b"CORE", 1, status)
            raw_own = note(b"QEMU", 0, own)
            frames_own = raw_own if number == 0 else frames_own + raw_own
        return raw + frames_own


class Arm64(Machine):
    name, elf, target, base = "arm64", 183, "aarch64", 0xffff000000000000
    flags, module_base = ["-mgeneral-regs-only", "-ffixed-x18"], 0xffff000001000000
    symbols = {"kernbase": 0xffff000000000000, "text_start": 0xffff000000000000}
    cfi = ".cfi_def_cfa x29, 16; .cfi_offset x29, -16; .cfi_offset x30, -8"
    entries = {"trap": "handle_el1h_sync", "interrupt": "handle_el1h_irq", "syscall": "handle_el0_sync"}
    kept, kept_value = "x19", FILL + 19
    direct, direct_phys = 0xffffa00000000000, 0

    def call(self, frame, pc):
        at = frame.sp - 16
        self.put(at, frame.fp)
        self.put(at + 8, frame.pc + self.signed if frame.pc >> 48 else frame.pc)
        return Frame(pc, at - 32, at)

    def entry(self, frame, pc, top):
        at = (frame.sp - 128 if top is None else top) - 0x120
        for offset, value in ((0, frame.sp), (8, 0x5555), (16, frame.pc), (24, 0x3c5), (32, 0x96000045), (40, 0)):
            self.put(at + offset, value)
        for number in range(30):
            self.put(at + 0x30 + 8 * number, frame.fp if number == 29 else FILL + number)
        return Frame(pc, at, at + 0x120)

    def pcb(self, frame):
        return {0x00: 0x77, 0x50: frame.fp, 0x58: frame.pc, 0x60: frame.sp}

    def leaf(self, phys):
        return phys | 0x0060000000000783  # AF, inner shareable, page

    def roots(self, kernel, module, page, levels, at):
        table = lambda entries: b"".join(struct.pack("<Q", entries.get(number, 0)) for number in range(512))
        virt, phys, size = kernel
        small = page(table({virt + offset >> 12 & 511: self.leaf(phys + offset) for offset in range(0, size, 4096)}))
        upper = page(table({0: page(table({virt >> 21 & 511: small | 3, module[0] >> 21 & 511: module[1] | 0x781})) | 3}))
        self.put(at("pagetable_l0_ttbr1"), upper | 3)
        return 0

    def notes(self, frames, root, levels):
        raw = b""
        for number, frame in enumerate(frames):
            status = bytearray(392)
            for offset, value in ((32, number + 1), (112 + 29 * 8, frame.fp), (112 + 31 * 8, frame.sp), (112 + 32 * 8, frame.pc)):
                struct.pack_into("<Q", status, offset, value)
            raw += note(b"CORE", 1, status)
        return raw

    def tables(self, kernel, module, page):
        first = self.base
        entries = bytearray(8 * ((module[0] + module[2] - first) // 4096))
        for virt, phys, size in (kernel, module):
            for offset in range(0, size, 4096):
                struct.pack_into("<Q", entries, (virt + offset - first) // 4096 * 8, self.leaf(phys + offset))
        return self.head(first, len(entries)), bytes(entries)

    def head(self, first, size):
        return struct.pack("<24sIIIIQQQQII", b"minidump FreeBSD/arm64", 3, 4096, 0, size, first, self.direct_phys, self.direct, self.direct + 0x10000000,
                           4096, 0)


class Arm64Signed(Arm64):
    """Return addresses are signed (sys/arm64/arm64/ptrauth.c): code is built with -mbranch-protection=standard."""
    name = "arm64-signed"
    cfi = Arm64.cfi + "; .cfi_negate_ra_state"
    signed = (0x12bd - 0xffff) << 48


class Riscv64(Arm64):
    name, elf, target, base = "riscv64", 243, "riscv64", 0xffffffc000000000
    flags, module_base = ["-mcmodel=medany", "-mno-relax", "-march=rv64imac", "-mabi=lp64"], 0xffffffc001000000
    symbols = {"kernbase": 0xffffffc000000000}
    cfi = ".cfi_def_cfa s0, 0; .cfi_offset ra, -8; .cfi_offset s0, -16"
    entries = {"trap": "cpu_exception_handler_supervisor", "interrupt": "cpu_exception_handler_supervisor",
               "syscall": "cpu_exception_handler_user"}
    kept, kept_value = "s1", FILL + 12
    direct = 0xffffffd000000000

    def call(self, frame, pc):
        self.put(frame.sp - 8, frame.pc)
        self.put(frame.sp - 16, frame.fp)
        return Frame(pc, frame.sp - 48, frame.sp)

    def entry(self, frame, pc, top):
        at = (frame.sp if top is None else top) - 0x120  # 35 words, aligned
        for number in range(31):
            self.put(at + 8 * number, FILL + number)
        for offset, value in ((0x08, frame.sp), (0x58, frame.fp), (0xf8, frame.pc), (0x100, 0x100 if top is None else 0), (0x108, 0), (0x110, 13)):
            self.put(at + offset, value)
        return Frame(pc, at, frame.fp)

    def pcb(self, frame):
        return {0x00: frame.pc, 0x08: frame.sp, 0x20: frame.fp, 0x28: 0x77}

    def leaf(self, phys):
        return phys >> 12 << 10 | 0xcf

    def head(self, first, size):
        return struct.pack("<24sIIIIQQQQI", b"minidump FreeBSD/riscv", 2, 4096, 0, size, first, self.direct_phys, self.direct, self.direct + 0x10000000, 4096)


class I386(Arm64):
    name, elf, target, base, word = "i386", 3, "i386", 0x00800000, 4
    flags, module_base, symbols = [], 0x01700000, {"kernbase": 0}
    moved = 0xffc00000 - 0x00800000  # into the trampoline (PMAP_TRM_MIN_ADDRESS, sys/i386/include/pmap.h)
    cfi = ".cfi_def_cfa %ebp, 8; .cfi_offset %ebp, -8; .cfi_offset %eip, -4"
    entries = {"trap": "calltrap", "interrupt": "calltrap", "syscall": "Xint0x80_syscall"}
    kept, kept_value = "ebx", FILL + 7
    user_pc, user_sp, user_shown = 0x201234, 0xffbfe000, 0xffffffff  # its addresses are kernel's, too: gdb gets none
    direct = None

    def user(self, top, pc):
        return self.entry(Frame(self.user_pc, self.user_sp, 0xffbfe100), pc, top)

    def call(self, frame, pc):
        self.put(frame.sp - 4, frame.pc)
        self.put(frame.sp - 8, frame.fp)
        return Frame(pc, frame.sp - 40, frame.sp - 8)

    def entry(self, frame, pc, top):
        # From the kernel the processor pushes neither stack pointer nor its segment.  Then the frame's address is pushed for trap().
        at = frame.sp - 0x40 if top is None else top - 0x48
        for number, offset in enumerate(range(0, 0x34, 4)):
            self.put(at + offset, FILL + number)
        for offset, value in ((0x14, frame.fp), (0x34, frame.pc), (0x38, 0x20 if top is None else 0x33), (0x3c, 0x246)):
            self.put(at + offset, value)
        if top is not None:
            self.put(at + 0x40, frame.sp)
            self.put(at + 0x44, 0x3b)
        self.put(at - 4, at)
        return Frame(pc, at - 4, frame.fp)

    def pcb(self, frame):
        return {0x08: frame.fp, 0x0c: frame.sp, 0x10: 0x77, 0x14: frame.pc}

    def leaf(self, phys):
        return phys | 0x163

    def tables(self, kernel, module, page):
        entries = bytearray(8 * ((module[0] + module[2]) // 4096))
        for virt, phys, size in (kernel, module):
            for offset in range(0, size, 4096):
                struct.pack_into("<Q", entries, (virt + offset) // 4096 * 8, self.leaf(phys + offset))
        return struct.pack("<24sIIIIIII", b"minidump FreeBSD/i386", 2, 4096, 0, len(entries), 0, 1, 4096), bytes(entries)


class Power(Machine):
    """powerpc64le, radix.  The kernel is linked at 1 MB and runs in the direct map."""
    name, elf, target, base, slide = "powerpc64le", 21, "powerpc64le", 0x100000, 0xc000000000000000
    flags, module_base, symbols = ["-mabi=elfv2", "-fpie"], 0xe000000000010000, {}
    cfi = ".cfi_def_cfa %r1, 64; .cfi_offset lr, 16"
    entries = {"trap": "trapagain", "interrupt": "trapagain", "syscall": "trapagain"}
    kept, kept_value = "r14", FILL + 14
    direct = slide
    user_pc, user_sp, user_shown = 0x10001234, 0x3fffffffe000, 2 ** 64 - 1  # as on i386
    phys = base

    def call(self, frame, pc):
        self.put(frame.sp + 16, frame.pc)
        self.put(frame.sp - 64, frame.sp)
        return Frame(pc, frame.sp - 64, 0)

    def entry(self, frame, pc, top):
        at = (frame.sp if top is None else top) - 0x160
        self.put(at, frame.sp)
        for number in range(32):
            self.put(at + 48 + 8 * number, frame.sp if number == 1 else FILL + number)
        for offset, value in ((0x100, 0x5555), (0x120, frame.pc), (0x128, 0x8000000000009033 if top is None else 0x800000000000d033)):
            self.put(at + 48 + offset, value)
        return Frame(pc, at, 0)

    def pcb(self, frame):
        return {0x10: 0x77, 0xa8: frame.sp, 0xb8: frame.pc}

    def tables(self, kernel, module, page):
        virt, phys, size = module
        entries = bytearray(4096)
        for offset in range(0, size, 4096):
            struct.pack_into(">Q", entries, (virt + offset >> 12 & 511) * 8, 0xc000000000000187 | phys + offset)
        for shift in (21, 30):
            table = bytearray(4096)
            struct.pack_into(">Q", table, (virt >> shift & 511) * 8, 0x8000000000000009 | page(bytes(entries)))
            entries = table
        root = bytearray(65536)
        struct.pack_into(">Q", root, (virt >> 39 & 8191) * 8, 0x8000000000000009 | page(bytes(entries)))
        head = struct.pack("<32s32sIIIIQQQQiIQQI", b"minidump FreeBSD/powerpc64", b"mmu_radix", 2, 4096, 0, len(root), 0xe000000000000000, 0xe0000000c7ffffff,
                           0xc000000000000000, 0xcfffffffffffffff, 1, 0, self.slide + 0x100100, self.slide + 0x100100 + kernel[2], 4096)
        return head, bytes(root)


MACHINES = [Amd64, Arm64, Arm64Signed, Riscv64, I386, Power]
