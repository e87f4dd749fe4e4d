// x86-64 (AMD64, Intel 64).  Odd here: the top address bit is copied upwards (canonical addresses), every level tests the
// same Present bit, and an entry with PS set is a page at any level where the processor allows one.
// Intel SDM volume 3, chapter 4 "Paging"; AMD64 Architecture Programmer's Manual volume 2, chapter 5.
#include "arch/arch.h"

namespace kvm::arch {
namespace {

constexpr Match present{0x1, 0x1};
constexpr Match no_page_size{0x80, 0x00};  // PS (bit 7) clear: the entry points to a table

constexpr Level four_level[] = {
    {39, 9, present, always},        // PML4E: PS must be zero
    {30, 9, present, no_page_size},  // 1 GiB pages
    {21, 9, present, no_page_size},  // 2 MiB pages
    {12, 9, present, never},
};
constexpr Level five_level[] = {
    {48, 9, present, always},
    {39, 9, present, always},
    {30, 9, present, no_page_size},
    {21, 9, present, no_page_size},
    {12, 9, present, never},
};
constexpr std::uint64_t frame_bits = 0x000f'ffff'ffff'f000;  // MAXPHYADDR is at most 52
// R/W, XD, U/S: every level must allow what is done.
constexpr Rights rights{{{0x2, 0x2}}, {{1ull << 63, 0}}, {{0x4, 0x4}}};

// Linux's _PAGE_PROTNONE is bit 8 of an entry that is not present; its frame is stored inverted since v4.19, so that no
// processor with the L1TF flaw can be led to it (arch/x86/include/asm/pgtable-invert.h).
std::uint64_t held(std::uint64_t entry) { return (entry & 0x101) == 0x100 ? (entry ^ frame_bits) | 0x1 : 0; }

constexpr PagingMode paging[] = {
    {"4-level", 8, 48, Halves::one_root_signed, frame_bits, 0, four_level, rights, rights, nullptr, held},
    {"5-level", 8, 57, Halves::one_root_signed, frame_bits, 0, five_level, rights, rights, nullptr, held},
};

// gdb wants the x87 registers described although no kernel dump has them.
constexpr std::string_view core = "org.gnu.gdb.i386.core", linux_feature = "org.gnu.gdb.i386.linux",
                           segments = "org.gnu.gdb.i386.segments", system_feature = "org.inquest.x86.system";
constexpr Register registers[] = {
    {"rax", 64, 0, core},   {"rbx", 64, 3, core},   {"rcx", 64, 2, core},   {"rdx", 64, 1, core},
    {"rsi", 64, 4, core},   {"rdi", 64, 5, core},   {"rbp", 64, 6, core, "data_ptr", Role::fp},
    {"rsp", 64, 7, core, "data_ptr", Role::sp},
    {"r8", 64, 8, core},    {"r9", 64, 9, core},    {"r10", 64, 10, core},  {"r11", 64, 11, core},
    {"r12", 64, 12, core},  {"r13", 64, 13, core},  {"r14", 64, 14, core},  {"r15", 64, 15, core},
    {"rip", 64, 16, core, "code_ptr", Role::pc},    {"eflags", 32, 49, core, "int32", Role::flags},
    {"cs", 32, 51, core, "int32"}, {"ss", 32, 52, core, "int32"}, {"ds", 32, 53, core, "int32"},
    {"es", 32, 50, core, "int32"}, {"fs", 32, 54, core, "int32"}, {"gs", 32, 55, core, "int32"},
    {"st0", 80, 33, core, "i387_ext"}, {"st1", 80, 34, core, "i387_ext"}, {"st2", 80, 35, core, "i387_ext"},
    {"st3", 80, 36, core, "i387_ext"}, {"st4", 80, 37, core, "i387_ext"}, {"st5", 80, 38, core, "i387_ext"},
    {"st6", 80, 39, core, "i387_ext"}, {"st7", 80, 40, core, "i387_ext"},
    {"fctrl", 32, -1, core, "int", Role::none, "float"}, {"fstat", 32, -1, core, "int", Role::none, "float"},
    {"ftag", 32, -1, core, "int", Role::none, "float"},  {"fiseg", 32, -1, core, "int", Role::none, "float"},
    {"fioff", 32, -1, core, "int", Role::none, "float"}, {"foseg", 32, -1, core, "int", Role::none, "float"},
    {"fooff", 32, -1, core, "int", Role::none, "float"}, {"fop", 32, -1, core, "int", Role::none, "float"},
    {"orig_rax", 64, -1, linux_feature, "int", Role::none, "system"},
    {"fs_base", 64, 58, segments, "int"}, {"gs_base", 64, 59, segments, "int"},
    {"cr0", 64, -1, system_feature, "int64", Role::none, "system"},
    {"cr2", 64, -1, system_feature, "data_ptr", Role::none, "system"},
    {"cr3", 64, -1, system_feature, "int64", Role::none, "system"},
    {"cr4", 64, -1, system_feature, "int64", Role::none, "system"},
    {"idt_base", 64, -1, system_feature, "data_ptr", Role::none, "system"},
    {"kernel_gs_base", 64, -1, system_feature, "data_ptr", Role::none, "system"},
};

// NT_PRSTATUS: pr_reg at 112 is the kernel's user_regs_struct (arch/x86/include/asm/user_64.h).
constexpr NoteField prstatus[] = {
    {"r15", 112, 8},     {"r14", 120, 8}, {"r13", 128, 8}, {"r12", 136, 8}, {"rbp", 144, 8}, {"rbx", 152, 8},     {"r11", 160, 8},
    {"r10", 168, 8},     {"r9", 176, 8},  {"r8", 184, 8},  {"rax", 192, 8}, {"rcx", 200, 8}, {"rdx", 208, 8},     {"rsi", 216, 8},
    {"rdi", 224, 8},     {"orig_rax", 232, 8}, {"rip", 240, 8}, {"cs", 248, 8}, {"eflags", 256, 8}, {"rsp", 264, 8},
    {"ss", 272, 8},      {"fs_base", 280, 8},  {"gs_base", 288, 8}, {"ds", 296, 8}, {"es", 304, 8}, {"fs", 312, 8}, {"gs", 320, 8},
};
// QEMU's CPU state (QEMUCPUState, QEMU target/i386/arch_dump.c): general registers at 8, ten 24-byte segment records
// {selector, limit, flags, pad, base} at 152, control registers 0 to 4 at 392.
constexpr NoteField qemu[] = {
    {"rax", 8, 8},    {"rbx", 16, 8},   {"rcx", 24, 8},   {"rdx", 32, 8},   {"rsi", 40, 8},   {"rdi", 48, 8},   {"rsp", 56, 8},
    {"rbp", 64, 8},   {"r8", 72, 8},    {"r9", 80, 8},    {"r10", 88, 8},   {"r11", 96, 8},   {"r12", 104, 8},  {"r13", 112, 8},
    {"r14", 120, 8},  {"r15", 128, 8},  {"rip", 136, 8},  {"eflags", 144, 8}, {"cs", 152, 4}, {"ds", 176, 4},   {"es", 200, 4},
    {"fs", 224, 4},   {"fs_base", 240, 8}, {"gs", 248, 4}, {"gs_base", 264, 8}, {"ss", 272, 4}, {"idt_base", 384, 8},
    {"cr0", 392, 8},  {"cr2", 408, 8},  {"cr3", 416, 8},  {"cr4", 424, 8},  {"kernel_gs_base", 432, 8},
};
constexpr CpuNote notes[] = {
    {"CORE", 1, 328, 32, prstatus},
    {"QEMU", 0, 440, -1, qemu},
};

// __switch_to_asm pushes these (arch/x86/include/asm/switch_to.h, since v4.9).
constexpr SavedRegister linux_frame[] = {
    {"r15", "r15"}, {"r14", "r14"}, {"r13", "r13"}, {"r12", "r12"}, {"rbx", "bx"}, {"rbp", "bp"}, {"rip", "ret_addr"},
};
// FreeBSD's cpu_switch() and savectx() fill struct pcb (sys/amd64/include/pcb.h).
constexpr SavedRegister freebsd_pcb[] = {
    {"r15", {}, 0x00}, {"r14", {}, 0x08}, {"r13", {}, 0x10}, {"r12", {}, 0x18},
    {"rbp", {}, 0x20}, {"rsp", {}, 0x28}, {"rbx", {}, 0x30}, {"rip", {}, 0x38},
};
constexpr SavedFrame frames[] = {
    {"linux", "thread.sp", "inactive_task_frame", linux_frame, true},
    {.os = "freebsd", .path = "td_pcb", .record = "pcb", .regs = freebsd_pcb, .mark = "pcb_rip", .mark_at = 0x38},
};

// FreeBSD's entry code pushes struct trapframe (sys/x86/include/frame.h) and calls C with the stack pointer on it
// (sys/amd64/amd64/exception.S, apic_vector.S).
constexpr SavedRegister freebsd_trapframe[] = {
    {"rdi", {}, 0x00}, {"rsi", {}, 0x08}, {"rdx", {}, 0x10}, {"rcx", {}, 0x18}, {"r8", {}, 0x20},  {"r9", {}, 0x28},
    {"rax", {}, 0x30}, {"rbx", {}, 0x38}, {"rbp", {}, 0x40}, {"r10", {}, 0x48}, {"r11", {}, 0x50}, {"r12", {}, 0x58},
    {"r13", {}, 0x60}, {"r14", {}, 0x68}, {"r15", {}, 0x70}, {"rip", {}, 0x98}, {"cs", {}, 0xa0},  {"eflags", {}, 0xa8},
    {"rsp", {}, 0xb0}, {"ss", {}, 0xb8},
};
constexpr SavedFrame freebsd_trapframes[] = {{"freebsd", {}, "trapframe", freebsd_trapframe}};
constexpr TrapEntry freebsd_entries[] = {
    {.name = "fork_trampoline", .outermost = true},
    {.name = "fast_syscall_common", .call = true},
    {.name = "Xfast_syscall", .call = true},
    {.name = "Xfast_syscall_pti", .call = true},
    {.name = "Xint0x80_syscall", .call = true},
    {.name = "calltrap"}, {.name = "nmi_calltrap"}, {.name = "mchk_calltrap"}, {.name = "doreti"}, {.name = "doreti_ast"},
    {.name = "X", .prefix = true},  // Xtimerint and the others of the interrupt table
};
constexpr FreebsdTraps freebsd_traps{freebsd_entries, freebsd_trapframes};

constexpr std::string_view machines[] = {"x86_64", "amd64"};
constexpr std::string_view level_names[] = {"PTE", "PMD", "PUD", "P4D", "PGD"};
constexpr std::string_view root_symbols[] = {"swapper_pg_dir", "init_top_pgt", "init_level4_pgt"};
constexpr std::uint64_t image_bases[] = {0xffff'ffff'8000'0000};  // __START_KERNEL_map

// SWAPGS: while in user mode the kernel's base waits in KernelGSbase.
constexpr std::string_view per_cpu_registers[] = {"gs_base", "kernel_gs_base"};

// arch/x86/include/asm/orc_types.h: since v4.14, and since v7.1.
constexpr OrcRegister orc_others_v4_14[] = {{2, "rdx"}, {3, "rdi"}, {6, "r10"}, {7, "r13"}};
constexpr OrcRegister orc_others_v7_1[] = {{1, "rax"}, {2, "rdx"}, {5, "rdi"}, {6, "r10"}, {7, "r13"}};
constexpr OrcNumbering orc[] = {
    {.sp = 5, .fp = 4, .cfa = 1, .sp_indirect = 9, .fp_indirect = 8, .others = orc_others_v4_14},
    {.sp = 3, .fp = 4, .cfa = 8, .sp_indirect = 9, .fp_indirect = 10, .others = orc_others_v7_1},
};
constexpr SavedRegister pt_regs[] = {
    {"r15", "r15"}, {"r14", "r14"}, {"r13", "r13"}, {"r12", "r12"}, {"rbp", "bp"}, {"rbx", "bx"}, {"r11", "r11"},
    {"r10", "r10"}, {"r9", "r9"},   {"r8", "r8"},   {"rax", "ax"},  {"rcx", "cx"}, {"rdx", "dx"}, {"rsi", "si"},
    {"rdi", "di"},  {"rip", "ip"},  {"cs", "cs"},   {"eflags", "flags"}, {"rsp", "sp"}, {"ss", "ss"},
};

// CALL rel32 (SDM volume 2, "CALL"): E8 and the distance from the next instruction.
std::uint64_t call_target(std::span<const std::uint8_t> before, std::uint64_t after) {
  constexpr std::size_t length = 5;
  if (before.size() < length || before[before.size() - length] != 0xe8) return 0;
  std::uint32_t distance = 0;
  for (std::size_t i = 1; i < length; ++i) distance |= std::uint32_t{before[before.size() - length + i]} << 8 * (i - 1);
  return after + static_cast<std::uint64_t>(std::int64_t{static_cast<std::int32_t>(distance)});
}

constexpr LinuxLayout linux_layout{
    .image_bases = image_bases,
    .image_size = 0x4000'0000,   // KERNEL_IMAGE_SIZE with KASLR
    .image_align = 0x20'0000,    // CONFIG_PHYSICAL_ALIGN
    .image_offset = 0x100'0000,  // CONFIG_PHYSICAL_START
    .root_symbols = root_symbols,
    .phys_base_key = "NUMBER(phys_base)",
    .mode_key = "NUMBER(pgtable_l5_enabled)",
    .clear_key = "NUMBER(sme_mask)",
    .per_cpu_registers = per_cpu_registers,
    // Bits 11:0 of CR3 are flags or a PCID; bit 12 tells the user copy of the tables from the kernel's (PTI).
    .cpu = {"cr3", 0x000f'ffff'ffff'e000, "cr4", 1 << 12},
    .orc = orc,
    .interrupt_frame = {"pt_regs", pt_regs, "ip", "entry_"},
    .call_target = call_target,
};

}  // namespace

extern const Arch x86_64;
constexpr Arch x86_64{
    .name = "x86_64",
    .gdb_name = "i386:x86-64",
    .triple = "x86_64",
    .machines = machines,
    .elf_machine = 62,  // EM_X86_64
    .pointer_bytes = 8,
    .endian = std::endian::little,
    .page_size = 4096,
    .paging = paging,
    .registers = registers,
    .notes = notes,
    .frames = frames,
    .level_names = level_names,
    .linux_layout = &linux_layout,
    .freebsd_traps = &freebsd_traps,
};

}  // namespace kvm::arch
