// 32-bit Arm.  Odd here: two page-table formats, chosen when a kernel is built: "short descriptors" of 4 bytes, whose page sizes
// each keep their attributes in other bits, and with LPAE long ones of 8 bytes, which are AArch64's.  With short descriptors
// Linux has a second table of its own beside the processor's.  The kernel moves with the start of RAM, not by chance.
// Arm Architecture Reference Manual, ARMv7-A (DDI 0406), B3.5 "Short-descriptor", B3.6 "Long-descriptor translation table format".
#include "arch/arch.h"

namespace kvm::arch {
namespace {

// B3.5.1: bits 1:0 are 00 for nothing; at the first level 01 for a table, 1x for a section (bit 18: a supersection); at the
// second 01 for a large page, 1x for a small one.
constexpr Rule none{{0x3, 0x0}, never};
// AP[2] forbids writing, AP[1] lets users in, XN forbids execution: bits 15, 11 and 4 of a section; of a page 9 and 5, and XN is
// bit 0 of a small one and bit 15 of a large one.
// PXN (bit 0) keeps only the kernel from executing a section.
constexpr Rights section{{{0x8000, 0}}, {{0x13, 0x2}, {0x810, 0x800}}, {{0x800, 0x800}}};
constexpr Rights small_or_large{{{0x200, 0}}, {{0x3, 0x2}, {0x8003, 0x1}}, {{0x20, 0x20}}};
constexpr Level short_levels[] = {{20, 12, always, {0x3, 0x1}, false, nullptr, none, &section}, {12, 8, always, never, false, nullptr, none, &small_or_large}};

std::uint8_t short_page_shift(std::uint64_t entry, const Level& level) {
  const bool first = level.shift == 20;
  if (first) return entry & 0x4'0000 ? 24 : 20;
  return entry & 0x2 ? 12 : 16;
}

// A supersection's bits 23:20 and 8:5 are address bits 35:32 and 39:36.
std::uint64_t short_frame(std::uint64_t entry, const Level& level) {
  if (level.shift != 20) return entry & (entry & 0x2 ? 0xffff'f000 : 0xffff'0000);
  if (level.table(entry)) return entry & 0xffff'fc00;
  if (!(entry & 0x4'0000)) return entry & 0xfff0'0000;
  return (entry & 0xff00'0000) | (entry & 0x00f0'0000) << 12 | (entry & 0x1e0) << 31;
}

// The processor knows no "accessed" bit, so Linux keeps an entry of its own for every small page, 2 KiB before the processor's.
// That is empty where there shall be a fault: PROT_NONE, and pages that were not used lately (arch/arm/include/asm/pgtable-2level.h:
// present 0, read-only 7, user 8, XN 9, NONE 11; the processor's are set as in cpu_v7_set_pte_ext).
constexpr std::int32_t own_entry = -2048;
std::uint64_t short_held(std::uint64_t own) {
  if (!(own & 0x1)) return 0;
  const bool read_only = own & 0x80, user = (own & 0x900) == 0x100, no_execute = own & 0x200;
  return (own & 0xffff'f000) | 0x12 | (read_only ? 0x200 : 0) | (user ? 0x20 : 0) | (no_execute ? 0x1 : 0);
}

// B3.6.1: bit 0 valid; bit 1 tells a table (or, at the last level, a page) from a block.
constexpr Match valid{0x1, 0x1}, table{0x2, 0x2}, table_or_page{0x3, 0x3};
constexpr Level lpae_levels[] = {{30, 2, valid, table}, {21, 9, valid, table}, {12, 9, table_or_page, never}};
// As AArch64's, but XN (54) is for all, and PXN (53) for the kernel; tables: APTable (62:61), XNTable (60).
constexpr std::uint64_t xn = 1ull << 54, pxn = 1ull << 53;
constexpr Rights lpae_page{{{0x80, 0}}, {{xn | pxn, 0}, {xn | 0x40, 0x40}}, {{0x40, 0x40}}};
constexpr Rights lpae_table{{{1ull << 62, 0}}, {{1ull << 60, 0}}, {{1ull << 61, 0}}};
constexpr std::uint64_t lpae_frame = 0xff'ffff'f000;  // bits 39:12

// PROT_NONE: bit 0 clear, bits 1 and 57 set; 58 is Linux's "read-only" (arch/arm/mm/proc-v7-3level.S, cpu_v7_set_pte_ext).
std::uint64_t lpae_held(std::uint64_t entry) {
  constexpr std::uint64_t kept = 1ull << 57 | 0x2;
  return (entry & (kept | 0x1)) == kept ? entry | 0x1 | (entry >> 58 & 1) << 7 : 0;
}

constexpr PagingMode paging[] = {
    {"lpae", 8, 32, Halves::one_root_unsigned, lpae_frame, 0, lpae_levels, lpae_page, lpae_table, nullptr, lpae_held},
    {.name = "short", .entry_bytes = 4, .va_bits = 32, .halves = Halves::one_root_unsigned, .frame_mask = 0, .frame_shift = 0,
     .levels = short_levels, .page = {}, .frame = short_frame, .held = short_held, .page_shift = short_page_shift, .own_entry = own_entry},
};

constexpr std::string_view core = "org.gnu.gdb.arm.core";
// DWARF for the Arm Architecture (IHI 0040), 3.1.
constexpr Register registers[] = {
    {"r0", 32, 0, core, "uint32"}, {"r1", 32, 1, core, "uint32"}, {"r2", 32, 2, core, "uint32"}, {"r3", 32, 3, core, "uint32"},
    {"r4", 32, 4, core, "uint32"}, {"r5", 32, 5, core, "uint32"}, {"r6", 32, 6, core, "uint32"}, {"r7", 32, 7, core, "uint32"},
    {"r8", 32, 8, core, "uint32"}, {"r9", 32, 9, core, "uint32"}, {"r10", 32, 10, core, "uint32"},
    {"r11", 32, 11, core, "uint32", Role::fp}, {"r12", 32, 12, core, "uint32"}, {"sp", 32, 13, core, "data_ptr", Role::sp},
    {"lr", 32, 14, core, "int32", Role::ra}, {"pc", 32, 15, core, "code_ptr", Role::pc}, {"cpsr", 32, -1, core, "int32", Role::flags},
};

// NT_PRSTATUS: pr_reg at 72 is the kernel's pt_regs (arch/arm/include/uapi/asm/ptrace.h).
constexpr NoteField prstatus[] = {
    {"r0", 72, 4},   {"r1", 76, 4},   {"r2", 80, 4},   {"r3", 84, 4},  {"r4", 88, 4},  {"r5", 92, 4},
    {"r6", 96, 4},   {"r7", 100, 4},  {"r8", 104, 4},  {"r9", 108, 4}, {"r10", 112, 4}, {"r11", 116, 4},
    {"r12", 120, 4}, {"sp", 124, 4},  {"lr", 128, 4},  {"pc", 132, 4}, {"cpsr", 136, 4},
};
constexpr CpuNote notes[] = {{"CORE", 1, 144, 24, prstatus}};

// __switch_to() saves these (arch/arm/include/asm/thread_info.h, struct cpu_context_save), since v5.16 in the task.
constexpr SavedRegister in_task[] = {
    {"r4", "thread_info.cpu_context.r4"}, {"r5", "thread_info.cpu_context.r5"}, {"r6", "thread_info.cpu_context.r6"},
    {"r7", "thread_info.cpu_context.r7"}, {"r8", "thread_info.cpu_context.r8"}, {"r9", "thread_info.cpu_context.r9"},
    {"r10", "thread_info.cpu_context.sl"}, {"r11", "thread_info.cpu_context.fp"}, {"sp", "thread_info.cpu_context.sp"},
    {"pc", "thread_info.cpu_context.pc"},
};
constexpr SavedRegister on_stack[] = {
    {"r4", "cpu_context.r4"}, {"r5", "cpu_context.r5"}, {"r6", "cpu_context.r6"}, {"r7", "cpu_context.r7"}, {"r8", "cpu_context.r8"},
    {"r9", "cpu_context.r9"}, {"r10", "cpu_context.sl"}, {"r11", "cpu_context.fp"}, {"sp", "cpu_context.sp"}, {"pc", "cpu_context.pc"},
};
// FreeBSD's cpu_switch() and savectx() fill struct switchframe, with which struct pcb begins (sys/arm/include/frame.h, pcb.h).
constexpr SavedRegister freebsd_pcb[] = {
    {"r4", {}, 0x00}, {"r5", {}, 0x04}, {"r6", {}, 0x08}, {"r7", {}, 0x0c}, {"r8", {}, 0x10}, {"r9", {}, 0x14}, {"r10", {}, 0x18},
    {"r11", {}, 0x1c}, {"r12", {}, 0x20},
    {"sp", {}, 0x24}, {"lr", {}, 0x28}, {"pc", {}, 0x2c},
};
constexpr SavedFrame frames[] = {
    {"linux", "thread_info.cpu_context", "", in_task}, {"linux", "stack", "thread_info", on_stack}, {"freebsd", "td_pcb", "pcb", freebsd_pcb},
};

constexpr std::string_view machines[] = {"arm", "armv7l", "armv7", "armv6l", "armv6", "armv5tel"};
constexpr std::string_view level_names[] = {"PTE", "PMD", "PGD"};
constexpr std::string_view root_symbols[] = {"swapper_pg_dir"};
constexpr std::uint64_t page_offsets[] = {0xc000'0000, 0xb000'0000, 0x8000'0000, 0x4000'0000};  // VMSPLIT_*

// arch/arm/kernel/entry-common.S, entry-armv.S.  pt_regs is an array: r0 to pc, cpsr, orig_r0.  A system call's two last
// arguments lie below it until the call returns (S_OFF).
constexpr SavedRegister pt_regs[] = {
    {"r0", "uregs", 0},   {"r1", "uregs", 4},   {"r2", "uregs", 8},    {"r3", "uregs", 12},   {"r4", "uregs", 16},  {"r5", "uregs", 20},
    {"r6", "uregs", 24},  {"r7", "uregs", 28},  {"r8", "uregs", 32},   {"r9", "uregs", 36},   {"r10", "uregs", 40}, {"r11", "uregs", 44},
    {"r12", "uregs", 48}, {"sp", "uregs", 52},  {"lr", "uregs", 56},   {"pc", "uregs", 60},
};
constexpr InterruptFrame::Depth depths[] = {{0, 0}};
constexpr std::string_view entry_functions[] = {
    "slow_work_pending", "ret_to_user", "ret_to_user_from_irq", "no_work_pending", "__sys_trace_return_nosave", "ret_from_exception",
    "__dabt_svc", "__irq_svc", "__und_svc", "__pabt_svc", "__fiq_svc", "__dabt_usr", "__irq_usr", "__und_usr", "__pabt_usr", "__fiq_usr",
};
constexpr std::string_view outermost[] = {"ret_from_fork"};
constexpr EntryCode codes[] = {
    {"ret_fast_syscall", 0, Role::sp, 8}, {"ret_fast_syscall", 4}, {"__sys_trace", 0, Role::sp, 8}, {"__sys_trace_return", 0, Role::sp, 8},
    {"__sys_trace_return", 4}, {"call_with_stack", 0, Role::fp, 8, true},
};

constexpr LinuxLayout linux_layout{
    .image_bases = page_offsets,
    .image_align = 0x8000,  // TEXT_OFFSET, at least
    .image_offset = 0x8000,
    .physical = LinuxLayout::Physical::ram,
    .root_symbols = root_symbols,
    .interrupt_frame = {.record = "pt_regs", .regs = pt_regs, .partial = {}, .call_prefix = "vector_swi", .depths = depths,
                        .functions = entry_functions, .outermost = outermost, .codes = codes},
};

}  // namespace

extern const Arch arm;
constexpr Arch arm{
    .name = "arm",
    .gdb_name = "arm",
    .triple = "arm",
    .machines = machines,
    .elf_machine = 40,  // EM_ARM
    .pointer_bytes = 4,
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
