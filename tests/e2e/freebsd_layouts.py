"""More of FreeBSD's machines (freebsd_machines.py): kernels of theirs that have other page tables.  Facts are from sys/riscv/{include/{pmap,
pte}.h,riscv/pmap.c}, sys/i386/i386/{pmap.c,minidump_machdep_base.c}, sys/powerpc/aim/{moea64_native.c,mmu_oea64.c}, and the Power ISA (2.07B,
book III-S, 5.7.7), and shared with nobody."""
import struct

from freebsd_machines import I386, Amd64, Power, Riscv64, note


def table(entries, size=8, count=512, order="<"):
    return b"".join(struct.pack(order + {4: "I", 8: "Q"}[size], entries.get(number, 0)) for number in range(count))


class Riscv64Tables(Riscv64):
    """The processor's own tables: of three levels, or of four.  pm_satp is behind a mutex, two counters and a pointer."""
    name = "riscv64-tables"

    def roots(self, kernel, module, page, levels, at):
        virt, phys, size = kernel
        directory = lambda place: place >> 12 << 10 | 1
        small = page(table({virt + offset >> 12 & 511: self.leaf(phys + offset) for offset in range(0, size, 4096)}))
        middle = page(table({virt >> 21 & 511: directory(small), module[0] >> 21 & 511: self.leaf(module[1])}))
        root = page(table({virt >> 30 & 511: directory(middle), virt >> 30 & 511 | 0x40: self.leaf(0)}))
        if levels == 4:
            root = page(table({511: directory(root)}))
        self.put(at("kernel_pmap_store") + 56, levels + 5 << 60 | root >> 12)
        return root

    def notes(self, frames, root, levels):
        """riscv64_elf_prstatus of QEMU's target/riscv/arch_dump.c: pc, x1 to x31."""
        raw = b""
        for number, frame in enumerate(frames):
            status = bytearray(376)
            for offset, value in ((32, number + 1), (112, frame.pc), (112 + 2 * 8, frame.sp), (112 + 8 * 8, frame.fp)):
                struct.pack_into("<Q", status, offset, value)
            raw += note(b"CORE", 1, status)
        return raw


class Riscv64Old(Riscv64):
    """Before 14.0: version 1, whose bitmap begins at physical address 0."""
    name = "riscv64-v1"
    available = None

    def head(self, first, size):
        return super().head(first, size).replace(struct.pack("<I", 2), struct.pack("<I", 1), 1)


class I386Tables(I386):
    """All is where its address says, as since 12.0.  Both kinds of kernels have both kinds' variables; the others' are 0."""
    name, phys, module_base = "i386-pae", I386.base, 0x01800000

    def roots(self, kernel, module, page, levels, at):
        virt, phys, size = kernel
        small = page(table({virt + offset >> 12 & 511: self.leaf(phys + offset) for offset in range(0, size, 4096)}))
        directory = page(table({virt >> 21 & 511: small | 0x63, module[0] >> 21 & 511: module[1] & ~0x1fffff | 0x1e3}))
        self.put(at("IdlePDPT"), page(table({0: directory | 1})))
        self.put(at("IdlePTD_pae"), directory)
        return 0


class I386Small(I386Tables):
    """Without PAE: entries of four bytes, large pages of 4 MB."""
    name = "i386-nopae"

    def tables(self, kernel, module, page):
        entries = bytearray(4 * ((module[0] + module[2]) // 4096))
        for virt, phys, size in (kernel, module):
            for offset in range(0, size, 4096):
                struct.pack_into("<I", entries, (virt + offset) // 4096 * 4, self.leaf(phys + offset))
        return struct.pack("<24sIIIIIII", b"minidump FreeBSD/i386", 2, 4096, 0, len(entries), 0, 0, 4096), bytes(entries)

    def roots(self, kernel, module, page, levels, at):
        virt, phys, size = kernel
        small = page(table({virt + offset >> 12 & 1023: self.leaf(phys + offset) for offset in range(0, size, 4096)}, 4, 1024))
        root = page(table({virt >> 22: small | 0x63, module[0] >> 22: module[1] & ~0x3fffff | 0x1e3}, 4, 1024))
        self.put(at("IdlePTD_nopae"), root)
        return 0


class PowerHashed(Power):
    """A hashed page table, as an LPAR has it: big-endian whatever the kernel's order is."""
    name = "powerpc64le-hpt"
    groups = 256

    def segment(self, address):
        number = address >> 28
        return (number << 8 | number >> 28) * 0x13bb & (1 << 36) - 1 | 1 << 36

    def tables(self, kernel, module, page):
        groups = [[] for _ in range(self.groups)]
        virt, phys, size = module
        for offset in range(0, size, 4096):
            segment, number = self.segment(virt + offset), (virt + offset & 0xfffffff) >> 12
            value = segment & (1 << 39) - 1 ^ number
            second = offset // 4096 % 3 == 0  # as if the first group had been full
            group = groups[(~value if second else value) % self.groups]
            group.append((segment << 12 | number >> 11 << 7 | second << 1 | 1, phys + offset | 0x190 | 2))
        entries = b"".join(struct.pack(">QQ", *pair) for group in groups for pair in (group + [(0, 0)] * 8)[:8])
        return self.head(b"mmu_phyp", len(entries), kernel), entries

    def head(self, mmu, size, kernel):
        order = {"little": "<", "big": ">"}[self.order]
        return struct.pack(order + "32s32sIIIIQQQQiIQQI", b"minidump FreeBSD/powerpc64", mmu, 2, 4096, 0, size, 0xe000000000000000, 0xe0000000c7ffffff,
                           0xc000000000000000, 0xcfffffffffffffff, 1, 0, self.slide + 0x100100, self.slide + 0x100100 + kernel[2], 4096)


class PowerBig(PowerHashed):
    """powerpc64: all but the names is big-endian, the words of the bitmap, too."""
    name, target, order = "powerpc64-hpt", "powerpc64", "big"


class Amd64Large(Amd64):
    """Memory on both sides of the hole below 4 GB."""
    name = "amd64-5g"
    available = [(0x1000, 0x9f000), (0x100000, 0x7fe0000), (0x8000000, 0xc0000000), (0x100000000, 0x180000000)]
    module_phys = 0x178000000


class Amd64High(Amd64):
    """With LA57: the kernel is where it always is, its window on all of memory is not (sys/amd64/include/vmparam.h)."""
    name, direct = "amd64-la57", 0xff01000000000000
    windows = struct.pack("<QQ", 0xfffff80000000000, 0xfffffc0000000000), struct.pack("<QQ", direct, 0xff21000000000000)

    def tables(self, kernel, module, page):
        head, entries = super().tables(kernel, module, page)
        return head.replace(*self.windows), entries


MINIDUMPS = [Riscv64Old, I386Small, PowerHashed, PowerBig, Amd64Large, Amd64High]
FULL = [(Riscv64Tables, 3), (Riscv64Tables, 4), (I386Tables, 3), (I386Small, 2)]
GUESTS = [(Riscv64Tables, 3), (Riscv64Tables, 4)]
