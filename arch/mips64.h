// 64-bit MIPS, in the byte order of either row (mips64.cc, mips64el.cc).  Odd here: the processor knows no tables, only a TLB that
// the kernel fills, so the tables are Linux's own; the image and all memory lie in windows that need none; a table's entry is the
// virtual address of the next table, an empty one leads to a table of empty entries; and the kernel's configuration decides how
// many software bits a page's entry has below its frame.
// MIPS64 Architecture For Programmers, volume III, 4.3 "Virtual Address Spaces"; Linux's arch/mips/include/asm/pgtable-bits.h.
#pragma once

#include "arch/arch.h"

namespace kvm::arch::mips {

// A pointer lies in a segment of the kernel (bit 63).  What has neither that nor HUGE leads nowhere; HUGE needs P.
constexpr Rule no_pointer{{1ull << 63, 0}};

// Two layouts, from bit 0 up, both followed by G V D C:3 and the frame:
//   where the processor forbids reading and execution (RIXI):  P W A M HUGE SPECIAL XI RI
//   elsewhere:                                                 P NO_READ W A M HUGE SPECIAL
// So since v4.20; release 2 kernels before had the first with other names for SPECIAL and RI, older processors' the second.
struct Rixi {
  static constexpr std::uint64_t write = 0x2, huge = 0x10, no_execute = 0x40, global = 0x100;
  static constexpr unsigned frame_at = 14;
};
struct Plain {
  static constexpr std::uint64_t write = 0x4, huge = 0x20, no_execute = 0, global = 0x80;
  static constexpr unsigned frame_at = 13;
};

constexpr Match present{0x1, 0x1};
template <class Bits>
constexpr Match no_huge{Bits::huge, 0};
template <class Bits>
constexpr Rule no_pointer_or_page{{1ull << 63 | Bits::huge, 0}, {Bits::huge | 0x1, Bits::huge}};

template <class Bits>
constexpr Level l4k_40[] = {{30, 10, always, always, false, nullptr, no_pointer}, {21, 9, always, no_huge<Bits>, false, nullptr, no_pointer_or_page<Bits>}, {12, 9, present, never}};
template <class Bits>
constexpr Level l4k_48[] = {{39, 9, always, always, false, nullptr, no_pointer}, {30, 9, always, always, false, nullptr, no_pointer},
                            {21, 9, always, no_huge<Bits>, false, nullptr, no_pointer_or_page<Bits>}, {12, 9, present, never}};
template <class Bits>
constexpr Level l16k_47[] = {{36, 11, always, always, false, nullptr, no_pointer}, {25, 11, always, no_huge<Bits>, false, nullptr, no_pointer_or_page<Bits>}, {14, 11, present, never}};
template <class Bits>
constexpr Level l64k_42[] = {{29, 13, always, no_huge<Bits>, false, nullptr, no_pointer_or_page<Bits>}, {16, 13, present, never}};

// The compatibility segments' physical addresses are bits 28:0, those of XKPHYS at most bits 47:0 (addrspace.h).
constexpr std::uint64_t unmapped(std::uint64_t virt) { return virt >> 32 == 0xffff'ffff ? virt & 0x1fff'ffff : virt & 0x0000'ffff'ffff'ffff; }

template <class Bits, unsigned page_shift>
std::uint64_t frame(std::uint64_t entry, const Level& level) {
  const bool page = level.shift == page_shift || (entry & Bits::huge);
  return page ? entry >> (Bits::frame_at + page_shift - 12) << page_shift : unmapped(entry) & ~((1ull << page_shift) - 1);
}

template <class Bits>
constexpr Rights rights{{{Bits::write, Bits::write}}, {{Bits::no_execute, 0}}, {{Bits::global, 0}}};

// XKPHYS, once for each of the eight ways to cache, and the compatibility segments CKSEG0 and CKSEG1.
constexpr Window windows[] = {
    {0x8000'0000'0000'0000, 0x8000'ffff'ffff'ffff, 0}, {0x8800'0000'0000'0000, 0x8800'ffff'ffff'ffff, 0},
    {0x9000'0000'0000'0000, 0x9000'ffff'ffff'ffff, 0}, {0x9800'0000'0000'0000, 0x9800'ffff'ffff'ffff, 0},
    {0xa000'0000'0000'0000, 0xa000'ffff'ffff'ffff, 0}, {0xa800'0000'0000'0000, 0xa800'ffff'ffff'ffff, 0},
    {0xb000'0000'0000'0000, 0xb000'ffff'ffff'ffff, 0}, {0xb800'0000'0000'0000, 0xb800'ffff'ffff'ffff, 0},
    {0xffff'ffff'8000'0000, 0xffff'ffff'9fff'ffff, 0}, {0xffff'ffff'a000'0000, 0xffff'ffff'bfff'ffff, 0},
};
// XUSEG; XKSEG with vmalloc's area; CKSSEG and CKSEG3 with modules and fixed mappings, which the same tables serve.
template <unsigned bits>
constexpr Reach reach[] = {{0, (1ull << bits) - 1},
                           {0xc000'0000'0000'0000, 0xc000'0000'0000'0000 + (1ull << bits) - 1},
                           {0xffff'ffff'c000'0000, ~0ull}};
constexpr std::string_view empty_tables[] = {"invalid_pud_table", "invalid_pmd_table", "invalid_pte_table"};

template <class Bits, unsigned page_shift, unsigned bits>
constexpr PagingMode mode(std::string_view name, std::span<const Level> levels) {
  return {.name = name, .entry_bytes = 8, .va_bits = bits, .halves = Halves::two_roots, .frame_mask = 0, .frame_shift = 0, .levels = levels,
          .page = rights<Bits>, .frame = frame<Bits, page_shift>, .windows = windows, .reach = reach<bits>,
          .empty_tables = std::span(empty_tables).last(levels.size() - 1)};
}
constexpr PagingMode paging[] = {
    mode<Rixi, 12, 48>("4k-48", l4k_48<Rixi>),         mode<Rixi, 12, 40>("4k-40", l4k_40<Rixi>),
    mode<Rixi, 14, 47>("16k-47", l16k_47<Rixi>),       mode<Rixi, 16, 42>("64k-42", l64k_42<Rixi>),
    mode<Plain, 12, 48>("4k-48-plain", l4k_48<Plain>), mode<Plain, 12, 40>("4k-40-plain", l4k_40<Plain>),
    mode<Plain, 14, 47>("16k-47-plain", l16k_47<Plain>), mode<Plain, 16, 42>("64k-42-plain", l64k_42<Plain>),
};

// gdb wants the floating-point registers described although no kernel dump has them.  DWARF: as GCC numbers them for MIPS.
constexpr std::string_view cpu = "org.gnu.gdb.mips.cpu", cp0 = "org.gnu.gdb.mips.cp0", fpu = "org.gnu.gdb.mips.fpu";
constexpr Register registers[] = {
    {"r0", 64, 0, cpu}, {"r1", 64, 1, cpu}, {"r2", 64, 2, cpu}, {"r3", 64, 3, cpu}, {"r4", 64, 4, cpu}, {"r5", 64, 5, cpu},
    {"r6", 64, 6, cpu}, {"r7", 64, 7, cpu}, {"r8", 64, 8, cpu}, {"r9", 64, 9, cpu}, {"r10", 64, 10, cpu}, {"r11", 64, 11, cpu},
    {"r12", 64, 12, cpu}, {"r13", 64, 13, cpu}, {"r14", 64, 14, cpu}, {"r15", 64, 15, cpu}, {"r16", 64, 16, cpu}, {"r17", 64, 17, cpu},
    {"r18", 64, 18, cpu}, {"r19", 64, 19, cpu}, {"r20", 64, 20, cpu}, {"r21", 64, 21, cpu}, {"r22", 64, 22, cpu}, {"r23", 64, 23, cpu},
    {"r24", 64, 24, cpu}, {"r25", 64, 25, cpu}, {"r26", 64, 26, cpu}, {"r27", 64, 27, cpu}, {"r28", 64, 28, cpu},
    {"r29", 64, 29, cpu, "data_ptr", Role::sp}, {"r30", 64, 30, cpu, "data_ptr", Role::fp}, {"r31", 64, 31, cpu, "code_ptr", Role::ra},
    {"lo", 64, 65, cpu}, {"hi", 64, 64, cpu}, {"pc", 64, -1, cpu, "code_ptr", Role::pc},
    {"status", 64, -1, cp0, "int64", Role::flags}, {"badvaddr", 64, -1, cp0}, {"cause", 64, -1, cp0},
    {"f0", 64, 32, fpu, "ieee_double"}, {"f1", 64, 33, fpu, "ieee_double"}, {"f2", 64, 34, fpu, "ieee_double"}, {"f3", 64, 35, fpu, "ieee_double"},
    {"f4", 64, 36, fpu, "ieee_double"}, {"f5", 64, 37, fpu, "ieee_double"}, {"f6", 64, 38, fpu, "ieee_double"}, {"f7", 64, 39, fpu, "ieee_double"},
    {"f8", 64, 40, fpu, "ieee_double"}, {"f9", 64, 41, fpu, "ieee_double"}, {"f10", 64, 42, fpu, "ieee_double"}, {"f11", 64, 43, fpu, "ieee_double"},
    {"f12", 64, 44, fpu, "ieee_double"}, {"f13", 64, 45, fpu, "ieee_double"}, {"f14", 64, 46, fpu, "ieee_double"}, {"f15", 64, 47, fpu, "ieee_double"},
    {"f16", 64, 48, fpu, "ieee_double"}, {"f17", 64, 49, fpu, "ieee_double"}, {"f18", 64, 50, fpu, "ieee_double"}, {"f19", 64, 51, fpu, "ieee_double"},
    {"f20", 64, 52, fpu, "ieee_double"}, {"f21", 64, 53, fpu, "ieee_double"}, {"f22", 64, 54, fpu, "ieee_double"}, {"f23", 64, 55, fpu, "ieee_double"},
    {"f24", 64, 56, fpu, "ieee_double"}, {"f25", 64, 57, fpu, "ieee_double"}, {"f26", 64, 58, fpu, "ieee_double"}, {"f27", 64, 59, fpu, "ieee_double"},
    {"f28", 64, 60, fpu, "ieee_double"}, {"f29", 64, 61, fpu, "ieee_double"}, {"f30", 64, 62, fpu, "ieee_double"}, {"f31", 64, 63, fpu, "ieee_double"},
    {"fcsr", 64, -1, fpu, "int64", Role::none, "float"}, {"fir", 64, -1, fpu, "int64", Role::none, "float"},
};

// NT_PRSTATUS: pr_reg at 112 is of 45 words, in the order of MIPS64_EF_R0 ... (arch/mips/include/uapi/asm/reg.h).
constexpr NoteField prstatus[] = {
    {"r0", 112, 8},  {"r1", 120, 8},  {"r2", 128, 8},  {"r3", 136, 8},  {"r4", 144, 8},  {"r5", 152, 8},  {"r6", 160, 8},
    {"r7", 168, 8},  {"r8", 176, 8},  {"r9", 184, 8},  {"r10", 192, 8}, {"r11", 200, 8}, {"r12", 208, 8}, {"r13", 216, 8},
    {"r14", 224, 8}, {"r15", 232, 8}, {"r16", 240, 8}, {"r17", 248, 8}, {"r18", 256, 8}, {"r19", 264, 8}, {"r20", 272, 8},
    {"r21", 280, 8}, {"r22", 288, 8}, {"r23", 296, 8}, {"r24", 304, 8}, {"r25", 312, 8}, {"r26", 320, 8}, {"r27", 328, 8},
    {"r28", 336, 8}, {"r29", 344, 8}, {"r30", 352, 8}, {"r31", 360, 8}, {"lo", 368, 8},  {"hi", 376, 8},  {"pc", 384, 8},
    {"badvaddr", 392, 8}, {"status", 400, 8}, {"cause", 408, 8},
};
constexpr CpuNote notes[] = {{"CORE", 1, 472, 32, prstatus}};

// resume() saves these in the task's thread_struct (arch/mips/kernel/r4k_switch.S).
constexpr SavedRegister linux_frame[] = {
    {"r16", "thread.reg16"}, {"r17", "thread.reg17"}, {"r18", "thread.reg18"}, {"r19", "thread.reg19"}, {"r20", "thread.reg20"},
    {"r21", "thread.reg21"}, {"r22", "thread.reg22"}, {"r23", "thread.reg23"}, {"r29", "thread.reg29"}, {"r30", "thread.reg30"},
    {"r31", "thread.reg31"}, {"pc", "thread.reg31"},  {"status", "thread.cp0_status"},
};
constexpr SavedFrame frames[] = {{"linux", "thread", "", linux_frame}};

constexpr std::string_view machines[] = {"mips64"};
constexpr std::string_view level_names[] = {"PTE", "PMD", "PUD", "PGD"};
constexpr std::string_view root_symbols[] = {"swapper_pg_dir"};
// Linked into CKSEG0, or, for machines whose memory does not begin at 0, into XKPHYS.
constexpr std::uint64_t image_bases[] = {0xffff'ffff'8000'0000, 0xa800'0000'0000'0000, 0x9800'0000'0000'0000};

constexpr LinuxLayout linux_layout{
    .image_bases = image_bases,
    .image_align = 0x1000,  // each board's load address (arch/mips/*/Platform); the lowest are 0x2000 and 0x4000
    .root_symbols = root_symbols,
};

constexpr Arch row(std::string_view name, std::string_view triple, std::endian endian) {
  return {.name = name, .gdb_name = "mips:isa64r2", .triple = triple, .machines = machines, .elf_machine = 8,  // EM_MIPS
          .pointer_bytes = 8, .endian = endian, .page_size = 4096, .entry_order = endian, .paging = paging, .registers = registers,
          .notes = notes, .frames = frames, .level_names = level_names, .linux_layout = &linux_layout,
          .gdb_needs_pc = true};
}

}  // namespace kvm::arch::mips
