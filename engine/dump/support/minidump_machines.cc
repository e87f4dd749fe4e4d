// The table.  Headers: FreeBSD, sys/MACHINE/include/minidump.h; what the fields mean: lib/libkvm/kvm_minidump_MACHINE.c and
// the writers, sys/MACHINE/MACHINE/minidump_machdep.c.
#include "engine/dump/support/minidump_machines.h"

namespace kvm {
namespace {

using arch::always, arch::never, arch::Halves, arch::Level, arch::Match, arch::PagingMode;

constexpr std::uint16_t em_386 = 3, em_mips = 8, em_ppc64 = 21, em_arm = 40, em_x86_64 = 62, em_aarch64 = 183, em_riscv = 243;

// MIPS processors know no tables, only what a kernel loads into their TLB: EntryLo, with valid 0x2, dirty (writable) 0x4, and the
// frame number from bit 6 on (FreeBSD, sys/mips/include/pte.h).
constexpr Level mips_page[] = {{12, 20, {0x2, 0x2}, never}};
constexpr PagingMode mips32{"entrylo-32", 4, 32, Halves::one_root_unsigned, 0x1fff'ffc0, 6, mips_page, {{{0x4, 0x4}}, {}, {never, never}}};
constexpr PagingMode mips64{"entrylo-64", 8, 64, Halves::one_root_unsigned, 0x3'ffff'ffc0, 6, mips_page, {{{0x4, 0x4}}, {}, {never, never}}};
// KSEG0 and KSEG1; in 64 bits also XKPHYS, once for each of eight cache attributes, 40 bits of it (sys/mips/include/cpuregs.h).
constexpr MinidumpWindow mips32_windows[] = {{{0x8000'0000}, {0x9fff'ffff}}, {{0xa000'0000}, {0xbfff'ffff}}};
constexpr std::uint64_t xkphys = 0x8000'0000'0000'0000, attribute = 1ull << 59, reach = (1ull << 40) - 1;
constexpr MinidumpWindow mips64_windows[] = {
    {{0xffff'ffff'8000'0000}, {0xffff'ffff'9fff'ffff}}, {{0xffff'ffff'a000'0000}, {0xffff'ffff'bfff'ffff}},
    {{xkphys}, {xkphys + reach}}, {{xkphys + attribute}, {xkphys + attribute + reach}},
    {{xkphys + 2 * attribute}, {xkphys + 2 * attribute + reach}}, {{xkphys + 3 * attribute}, {xkphys + 3 * attribute + reach}},
    {{xkphys + 4 * attribute}, {xkphys + 4 * attribute + reach}}, {{xkphys + 5 * attribute}, {xkphys + 5 * attribute + reach}},
    {{xkphys + 6 * attribute}, {xkphys + 6 * attribute + reach}}, {{xkphys + 7 * attribute}, {xkphys + 7 * attribute + reach}},
};

// Power, radix (Power ISA 3.0B, book III, 5.7.10.2): big-endian entries, 52 bits in four levels as FreeBSD's kernel has them
// (sys/powerpc/aim/mmu_radix.c); a directory's entry has more address bits than a page's.
constexpr Match power_valid{1ull << 63, 1ull << 63}, power_table{1ull << 62, 0}, power_page{3ull << 62, 3ull << 62};
constexpr Level radix_levels[] = {{39, 13, power_valid, power_table}, {30, 9, power_valid, power_table}, {21, 9, power_valid, power_table}, {12, 9, power_page, never}};
constexpr PagingMode radix{"radix", 8, 52, Halves::one_root_unsigned, 0, 0, radix_levels, {{{0x2, 0x2}}, {{0x1, 0x1}}, {{0x8, 0}}}, {},
                           [](std::uint64_t entry, const Level&) { return entry & (power_table(entry) ? 0x00ff'ffff'ffff'ff00 : 0x00ff'ffff'ffff'f000); }};
constexpr MinidumpTree radix_tree{"radix", &radix};

// The kernel's numbering of segments (sys/powerpc/include/slb.h, KERNEL_VSID): scattered over 36 bits, with another bit on top.
constexpr std::uint64_t kernel_segment(std::uint64_t effective) {
  constexpr std::uint64_t kernel_bit = 1ull << 36;
  return ((effective << 8 | effective >> 28) * 0x13bb & (kernel_bit - 1)) | kernel_bit;
}

constexpr MinidumpMachine machines[] = {
    {.name = "FreeBSD/amd64", .elf_machine = em_x86_64, .pointer_bytes = 8, .newest = 3, .numbers_at = 0x18,
     .available_version = 3, .kernbase = {0x28, 8}, .dmapbase = {0x30, 8}, .dmapend = {0x38, 8}, .available_size = {0x40, 4}, .directory_version = 2},
    {.name = "FreeBSD/i386", .elf_machine = em_386, .pointer_bytes = 4, .newest = 2, .numbers_at = 0x18,
     .kernbase = {0x28, 4}, .available_size = {0x30, 4}, .large_entries = {0x2c, 4}, .bitmap_word = 4, .old_bitmap_word = 4, .entry_bytes = 4},
    {.name = "FreeBSD/arm64", .elf_machine = em_aarch64, .pointer_bytes = 8, .newest = 3, .numbers_at = 0x18,
     .kernbase = {0x28, 8}, .dmapphys = {0x30, 8}, .dmapbase = {0x38, 8}, .dmapend = {0x40, 8}, .available_size = {0x48, 4},
     .flags = {0x4c, 4}, .map_first = false},
    {.name = "FreeBSD/arm", .elf_machine = em_arm, .pointer_bytes = 4, .newest = 2, .numbers_at = 0x18,
     .kernbase = {0x28, 4}, .available_size = {0x34, 4}, .bitmap_word = 4, .old_bitmap_word = 4, .entry_bytes = 4},
    {.name = "FreeBSD/riscv", .elf_machine = em_riscv, .pointer_bytes = 8, .newest = 2, .numbers_at = 0x18,
     .kernbase = {0x28, 8}, .dmapphys = {0x30, 8}, .dmapbase = {0x38, 8}, .dmapend = {0x40, 8}, .available_size = {0x48, 4},
     .map_first = false},
    {.name = "FreeBSD/powerpc64", .elf_machine = em_ppc64, .pointer_bytes = 8, .newest = 2, .numbers_at = 0x40,
     .kernbase = {0x50, 8}, .dmapbase = {0x60, 8}, .dmapend = {0x68, 8}, .available_size = {0x88, 4}, .kernend = {0x58, 8},
     .mmu_name = {0x20, 32}, .kernel_start = {0x78, 8}, .link_start = 0x100100, .map_first = false, .last_inclusive = true,
     .tree = &radix_tree, .hashed_segment = kernel_segment},
    // The bitmap was of 32-bit words until version 2 made it of longs (sys/mips/mips/minidump_machdep.c).
    {.name = "FreeBSD/mips", .elf_machine = em_mips, .pointer_bytes = 8, .newest = 2, .numbers_at = 0x18,
     .kernbase = {0x28, 8}, .available_size = {0x40, 4}, .old_bitmap_word = 4, .windows = mips64_windows, .own_entries = &mips64},
    {.name = "FreeBSD/mips", .elf_machine = em_mips, .pointer_bytes = 4, .newest = 2, .numbers_at = 0x18,
     .kernbase = {0x28, 8}, .available_size = {0x40, 4}, .bitmap_word = 4, .old_bitmap_word = 4, .entry_bytes = 4,
     .windows = mips32_windows, .own_entries = &mips32},
};

}  // namespace

std::span<const MinidumpMachine> minidump_machines() { return machines; }

}  // namespace kvm
