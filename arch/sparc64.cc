// 64-bit SPARC (UltraSPARC and its successors).  Odd here: the processor knows no tables, only a TLB that the kernel fills, so the
// tables are Linux's own, with entries in the TLB's format, of which there are two (sun4u, sun4v); the kernel's image is in locked
// TLB entries and in no table; and most registers of a function lie in its stack frame, 2047 bytes above the stack pointer.
// UltraSPARC I&II User's Manual, 6.2, and UltraSPARC Architecture 2007, 14.3 "TTE"; Linux's arch/sparc/include/asm/pgtable_64.h.
#include "arch/arch.h"

namespace kvm::arch {
namespace {

// Tables: physical addresses, 0 for none.  Bit 56 of a PMD's or PUD's entry: it is a page.  A page is there when the processor
// says so (V, bit 63), or Linux does: V is clear while a page has not been accessed.
constexpr Match no_huge{1ull << 56, 0}, zero{~0ull, 0};
constexpr Rule nothing{zero};
constexpr Match present_u{0x80, 0x80}, present_v{0x10, 0x10};
constexpr Rule nothing_u{zero, {1ull << 63 | 1ull << 56 | 0x80, 1ull << 56}}, nothing_v{zero, {1ull << 63 | 1ull << 56 | 0x10, 1ull << 56}};

// Since v3.18; larger pages are of two halves for the TLB and one for the tables.
constexpr Level levels_u[] = {{43, 10, always, always, false, nullptr, nothing}, {33, 10, always, no_huge, false, nullptr, nothing_u},
                              {23, 10, always, no_huge, false, nullptr, nothing_u}, {13, 10, present_u, never}};
constexpr Level levels_v[] = {{43, 10, always, always, false, nullptr, nothing}, {33, 10, always, no_huge, false, nullptr, nothing_v},
                              {23, 10, always, no_huge, false, nullptr, nothing_v}, {13, 10, present_v, never}};

// W, which Linux clears while a page is clean, and its own WRITE; EXEC; P: for the kernel only.  The linear map has W and P alone.
constexpr Rights rights_u{{{0x2, 0x2}, {0x100, 0x100}}, {{0x1000, 0x1000}}, {{0x4, 0}}};
constexpr Rights rights_v{{{0x40, 0x40}, {1ull << 58, 1ull << 58}}, {{0x80, 0x80}}, {{0x100, 0}}};

constexpr std::uint64_t frame_u = 0x0000'07ff'ffff'e000, frame_v = 0x00ff'ffff'ffff'e000;

constexpr PagingMode paging[] = {
    {"sun4v", 8, 53, Halves::one_root_signed, frame_v, 0, levels_v, rights_v},
    {"sun4u", 8, 53, Halves::one_root_signed, frame_u, 0, levels_u, rights_u},
};

// gdb wants the floating-point registers described although no kernel dump has them.  DWARF: SPARC Compliance Definition 2.4.
constexpr std::string_view cpu = "org.gnu.gdb.sparc.cpu", fpu = "org.gnu.gdb.sparc.fpu", cp0 = "org.gnu.gdb.sparc.cp0";
constexpr Register registers[] = {
    {"g0", 64, 0, cpu}, {"g1", 64, 1, cpu}, {"g2", 64, 2, cpu}, {"g3", 64, 3, cpu}, {"g4", 64, 4, cpu}, {"g5", 64, 5, cpu},
    {"g6", 64, 6, cpu}, {"g7", 64, 7, cpu}, {"o0", 64, 8, cpu}, {"o1", 64, 9, cpu}, {"o2", 64, 10, cpu}, {"o3", 64, 11, cpu},
    {"o4", 64, 12, cpu}, {"o5", 64, 13, cpu}, {"sp", 64, 14, cpu, "data_ptr", Role::sp}, {"o7", 64, 15, cpu, "code_ptr", Role::ra},
    {"l0", 64, 16, cpu}, {"l1", 64, 17, cpu}, {"l2", 64, 18, cpu}, {"l3", 64, 19, cpu}, {"l4", 64, 20, cpu}, {"l5", 64, 21, cpu},
    {"l6", 64, 22, cpu}, {"l7", 64, 23, cpu}, {"i0", 64, 24, cpu}, {"i1", 64, 25, cpu}, {"i2", 64, 26, cpu}, {"i3", 64, 27, cpu},
    {"i4", 64, 28, cpu}, {"i5", 64, 29, cpu}, {"fp", 64, 30, cpu, "data_ptr", Role::fp}, {"i7", 64, 31, cpu, "code_ptr"},
    {"f0", 32, 32, fpu, "ieee_single"}, {"f1", 32, 33, fpu, "ieee_single"}, {"f2", 32, 34, fpu, "ieee_single"}, {"f3", 32, 35, fpu, "ieee_single"},
    {"f4", 32, 36, fpu, "ieee_single"}, {"f5", 32, 37, fpu, "ieee_single"}, {"f6", 32, 38, fpu, "ieee_single"}, {"f7", 32, 39, fpu, "ieee_single"},
    {"f8", 32, 40, fpu, "ieee_single"}, {"f9", 32, 41, fpu, "ieee_single"}, {"f10", 32, 42, fpu, "ieee_single"}, {"f11", 32, 43, fpu, "ieee_single"},
    {"f12", 32, 44, fpu, "ieee_single"}, {"f13", 32, 45, fpu, "ieee_single"}, {"f14", 32, 46, fpu, "ieee_single"}, {"f15", 32, 47, fpu, "ieee_single"},
    {"f16", 32, 48, fpu, "ieee_single"}, {"f17", 32, 49, fpu, "ieee_single"}, {"f18", 32, 50, fpu, "ieee_single"}, {"f19", 32, 51, fpu, "ieee_single"},
    {"f20", 32, 52, fpu, "ieee_single"}, {"f21", 32, 53, fpu, "ieee_single"}, {"f22", 32, 54, fpu, "ieee_single"}, {"f23", 32, 55, fpu, "ieee_single"},
    {"f24", 32, 56, fpu, "ieee_single"}, {"f25", 32, 57, fpu, "ieee_single"}, {"f26", 32, 58, fpu, "ieee_single"}, {"f27", 32, 59, fpu, "ieee_single"},
    {"f28", 32, 60, fpu, "ieee_single"}, {"f29", 32, 61, fpu, "ieee_single"}, {"f30", 32, 62, fpu, "ieee_single"}, {"f31", 32, 63, fpu, "ieee_single"},
    {"f32", 64, -1, fpu, "ieee_double"}, {"f34", 64, -1, fpu, "ieee_double"}, {"f36", 64, -1, fpu, "ieee_double"}, {"f38", 64, -1, fpu, "ieee_double"},
    {"f40", 64, -1, fpu, "ieee_double"}, {"f42", 64, -1, fpu, "ieee_double"}, {"f44", 64, -1, fpu, "ieee_double"}, {"f46", 64, -1, fpu, "ieee_double"},
    {"f48", 64, -1, fpu, "ieee_double"}, {"f50", 64, -1, fpu, "ieee_double"}, {"f52", 64, -1, fpu, "ieee_double"}, {"f54", 64, -1, fpu, "ieee_double"},
    {"f56", 64, -1, fpu, "ieee_double"}, {"f58", 64, -1, fpu, "ieee_double"}, {"f60", 64, -1, fpu, "ieee_double"}, {"f62", 64, -1, fpu, "ieee_double"},
    {"pc", 64, -1, cp0, "code_ptr", Role::pc}, {"npc", 64, -1, cp0, "code_ptr"}, {"state", 64, -1, cp0, "int64", Role::flags},
    {"fsr", 64, -1, cp0}, {"fprs", 64, -1, cp0}, {"y", 64, -1, cp0},
};

// NT_PRSTATUS: pr_reg at 112 is of 36 words (arch/sparc/include/asm/elf_64.h).
constexpr NoteField prstatus[] = {
    {"g0", 112, 8}, {"g1", 120, 8}, {"g2", 128, 8}, {"g3", 136, 8}, {"g4", 144, 8}, {"g5", 152, 8}, {"g6", 160, 8}, {"g7", 168, 8},
    {"o0", 176, 8}, {"o1", 184, 8}, {"o2", 192, 8}, {"o3", 200, 8}, {"o4", 208, 8}, {"o5", 216, 8}, {"sp", 224, 8}, {"o7", 232, 8},
    {"l0", 240, 8}, {"l1", 248, 8}, {"l2", 256, 8}, {"l3", 264, 8}, {"l4", 272, 8}, {"l5", 280, 8}, {"l6", 288, 8}, {"l7", 296, 8},
    {"i0", 304, 8}, {"i1", 312, 8}, {"i2", 320, 8}, {"i3", 328, 8}, {"i4", 336, 8}, {"i5", 344, 8}, {"fp", 352, 8}, {"i7", 360, 8},
    {"state", 368, 8}, {"pc", 376, 8}, {"npc", 384, 8}, {"y", 392, 8},
};
constexpr CpuNote notes[] = {{"CORE", 1, 400, 32, prstatus}};

// switch_to() keeps the stack pointer in the task's thread_info; the registers of its window are where every function's are, and
// all tasks go on at switch_to_pc (arch/sparc/include/asm/switch_to_64.h).
constexpr SavedRegister linux_frame[] = {
    {"sp", "ksp"}, {"pc", "", 0, "switch_to_pc"},
    {"l0", "", 0}, {"l1", "", 8}, {"l2", "", 16}, {"l3", "", 24}, {"l4", "", 32}, {"l5", "", 40}, {"l6", "", 48}, {"l7", "", 56},
    {"i0", "", 64}, {"i1", "", 72}, {"i2", "", 80}, {"i3", "", 88}, {"i4", "", 96}, {"i5", "", 104}, {"fp", "", 112}, {"i7", "", 120},
};
constexpr SavedFrame frames[] = {{.os = "linux", .path = "stack", .record = "thread_info", .regs = linux_frame, .words = "ksp", .words_offset = 2047}};

constexpr std::string_view machines[] = {"sparc64"};
constexpr std::string_view level_names[] = {"PTE", "PMD", "PUD", "PGD"};
constexpr std::string_view root_symbols[] = {"swapper_pg_dir"};
constexpr std::uint64_t image_bases[] = {0x40'0000};

constexpr LinuxLayout linux_layout{
    .image_bases = image_bases,
    .image_align = 0x40'0000,  // of the locked TLB entries
    .image_in_tables = false,
    .physical = LinuxLayout::Physical::ram,
    .root_symbols = root_symbols,
    .distance_symbol = "PAGE_OFFSET",
};

}  // namespace

extern const Arch sparc64;
constexpr Arch sparc64{
    .name = "sparc64",
    .gdb_name = "sparc:v9",
    .triple = "sparcv9",
    .machines = machines,
    .elf_machine = 43,  // EM_SPARCV9
    .pointer_bytes = 8,
    .endian = std::endian::big,
    .page_size = 8192,
    .paging = paging,
    .registers = registers,
    .notes = notes,
    .frames = frames,
    .level_names = level_names,
    .linux_layout = &linux_layout,
    .gdb_osabi = "GNU/Linux",  // without one gdb takes it for a 32-bit SPARC, and refuses the registers
};

}  // namespace kvm::arch
