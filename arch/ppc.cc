// 32-bit Power (AIM and Book-E), big-endian.  Odd here: no paging mode.  The processors keep hashed tables in segments (AIM) or no tables
// at all (Book-E), each with a software format of its own; FreeBSD's dumps of such machines store memory by virtual address, for which
// none is needed (lib/libkvm/kvm_powerpc.c).  Only FreeBSD is known.
// Power ISA 2.07B; "Power Architecture 32-bit Application Binary Interface Supplement 1.0".
#include "arch/arch.h"

namespace kvm::arch {
namespace {

// gdb wants these in its own feature (gdb manual, "PowerPC Features"), and needs 32 bits of each.  DWARF numbers are those that gcc and
// clang write, of 64-bit Power as well; the pc has none, and 200 is nothing there.
constexpr std::string_view core = "org.gnu.gdb.power.core", system_feature = "org.inquest.power.system";
constexpr Register registers[] = {
    {"r0", 32, 0, core, "int32"}, {"r1", 32, 1, core, "data_ptr", Role::sp}, {"r2", 32, 2, core, "int32"}, {"r3", 32, 3, core, "int32"}, {"r4", 32, 4, core, "int32"},
    {"r5", 32, 5, core, "int32"}, {"r6", 32, 6, core, "int32"}, {"r7", 32, 7, core, "int32"}, {"r8", 32, 8, core, "int32"}, {"r9", 32, 9, core, "int32"},
    {"r10", 32, 10, core, "int32"}, {"r11", 32, 11, core, "int32"}, {"r12", 32, 12, core, "int32"}, {"r13", 32, 13, core, "int32"}, {"r14", 32, 14, core, "int32"},
    {"r15", 32, 15, core, "int32"}, {"r16", 32, 16, core, "int32"}, {"r17", 32, 17, core, "int32"}, {"r18", 32, 18, core, "int32"}, {"r19", 32, 19, core, "int32"},
    {"r20", 32, 20, core, "int32"}, {"r21", 32, 21, core, "int32"}, {"r22", 32, 22, core, "int32"}, {"r23", 32, 23, core, "int32"}, {"r24", 32, 24, core, "int32"},
    {"r25", 32, 25, core, "int32"}, {"r26", 32, 26, core, "int32"}, {"r27", 32, 27, core, "int32"}, {"r28", 32, 28, core, "int32"}, {"r29", 32, 29, core, "int32"},
    {"r30", 32, 30, core, "int32"}, {"r31", 32, 31, core, "int32"},
    {"pc", 32, 200, core, "code_ptr", Role::pc}, {"msr", 32, -1, core, "uint32", Role::flags},
    {"cr", 32, -1, core, "uint32"}, {"ctr", 32, 66, core, "uint32"}, {"lr", 32, 65, core, "code_ptr", Role::ra}, {"xer", 32, 76, core, "uint32"},
    {"dar", 32, -1, system_feature, "data_ptr", Role::none, "system"}, {"dsisr", 32, -1, system_feature, "int32", Role::none, "system"},
};

// NT_PRSTATUS: pr_reg at 72 is Linux's pt_regs (arch/powerpc/include/uapi/asm/ptrace.h) of 48 words (BFD's ppc_elf_grok_prstatus).
constexpr NoteField prstatus[] = {
    {"r0", 72, 4},   {"r1", 76, 4},   {"r2", 80, 4},   {"r3", 84, 4},   {"r4", 88, 4},   {"r5", 92, 4},   {"r6", 96, 4},   {"r7", 100, 4},
    {"r8", 104, 4},  {"r9", 108, 4},  {"r10", 112, 4}, {"r11", 116, 4}, {"r12", 120, 4}, {"r13", 124, 4}, {"r14", 128, 4}, {"r15", 132, 4},
    {"r16", 136, 4}, {"r17", 140, 4}, {"r18", 144, 4}, {"r19", 148, 4}, {"r20", 152, 4}, {"r21", 156, 4}, {"r22", 160, 4}, {"r23", 164, 4},
    {"r24", 168, 4}, {"r25", 172, 4}, {"r26", 176, 4}, {"r27", 180, 4}, {"r28", 184, 4}, {"r29", 188, 4}, {"r30", 192, 4}, {"r31", 196, 4},
    {"pc", 200, 4},  {"msr", 204, 4}, {"ctr", 212, 4}, {"lr", 216, 4},  {"xer", 220, 4}, {"cr", 224, 4},  {"dar", 236, 4}, {"dsisr", 240, 4},
};
constexpr CpuNote notes[] = {{"CORE", 1, 264, 24, prstatus}};

// FreeBSD's cpu_switch() and savectx() fill struct pcb (sys/powerpc/include/pcb.h): r12 to r31, cr, sp, toc, lr.
constexpr SavedRegister freebsd_pcb[] = {
    {"r12", {}, 0x00}, {"r13", {}, 0x04}, {"r14", {}, 0x08}, {"r15", {}, 0x0c}, {"r16", {}, 0x10}, {"r17", {}, 0x14}, {"r18", {}, 0x18},
    {"r19", {}, 0x1c}, {"r20", {}, 0x20}, {"r21", {}, 0x24}, {"r22", {}, 0x28}, {"r23", {}, 0x2c}, {"r24", {}, 0x30}, {"r25", {}, 0x34},
    {"r26", {}, 0x38}, {"r27", {}, 0x3c}, {"r28", {}, 0x40}, {"r29", {}, 0x44}, {"r30", {}, 0x48}, {"r31", {}, 0x4c},
    {"cr", {}, 0x50},  {"r1", {}, 0x54},  {"lr", {}, 0x5c},  {"pc", {}, 0x5c},  // r2 is another register here, and pcb_toc not filled
};
constexpr SavedFrame frames[] = {
    {.os = "freebsd", .path = "td_pcb", .record = "pcb", .regs = freebsd_pcb, .mark = "pcb_lr", .mark_at = 0x5c},
};

// FreeBSD's handlers save struct trapframe (sys/powerpc/include/frame.h) above a stack frame's header of two words (FRAMELEN in
// sys/powerpc/aim/trap_subr32.S).
constexpr SavedRegister freebsd_trapframe[] = {
    {"r0", {}, 0x00},  {"r1", {}, 0x04},  {"r2", {}, 0x08},  {"r3", {}, 0x0c},  {"r4", {}, 0x10},  {"r5", {}, 0x14},  {"r6", {}, 0x18},
    {"r7", {}, 0x1c},  {"r8", {}, 0x20},  {"r9", {}, 0x24},  {"r10", {}, 0x28}, {"r11", {}, 0x2c}, {"r12", {}, 0x30}, {"r13", {}, 0x34},
    {"r14", {}, 0x38}, {"r15", {}, 0x3c}, {"r16", {}, 0x40}, {"r17", {}, 0x44}, {"r18", {}, 0x48}, {"r19", {}, 0x4c}, {"r20", {}, 0x50},
    {"r21", {}, 0x54}, {"r22", {}, 0x58}, {"r23", {}, 0x5c}, {"r24", {}, 0x60}, {"r25", {}, 0x64}, {"r26", {}, 0x68}, {"r27", {}, 0x6c},
    {"r28", {}, 0x70}, {"r29", {}, 0x74}, {"r30", {}, 0x78}, {"r31", {}, 0x7c},
    {"lr", {}, 0x80},  {"cr", {}, 0x84},  {"xer", {}, 0x88}, {"ctr", {}, 0x8c}, {"pc", {}, 0x90},  {"msr", {}, 0x94},
};
constexpr SavedFrame freebsd_trapframes[] = {{"freebsd", {}, "trapframe", freebsd_trapframe}};
constexpr TrapEntry freebsd_entries[] = {
    {.name = "fork_trampoline", .outermost = true},
    {.name = "trapexit", .offset = 8}, {.name = "trapagain", .offset = 8}, {.name = "asttrapexit", .offset = 8}, {.name = "dbtrap", .offset = 8},
};
constexpr FreebsdTraps freebsd_traps{.entries = freebsd_entries, .frames = freebsd_trapframes,
                                     .user_register = "msr", .user_mask = 0x4000, .pc_column = 67};  // MSR[PR]

constexpr std::string_view machines[] = {"ppc", "powerpc"};

}  // namespace

extern const Arch ppc;
constexpr Arch ppc{
    .name = "ppc",
    .gdb_name = "powerpc:common",
    .triple = "powerpc",
    .machines = machines,
    .elf_machine = 20,  // EM_PPC
    .pointer_bytes = 4,
    .endian = std::endian::big,
    .page_size = 4096,
    .registers = registers,
    .notes = notes,
    .frames = frames,
    .freebsd_traps = &freebsd_traps,
};

}  // namespace kvm::arch
