// 64-bit LoongArch.  Odd here: the kernel and all memory lie in windows that need no tables; a table's entry is the virtual address
// of the next table in such a window; an empty one leads to a table of empty entries; and the page size is the kernel's choice.
// LoongArch Reference Manual, volume 1, 5.2 "Virtual Address Space" and 5.4 "Page Table Mapping"; Linux's software bits are in
// arch/loongarch/include/asm/pgtable-bits.h.
#include <algorithm>

#include "arch/arch.h"

namespace kvm::arch {
namespace {

// P (bit 7) is Linux's: V (bit 0) is clear while a page has not been accessed.  Bit 6 of a PMD's entry: it is a page.
constexpr Match present{0x80, 0x80}, no_huge{0x40, 0};
// Pointers have bit 63 set; what has neither that nor bit 6 leads nowhere, and a page that is not present is none.
constexpr Rule no_pointer{{1ull << 63, 0}}, no_pointer_or_page{{1ull << 63 | 0x40, 0}, {0xc0, 0x40}};

constexpr Level l4k_39[] = {{30, 9, always, always, false, nullptr, no_pointer}, {21, 9, always, no_huge, false, nullptr, no_pointer_or_page}, {12, 9, present, never}};
constexpr Level l4k_48[] = {{39, 9, always, always, false, nullptr, no_pointer}, {30, 9, always, always, false, nullptr, no_pointer},
                            {21, 9, always, no_huge, false, nullptr, no_pointer_or_page}, {12, 9, present, never}};
constexpr Level l16k_36[] = {{25, 11, always, no_huge, false, nullptr, no_pointer_or_page}, {14, 11, present, never}};
constexpr Level l16k_47[] = {{36, 11, always, always, false, nullptr, no_pointer}, {25, 11, always, no_huge, false, nullptr, no_pointer_or_page}, {14, 11, present, never}};
constexpr Level l64k_42[] = {{29, 13, always, no_huge, false, nullptr, no_pointer_or_page}, {16, 13, present, never}};
constexpr Level l64k_55[] = {{42, 13, always, always, false, nullptr, no_pointer}, {29, 13, always, no_huge, false, nullptr, no_pointer_or_page}, {16, 13, present, never}};

// W (bit 8) is Linux's: D (bit 1) is clear while a page has not been written.  NX is bit 62; PLV (bits 3:2) is 3 for users.
constexpr Rights rights{{{0x100, 0x100}}, {{1ull << 62, 0}}, {{0xc, 0xc}}};

// PROT_NONE and NUMA hinting (bit 10); a large page that is being changed (bit 60, since v6.2).
std::uint64_t held(std::uint64_t entry) {
  const bool kept = (entry & 0x400) || (entry & (1ull << 60 | 0x40)) == (1ull << 60 | 0x40);
  return kept ? entry | 0x80 : 0;
}

// Frames are bits 47:12, and so are a pointer's physical address.
constexpr std::uint64_t frame_4k = 0x0000'ffff'ffff'f000, frame_16k = 0x0000'ffff'ffff'c000, frame_64k = 0x0000'ffff'ffff'0000;

// 5.2.1: the processor translates 47 bits below and above.  Linux begins at the lowest address above with its tables' reach (modules,
// vmalloc), and has its fixed mappings at the very top, which the same tables serve.
template <unsigned bits>
constexpr Reach reach[] = {{0, (1ull << bits) - 1},
                           {0xffff'8000'0000'0000, 0xffff'8000'0000'0000 + (1ull << bits) - 1},
                           {-(1ull << bits), ~0ull}};
template <>
constexpr Reach reach<47>[] = {{0, (1ull << 47) - 1}, {0xffff'8000'0000'0000, ~0ull}};
// DMW0 ... DMW2: not cached, cached, write-combining (addrspace.h).
constexpr Window windows[] = {{0x8000'0000'0000'0000, 0x8000'ffff'ffff'ffff, 0},
                              {0x9000'0000'0000'0000, 0x9000'ffff'ffff'ffff, 0},
                              {0xa000'0000'0000'0000, 0xa000'ffff'ffff'ffff, 0}};
constexpr std::string_view empty_tables[] = {"invalid_pud_table", "invalid_pmd_table", "invalid_pte_table"};

template <unsigned bits>
constexpr PagingMode mode(std::string_view name, std::uint64_t frame, std::span<const Level> levels) {
  return {.name = name, .entry_bytes = 8, .va_bits = bits, .halves = Halves::two_roots, .frame_mask = frame, .frame_shift = 0, .levels = levels,
          .page = rights, .held = held, .windows = windows, .reach = reach<std::min(bits, 47u)>,
          .empty_tables = std::span(empty_tables).last(levels.size() - 1)};
}
constexpr PagingMode paging[] = {mode<47>("16k-47", frame_16k, l16k_47), mode<36>("16k-36", frame_16k, l16k_36),
                                 mode<48>("4k-48", frame_4k, l4k_48),    mode<39>("4k-39", frame_4k, l4k_39),
                                 mode<55>("64k-55", frame_64k, l64k_55), mode<42>("64k-42", frame_64k, l64k_42)};

constexpr std::string_view base = "org.gnu.gdb.loongarch.base", system_feature = "org.inquest.loongarch.system";
// gdb/features/loongarch/base64.xml.  DWARF: LoongArch ELF psABI, "DWARF Register Numbers".
constexpr Register registers[] = {
    {"r0", 64, 0, base}, {"r1", 64, 1, base, "code_ptr", Role::ra}, {"r2", 64, 2, base}, {"r3", 64, 3, base, "data_ptr", Role::sp},
    {"r4", 64, 4, base}, {"r5", 64, 5, base}, {"r6", 64, 6, base}, {"r7", 64, 7, base}, {"r8", 64, 8, base}, {"r9", 64, 9, base},
    {"r10", 64, 10, base}, {"r11", 64, 11, base}, {"r12", 64, 12, base}, {"r13", 64, 13, base}, {"r14", 64, 14, base},
    {"r15", 64, 15, base}, {"r16", 64, 16, base}, {"r17", 64, 17, base}, {"r18", 64, 18, base}, {"r19", 64, 19, base},
    {"r20", 64, 20, base}, {"r21", 64, 21, base}, {"r22", 64, 22, base, "data_ptr", Role::fp}, {"r23", 64, 23, base},
    {"r24", 64, 24, base}, {"r25", 64, 25, base}, {"r26", 64, 26, base}, {"r27", 64, 27, base}, {"r28", 64, 28, base},
    {"r29", 64, 29, base}, {"r30", 64, 30, base}, {"r31", 64, 31, base},
    {"orig_a0", 64, -1, base}, {"pc", 64, -1, base, "code_ptr", Role::pc}, {"badv", 64, -1, base, "data_ptr"},
    {"crmd", 64, -1, system_feature, "int64", Role::none, "system"}, {"prmd", 64, -1, system_feature, "int64", Role::none, "system"},
    {"euen", 64, -1, system_feature, "int64", Role::none, "system"}, {"ecfg", 64, -1, system_feature, "int64", Role::none, "system"},
    {"estat", 64, -1, system_feature, "int64", Role::none, "system"},
};

// NT_PRSTATUS: pr_reg at 112 is of 45 words; loongarch_dump_regs64() (arch/loongarch/kernel/process.c) fills these.
constexpr NoteField prstatus[] = {
    {"r0", 112, 8},  {"r1", 120, 8},  {"r2", 128, 8},  {"r3", 136, 8},  {"r4", 144, 8},  {"r5", 152, 8},  {"r6", 160, 8},
    {"r7", 168, 8},  {"r8", 176, 8},  {"r9", 184, 8},  {"r10", 192, 8}, {"r11", 200, 8}, {"r12", 208, 8}, {"r13", 216, 8},
    {"r14", 224, 8}, {"r15", 232, 8}, {"r16", 240, 8}, {"r17", 248, 8}, {"r18", 256, 8}, {"r19", 264, 8}, {"r20", 272, 8},
    {"r21", 280, 8}, {"r22", 288, 8}, {"r23", 296, 8}, {"r24", 304, 8}, {"r25", 312, 8}, {"r26", 320, 8}, {"r27", 328, 8},
    {"r28", 336, 8}, {"r29", 344, 8}, {"r30", 352, 8}, {"r31", 360, 8}, {"orig_a0", 368, 8}, {"pc", 376, 8}, {"badv", 384, 8},
    {"crmd", 392, 8}, {"prmd", 400, 8}, {"euen", 408, 8}, {"ecfg", 416, 8}, {"estat", 424, 8},
};
constexpr CpuNote notes[] = {{"CORE", 1, 472, 32, prstatus}};

// __switch_to() saves these in the task's thread_struct (arch/loongarch/kernel/switch.S).
constexpr SavedRegister linux_frame[] = {
    {"r1", "thread.reg01"},  {"r3", "thread.reg03"},  {"r22", "thread.reg22"}, {"r23", "thread.reg23"}, {"r24", "thread.reg24"},
    {"r25", "thread.reg25"}, {"r26", "thread.reg26"}, {"r27", "thread.reg27"}, {"r28", "thread.reg28"}, {"r29", "thread.reg29"},
    {"r30", "thread.reg30"}, {"r31", "thread.reg31"}, {"pc", "thread.reg01"},
};
constexpr SavedFrame frames[] = {{"linux", "thread", "", linux_frame}};

constexpr std::string_view machines[] = {"loongarch64"};
constexpr std::string_view level_names[] = {"PTE", "PMD", "PUD", "PGD"};
constexpr std::string_view root_symbols[] = {"swapper_pg_dir"};
constexpr std::uint64_t image_bases[] = {0x9000'0000'0000'0000};

constexpr LinuxLayout linux_layout{
    .image_bases = image_bases,
    .image_align = 0x1'0000,  // the image is 64 KiB aligned (vmlinux.lds.S), and so are its random places (relocate.c)
    .image_offset = 0x20'0000,  // VMLINUX_LOAD_ADDRESS
    .root_symbols = root_symbols,
};

}  // namespace

extern const Arch loongarch64;
constexpr Arch loongarch64{
    .name = "loongarch64",
    .gdb_name = "Loongarch64",
    .triple = "loongarch64",
    .machines = machines,
    .elf_machine = 258,  // EM_LOONGARCH
    .pointer_bytes = 8,
    .endian = std::endian::little,
    .page_size = 4096,
    .paging = paging,
    .registers = registers,
    .notes = notes,
    .frames = frames,
    .level_names = level_names,
    .linux_layout = &linux_layout,
};

}  // namespace kvm::arch
