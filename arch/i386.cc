// 32-bit x86 (IA-32).  Odd here: two page-table formats, of 4-byte entries and, with PAE, of 8-byte ones, whose top level says
// nothing about permissions; the kernel's image lies in its linear map and moves with it.
// Intel SDM volume 3, sections 4.3 "32-Bit Paging" and 4.4 "PAE Paging".
#include "arch/arch.h"

namespace kvm::arch {
namespace {

constexpr Match present{0x1, 0x1};
constexpr Match no_page_size{0x80, 0x00};  // PS (bit 7) clear: the entry points to a table

constexpr Level two_level[] = {{22, 10, present, no_page_size}, {12, 10, present, never}};
constexpr Level pae[] = {{30, 2, present, always, false}, {21, 9, present, no_page_size}, {12, 9, present, never}};

// R/W, U/S, and with PAE XD.
constexpr Rights rights_32{{{0x2, 0x2}}, {}, {{0x4, 0x4}}};
constexpr Rights rights_pae{{{0x2, 0x2}}, {{1ull << 63, 0}}, {{0x4, 0x4}}};
constexpr std::uint64_t pae_frame = 0x000f'ffff'ffff'f000;

// PSE-36: bits 20:13 of a 4 MiB page's entry are address bits 39:32.
std::uint64_t frame_32(std::uint64_t entry, const Level& level) {
  const bool large = level.shift == 22 && !no_page_size(entry);
  return large ? (entry & 0xffc0'0000) | (entry & 0x001f'e000) << 19 : entry & 0xffff'f000;
}

// Linux's PROT_NONE is bit 8 of an entry that is not present; with PAE the frame is stored inverted (pgtable-invert.h; "No
// inverted PFNs on 2 level page tables", pgtable-2level.h).
std::uint64_t held_32(std::uint64_t entry) { return (entry & 0x101) == 0x100 ? entry | 0x1 : 0; }
std::uint64_t held_pae(std::uint64_t entry) { return (entry & 0x101) == 0x100 ? (entry ^ pae_frame) | 0x1 : 0; }

constexpr PagingMode paging[] = {
    {"pae", 8, 32, Halves::one_root_unsigned, pae_frame, 0, pae, rights_pae, rights_pae, nullptr, held_pae},
    {"2-level", 4, 32, Halves::one_root_unsigned, 0, 0, two_level, rights_32, rights_32, frame_32, held_32},
};

// gdb wants the x87 registers described although no kernel dump has them.  DWARF: System V ABI, Intel386 supplement, table 2.14.
constexpr std::string_view core = "org.gnu.gdb.i386.core", linux_feature = "org.gnu.gdb.i386.linux",
                           system_feature = "org.inquest.x86.system";
constexpr Register registers[] = {
    {"eax", 32, 0, core, "int32"}, {"ecx", 32, 1, core, "int32"}, {"edx", 32, 2, core, "int32"}, {"ebx", 32, 3, core, "int32"},
    {"esp", 32, 4, core, "data_ptr", Role::sp}, {"ebp", 32, 5, core, "data_ptr", Role::fp},
    {"esi", 32, 6, core, "int32"}, {"edi", 32, 7, core, "int32"},
    {"eip", 32, 8, core, "code_ptr", Role::pc}, {"eflags", 32, 9, core, "int32", Role::flags},
    {"cs", 32, 41, core, "int32"}, {"ss", 32, 42, core, "int32"}, {"ds", 32, 43, core, "int32"},
    {"es", 32, 40, core, "int32"}, {"fs", 32, 44, core, "int32"}, {"gs", 32, 45, core, "int32"},
    {"st0", 80, 11, core, "i387_ext"}, {"st1", 80, 12, core, "i387_ext"}, {"st2", 80, 13, core, "i387_ext"},
    {"st3", 80, 14, core, "i387_ext"}, {"st4", 80, 15, core, "i387_ext"}, {"st5", 80, 16, core, "i387_ext"},
    {"st6", 80, 17, core, "i387_ext"}, {"st7", 80, 18, core, "i387_ext"},
    {"fctrl", 32, -1, core, "int", Role::none, "float"}, {"fstat", 32, -1, core, "int", Role::none, "float"},
    {"ftag", 32, -1, core, "int", Role::none, "float"},  {"fiseg", 32, -1, core, "int", Role::none, "float"},
    {"fioff", 32, -1, core, "int", Role::none, "float"}, {"foseg", 32, -1, core, "int", Role::none, "float"},
    {"fooff", 32, -1, core, "int", Role::none, "float"}, {"fop", 32, -1, core, "int", Role::none, "float"},
    {"orig_eax", 32, -1, linux_feature, "int", Role::none, "system"},
    {"fs_base", 32, -1, system_feature, "int", Role::none, "system"},
    {"gs_base", 32, -1, system_feature, "int", Role::none, "system"},
    {"cr0", 32, -1, system_feature, "int32", Role::none, "system"},
    {"cr2", 32, -1, system_feature, "data_ptr", Role::none, "system"},
    {"cr3", 32, -1, system_feature, "int32", Role::none, "system"},
    {"cr4", 32, -1, system_feature, "int32", Role::none, "system"},
};

// NT_PRSTATUS: pr_reg at 72 is the kernel's user_regs_struct (arch/x86/include/asm/user_32.h).
constexpr NoteField prstatus[] = {
    {"ebx", 72, 4}, {"ecx", 76, 4}, {"edx", 80, 4},  {"esi", 84, 4},  {"edi", 88, 4},       {"ebp", 92, 4},  {"eax", 96, 4},
    {"ds", 100, 4}, {"es", 104, 4}, {"fs", 108, 4},  {"gs", 112, 4},  {"orig_eax", 116, 4}, {"eip", 120, 4}, {"cs", 124, 4},
    {"eflags", 128, 4}, {"esp", 132, 4}, {"ss", 136, 4},
};
// QEMU's CPU state is that of 64-bit guests, whose lower halves count (QEMU target/i386/arch_dump.c).
constexpr NoteField qemu[] = {
    {"eax", 8, 8},    {"ebx", 16, 8},   {"ecx", 24, 8},   {"edx", 32, 8},  {"esi", 40, 8},      {"edi", 48, 8}, {"esp", 56, 8},
    {"ebp", 64, 8},   {"eip", 136, 8},  {"eflags", 144, 8}, {"cs", 152, 4}, {"ds", 176, 4},     {"es", 200, 4}, {"fs", 224, 4},
    {"fs_base", 240, 8}, {"gs", 248, 4}, {"gs_base", 264, 8}, {"ss", 272, 4}, {"cr0", 392, 8},  {"cr2", 408, 8}, {"cr3", 416, 8},
    {"cr4", 424, 8},
};
constexpr CpuNote notes[] = {
    {"CORE", 1, 140, 24, prstatus},
    {"QEMU", 0, 432, -1, qemu},
};

// __switch_to_asm pushes these (arch/x86/include/asm/switch_to.h, since v4.9).
constexpr SavedRegister linux_frame[] = {{"esi", "si"}, {"edi", "di"}, {"ebx", "bx"}, {"ebp", "bp"}, {"eip", "ret_addr"}};
// FreeBSD's cpu_switch() and savectx() fill struct pcb (sys/i386/include/pcb.h).
constexpr SavedRegister freebsd_pcb[] = {
    {"edi", {}, 0x00}, {"esi", {}, 0x04}, {"ebp", {}, 0x08}, {"esp", {}, 0x0c}, {"ebx", {}, 0x10}, {"eip", {}, 0x14},
};
constexpr SavedFrame frames[] = {
    {"linux", "thread.sp", "inactive_task_frame", linux_frame, true},
    {.os = "freebsd", .path = "td_pcb", .record = "pcb", .regs = freebsd_pcb, .mark = "pcb_eip", .mark_at = 0x14},
};

// FreeBSD's entry code pushes struct trapframe (sys/x86/include/frame.h).  Traps, system calls and the timer pass its address, the
// vectors of devices a number and its address; the others nothing (sys/i386/i386/exception.s, apic_vector.s).
constexpr SavedRegister freebsd_trapframe[] = {
    {"fs", {}, 0x00},  {"es", {}, 0x04},  {"ds", {}, 0x08},  {"edi", {}, 0x0c}, {"esi", {}, 0x10}, {"ebp", {}, 0x14}, {"ebx", {}, 0x1c},
    {"edx", {}, 0x20}, {"ecx", {}, 0x24}, {"eax", {}, 0x28}, {"eip", {}, 0x34}, {"cs", {}, 0x38},  {"eflags", {}, 0x3c}, {"esp", {}, 0x40},
    {"ss", {}, 0x44},
};
constexpr SavedFrame freebsd_trapframes[] = {{"freebsd", {}, "trapframe", freebsd_trapframe}};
constexpr TrapEntry freebsd_entries[] = {
    {.name = "fork_trampoline", .outermost = true},
    {.name = "Xlcall_syscall", .offset = 4, .call = true},
    {.name = "Xint0x80_syscall", .offset = 4, .call = true},
    {.name = "calltrap", .offset = 4}, {.name = "doreti_ast", .offset = 4}, {.name = "Xtimerint", .offset = 4},
    {.name = "Xcpustop"}, {.name = "Xrendezvous"}, {.name = "Xipi_intr_bitmap_handler"}, {.name = "Xlazypmap"},
    {.name = "X", .offset = 8, .prefix = true},
};
// They run in a copy that is mapped for user code, too (setidt_disp, sys/i386/i386/machdep.c).
constexpr FreebsdTraps freebsd_traps{.entries = freebsd_entries, .frames = freebsd_trapframes, .moved = "setidt_disp",
                                     .user_register = "cs", .user_mask = 3, .users_stack_only = true};

constexpr std::string_view machines[] = {"i386", "i486", "i586", "i686"};
constexpr std::string_view level_names[] = {"PTE", "PMD", "PGD"};
constexpr std::string_view root_symbols[] = {"swapper_pg_dir"};
constexpr std::uint64_t page_offsets[] = {0xc000'0000, 0xb000'0000, 0x8000'0000, 0x7800'0000, 0x4000'0000};  // VMSPLIT_*
constexpr std::string_view per_cpu_registers[] = {"fs_base", "gs_base"};  // gs until v5.17 where the stack protector is off

constexpr LinuxLayout linux_layout{
    .image_bases = page_offsets,
    .image_align = 0x2000,  // CONFIG_PHYSICAL_ALIGN, at least
    .root_symbols = root_symbols,
    .per_cpu_registers = per_cpu_registers,
};

}  // namespace

extern const Arch i386;
constexpr Arch i386{
    .name = "i386",
    .gdb_name = "i386",
    .triple = "i386",
    .machines = machines,
    .elf_machine = 3,  // EM_386
    .pointer_bytes = 4,
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
