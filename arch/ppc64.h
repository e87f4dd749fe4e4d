// 64-bit Power (Book3S), shared by the rows of its two byte orders.  Odd here: two kinds of address translation; with radix tables the
// processor walks what Linux walks, with hashed ones Linux keeps tables of the same form for itself, of vmalloc's addresses
// only.  The linear map is at the start of the upper half and needs no tables with hashes.  Entries are big-endian in either.
// Power ISA 3.1B, Book III, 6.7.12 "Radix Tree Translation"; arch/powerpc/include/asm/book3s/64/{pgtable,hash,radix}*.h.
#pragma once

#include "arch/arch.h"

namespace kvm::arch::power {

// V, bit 63, and L, bit 62: a page.  The names count as Linux does, from the right.
inline constexpr Match valid{1ull << 63, 1ull << 63}, table{1ull << 62, 0}, page_only{3ull << 62, 3ull << 62};

// The index bits of each level are the kernel's variables (LinuxLayout::index_bits_symbols); these are all there were since v4.7.
inline constexpr Level radix_64k[] = {{39, 13, valid, table, false}, {30, 9, valid, table, false}, {21, 9, valid, table, false},
                                      {16, 5, page_only, never, false}};
inline constexpr Level radix_4k[] = {{39, 13, valid, table, false}, {30, 9, valid, table, false}, {21, 9, valid, table, false},
                                     {12, 9, page_only, never, false}};
inline constexpr Level hash_64k[] = {{44, 8, valid, table, false}, {34, 10, valid, table, false}, {24, 10, valid, table, false},
                                     {16, 8, page_only, never, false}};
inline constexpr Level hash_64k_49[] = {{41, 8, valid, table, false}, {34, 7, valid, table, false}, {24, 10, valid, table, false},
                                        {16, 8, page_only, never, false}};
inline constexpr Level hash_64k_46[] = {{34, 12, valid, table, false}, {29, 5, valid, table, false}, {24, 5, valid, table, false},
                                        {16, 8, page_only, never, false}};
inline constexpr Level hash_4k[] = {{37, 9, valid, table, false}, {28, 9, valid, table, false}, {21, 7, valid, table, false},
                                    {12, 9, page_only, never, false}};

// EAA: bit 1 write, bit 0 execute, bit 3 for the kernel only.
inline constexpr Rights page{{{0x2, 0x2}}, {{0x1, 0x1}}, {{0x8, 0}}};

// A table is aligned to its size, of 256 bytes at least.  Hashes' entries use the frame's highest bits for themselves
// (_PAGE_PA_MAX is 53).
constexpr std::uint64_t radix_frame(std::uint64_t entry, const Level& level) {
  return entry & (table(entry) && level.shift > 16 ? 0x0fff'ffff'ffff'ff00 : 0x01ff'ffff'ffff'f000);
}
constexpr std::uint64_t hash_frame(std::uint64_t entry, const Level& level) {
  return entry & (table(entry) && level.shift > 16 ? 0x0fff'ffff'ffff'ff00 : 0x001f'ffff'ffff'f000);
}

// While a large page is split up, Linux clears V and sets bit 61 (_PAGE_INVALID).
constexpr std::uint64_t held(std::uint64_t entry) {
  return (entry & 7ull << 61) == 3ull << 61 ? entry | 1ull << 63 : 0;
}

// With hashes the linear map is in no table.  It ends below where vmalloc begins.
inline constexpr Window linear_64k[] = {{0xc000'0000'0000'0000, 0xc007'ffff'ffff'ffff, 0}};
inline constexpr Window linear_4k[] = {{0xc000'0000'0000'0000, 0xc000'0fff'ffff'ffff, 0}};
inline constexpr Window linear_region[] = {{0xc000'0000'0000'0000, 0xcfff'ffff'ffff'ffff, 0}};

constexpr PagingMode radix(std::string_view name, std::span<const Level> levels) {
  PagingMode mode{name, 8, 52, Halves::two_roots, 0, 0, levels, page, {}, radix_frame, held};
  mode.upper_first = 0xc000'0000'0000'0000;
  return mode;
}
constexpr PagingMode hash(std::string_view name, std::uint8_t va_bits, std::span<const Level> levels, std::uint64_t upper,
                          std::span<const Window> linear) {
  PagingMode mode{name, 8, va_bits, Halves::two_roots, 0, 0, levels, page, {}, hash_frame, held};
  mode.upper_first = upper;
  mode.windows = linear;
  return mode;
}

// Radix first: its tables have the linear map, which shows whether they are right.  Until v4.16, and v5.1 with 4 KiB, vmalloc was a
// region of its own.
inline constexpr PagingMode paging[] = {
    radix("radix-64k", radix_64k),
    radix("radix-4k", radix_4k),
    hash("hash-64k", 52, hash_64k, 0xc000'0000'0000'0000, linear_64k),
    hash("hash-64k-49", 49, hash_64k_49, 0xd000'0000'0000'0000, linear_region),
    hash("hash-64k-46", 46, hash_64k_46, 0xd000'0000'0000'0000, linear_region),
    hash("hash-4k", 46, hash_4k, 0xc000'0000'0000'0000, linear_4k),
};

// DWARF: 64-bit ELF V2 ABI Specification, Power Architecture, table 2.20.  It numbers no pc; 200 is nothing there.
// gdb goes by names; lldb 19's EmulateInstructionPPC64 takes the 36th register for ctr and the 37th for lr.
inline constexpr std::string_view core = "org.gnu.gdb.power.core", linux_feature = "org.gnu.gdb.power.linux",
                                  system_feature = "org.inquest.power.system";
inline constexpr Register registers[] = {
    {"r0", 64, 0, core}, {"r1", 64, 1, core, "data_ptr", Role::sp},
    {"r2", 64, 2, core},   {"r3", 64, 3, core},   {"r4", 64, 4, core},   {"r5", 64, 5, core},   {"r6", 64, 6, core},
    {"r7", 64, 7, core},   {"r8", 64, 8, core},   {"r9", 64, 9, core},   {"r10", 64, 10, core}, {"r11", 64, 11, core},
    {"r12", 64, 12, core}, {"r13", 64, 13, core}, {"r14", 64, 14, core}, {"r15", 64, 15, core}, {"r16", 64, 16, core},
    {"r17", 64, 17, core}, {"r18", 64, 18, core}, {"r19", 64, 19, core}, {"r20", 64, 20, core}, {"r21", 64, 21, core},
    {"r22", 64, 22, core}, {"r23", 64, 23, core}, {"r24", 64, 24, core}, {"r25", 64, 25, core}, {"r26", 64, 26, core},
    {"r27", 64, 27, core}, {"r28", 64, 28, core}, {"r29", 64, 29, core}, {"r30", 64, 30, core}, {"r31", 64, 31, core, "int64", Role::fp},
    {"pc", 64, 200, core, "code_ptr", Role::pc}, {"msr", 64, -1, core, "uint64", Role::flags},
    {"cr", 32, -1, core, "uint32"}, {"ctr", 64, 66, core, "uint64"}, {"lr", 64, 65, core, "code_ptr", Role::ra},
    {"xer", 32, 76, core, "uint32"},
    {"orig_r3", 64, -1, linux_feature, "int", Role::none, "system"}, {"trap", 64, -1, linux_feature, "int", Role::none, "system"},
    {"dar", 64, -1, system_feature, "data_ptr", Role::none, "system"}, {"dsisr", 64, -1, system_feature, "int64", Role::none, "system"},
};

// NT_PRSTATUS: pr_reg at 112 is the kernel's pt_regs (arch/powerpc/include/uapi/asm/ptrace.h), 48 words of which 44 are used.
inline constexpr NoteField prstatus[] = {
    {"r0", 112, 8},  {"r1", 120, 8},  {"r2", 128, 8},  {"r3", 136, 8},  {"r4", 144, 8},  {"r5", 152, 8},  {"r6", 160, 8},
    {"r7", 168, 8},  {"r8", 176, 8},  {"r9", 184, 8},  {"r10", 192, 8}, {"r11", 200, 8}, {"r12", 208, 8}, {"r13", 216, 8},
    {"r14", 224, 8}, {"r15", 232, 8}, {"r16", 240, 8}, {"r17", 248, 8}, {"r18", 256, 8}, {"r19", 264, 8}, {"r20", 272, 8},
    {"r21", 280, 8}, {"r22", 288, 8}, {"r23", 296, 8}, {"r24", 304, 8}, {"r25", 312, 8}, {"r26", 320, 8}, {"r27", 328, 8},
    {"r28", 336, 8}, {"r29", 344, 8}, {"r30", 352, 8}, {"r31", 360, 8},
    {"pc", 368, 8}, {"msr", 376, 8}, {"orig_r3", 384, 8}, {"ctr", 392, 8}, {"lr", 400, 8}, {"xer", 408, 8}, {"cr", 416, 8},
    {"trap", 432, 8}, {"dar", 440, 8}, {"dsisr", 448, 8},
};
inline constexpr CpuNote notes[] = {{"CORE", 1, 496, 32, prstatus}};

// _switch() pushes pt_regs with what its caller must keep (arch/powerpc/kernel/entry_64.S); nip is where it returns to.
inline constexpr SavedRegister linux_frame[] = {
    {"r14", "gpr", 112}, {"r15", "gpr", 120}, {"r16", "gpr", 128}, {"r17", "gpr", 136}, {"r18", "gpr", 144}, {"r19", "gpr", 152},
    {"r20", "gpr", 160}, {"r21", "gpr", 168}, {"r22", "gpr", 176}, {"r23", "gpr", 184}, {"r24", "gpr", 192}, {"r25", "gpr", 200},
    {"r26", "gpr", 208}, {"r27", "gpr", 216}, {"r28", "gpr", 224}, {"r29", "gpr", 232}, {"r30", "gpr", 240}, {"r31", "gpr", 248},
    {"pc", "nip"}, {"lr", "nip"}, {"cr", "ccr"},
};
// FreeBSD's cpu_switch() and savectx() fill struct pcb (sys/powerpc/include/pcb.h); 9.x had no pcb_toc, and is not known here.
inline constexpr SavedRegister freebsd_pcb[] = {
    {"r12", {}, 0x00}, {"r13", {}, 0x08}, {"r14", {}, 0x10}, {"r15", {}, 0x18}, {"r16", {}, 0x20}, {"r17", {}, 0x28},
    {"r18", {}, 0x30}, {"r19", {}, 0x38}, {"r20", {}, 0x40}, {"r21", {}, 0x48}, {"r22", {}, 0x50}, {"r23", {}, 0x58},
    {"r24", {}, 0x60}, {"r25", {}, 0x68}, {"r26", {}, 0x70}, {"r27", {}, 0x78}, {"r28", {}, 0x80}, {"r29", {}, 0x88},
    {"r30", {}, 0x90}, {"r31", {}, 0x98},
    {"cr", {}, 0xa0}, {"r1", {}, 0xa8}, {"r2", {}, 0xb0}, {"lr", {}, 0xb8}, {"pc", {}, 0xb8},
};
inline constexpr SavedFrame frames[] = {
    {"linux", "thread.ksp", "pt_regs", linux_frame, true, 0, true},
    {.os = "freebsd", .path = "td_pcb", .record = "pcb", .regs = freebsd_pcb, .mark = "pcb_lr", .mark_at = 0xb8},
};

// FreeBSD's handlers save struct trapframe (sys/powerpc/include/frame.h) above a stack frame's header (FRAMELEN in
// sys/powerpc/aim/trap_subr64.S).
inline constexpr SavedRegister freebsd_trapframe[] = {
    {"r0", {}, 0x00}, {"r1", {}, 0x08}, {"r2", {}, 0x10}, {"r3", {}, 0x18}, {"r4", {}, 0x20}, {"r5", {}, 0x28}, {"r6", {}, 0x30},
    {"r7", {}, 0x38}, {"r8", {}, 0x40}, {"r9", {}, 0x48}, {"r10", {}, 0x50}, {"r11", {}, 0x58}, {"r12", {}, 0x60}, {"r13", {}, 0x68},
    {"r14", {}, 0x70}, {"r15", {}, 0x78}, {"r16", {}, 0x80}, {"r17", {}, 0x88}, {"r18", {}, 0x90}, {"r19", {}, 0x98},
    {"r20", {}, 0xa0}, {"r21", {}, 0xa8}, {"r22", {}, 0xb0}, {"r23", {}, 0xb8}, {"r24", {}, 0xc0}, {"r25", {}, 0xc8},
    {"r26", {}, 0xd0}, {"r27", {}, 0xd8}, {"r28", {}, 0xe0}, {"r29", {}, 0xe8}, {"r30", {}, 0xf0}, {"r31", {}, 0xf8},
    {"lr", {}, 0x100}, {"cr", {}, 0x108}, {"xer", {}, 0x110}, {"ctr", {}, 0x118}, {"pc", {}, 0x120},
    {"msr", {}, 0x128},
};
inline constexpr SavedFrame freebsd_trapframes[] = {{"freebsd", {}, "trapframe", freebsd_trapframe}};
inline constexpr TrapEntry freebsd_entries[] = {
    {.name = "fork_trampoline", .outermost = true},
    {.name = "trapexit", .offset = 48}, {.name = "trapagain", .offset = 48}, {.name = "asttrapexit", .offset = 48}, {.name = "dbtrap", .offset = 48},
};
inline constexpr FreebsdTraps freebsd_traps{.entries = freebsd_entries, .frames = freebsd_trapframes,
                                            .user_register = "msr", .user_mask = 0x4000, .pc_column = 67};  // MSR[PR]

inline constexpr SavedRegister pt_regs[] = {
    {"pc", "nip"}, {"lr", "link"}, {"ctr", "ctr"},
    {"r0", "gpr", 0},    {"r1", "gpr", 8},    {"r2", "gpr", 16},   {"r3", "gpr", 24},   {"r4", "gpr", 32},   {"r5", "gpr", 40},
    {"r6", "gpr", 48},   {"r7", "gpr", 56},   {"r8", "gpr", 64},   {"r9", "gpr", 72},   {"r10", "gpr", 80},  {"r11", "gpr", 88},
    {"r12", "gpr", 96},  {"r13", "gpr", 104}, {"r14", "gpr", 112}, {"r15", "gpr", 120}, {"r16", "gpr", 128}, {"r17", "gpr", 136},
    {"r18", "gpr", 144}, {"r19", "gpr", 152}, {"r20", "gpr", 160}, {"r21", "gpr", 168}, {"r22", "gpr", 176}, {"r23", "gpr", 184},
    {"r24", "gpr", 192}, {"r25", "gpr", 200}, {"r26", "gpr", 208}, {"r27", "gpr", 216}, {"r28", "gpr", 224}, {"r29", "gpr", 232},
    {"r30", "gpr", 240}, {"r31", "gpr", 248},
};
// STACK_FRAME_OVERHEAD, for switched-out tasks and interrupts alike; little-endian since v6.2 STACK_FRAME_MIN_SIZE, and 16 more.
inline constexpr InterruptFrame::Depth depths[] = {{112, 112}, {32, 48}};
inline constexpr std::string_view entry_code[] = {
    "system_call_common", "system_call_vectored_common", "system_call_vectored_sigill",
    // Of arch/powerpc/kernel/exceptions-64s.S.
    "system_reset_common", "machine_check_common", "data_access_common", "data_access_slb_common", "instruction_access_common",
    "instruction_access_slb_common", "hardware_interrupt_common", "alignment_common", "program_check_common", "fp_unavailable_common",
    "decrementer_common", "doorbell_super_common", "trap_0b_common", "single_step_common", "h_data_storage_common",
    "h_instr_storage_common", "emulation_assist_common", "hmi_exception_common", "h_doorbell_common", "h_virt_irq_common",
    "performance_monitor_common", "altivec_unavailable_common", "vsx_unavailable_common", "facility_unavailable_common",
    "h_facility_unavailable_common", "instruction_breakpoint_common", "altivec_assist_common", "soft_nmi_common",
};
inline constexpr std::string_view outermost[] = {"ret_from_fork", "ret_from_fork_scv", "ret_from_kernel_thread", "ret_from_kernel_user_thread",
                                                 "start_here_common", "start_secondary_prolog"};

// Power ISA 3.1B, Book I, 1.6 "Instruction Formats", and appendix F, "Opcode Maps"; 64-bit ELF V2 ABI, 2.2 "Function Calling Sequence".
// Bits are counted from the right here.
inline constexpr unsigned r0 = 0, stack = 1, fp = 31;
inline constexpr std::int32_t link_save = 16;  // from the caller's stack pointer
constexpr unsigned bits(std::uint32_t word, unsigned high, unsigned low) { return word >> low & ((2u << (high - low)) - 1); }
constexpr std::int32_t extended(std::uint32_t value, unsigned width) { return static_cast<std::int32_t>(value << (32 - width)) >> (32 - width); }

// A value that nobody can follow.
constexpr FrameStep written(unsigned to, FrameStep::Sp if_sp = FrameStep::Sp::varied) {
  return {.sp = to == stack ? if_sp : FrameStep::Sp::kept, .fp = to == fp ? FrameStep::Fp::changed : FrameStep::Fp::kept,
          .link = to == r0 ? FrameStep::Link::copy_changed : FrameStep::Link::kept};
}

constexpr FrameStep add(unsigned to, unsigned from, std::int32_t amount) {
  FrameStep step = written(to, FrameStep::Sp::switched);
  step.amount = amount;
  if (to == stack && (from == stack || from == fp)) step.sp = from == stack ? FrameStep::Sp::moved : FrameStep::Sp::from_fp;
  if (to == fp && from == stack) step.fp = FrameStep::Fp::from_sp;
  return step;
}

constexpr FrameStep to_or_from(FrameStep::Words words, unsigned reg, unsigned base, std::int32_t at) {
  const bool load = words == FrameStep::Words::restored;
  if (load && reg == stack) return {.sp = base == stack && at == 0 ? FrameStep::Sp::restored : FrameStep::Sp::varied};  // the back chain
  if ((reg != r0 && reg != fp) || (base != stack && base != fp)) return load ? written(reg) : FrameStep{};
  FrameStep step{.words = words, .by_fp = base == fp};
  (reg == r0 ? step.copy_at : step.fp_at) = at;
  return step;
}

// bcl 20,31,.+4 asks for its own address.  A conditional return is one that need not be.
constexpr FrameStep branch_step(std::uint32_t word, std::uint64_t address) {
  using enum FrameStep::Flow;
  const bool link = word & 1, far = word >> 26 == 18, always = far || (bits(word, 25, 21) & 20) == 20;
  const std::int32_t offset = far ? extended(word & 0x03ff'fffc, 26) : extended(word & 0xfffc, 16);
  const std::uint64_t target = (word & 2 ? 0 : address) + static_cast<std::uint64_t>(std::int64_t{offset});
  if (link && !far && always && target == address + 4) return {.link = FrameStep::Link::changed};
  // Out-of-line prologues (_savegpr0_), and _mcount, save the copy themselves.
  if (link) return {.flow = call, .words = FrameStep::Words::saved, .copy_at = link_save, .target = target};
  return {.flow = always ? jump : branch, .target = target};
}

// Primary opcode 19, by the extended one.
constexpr FrameStep register_branch(std::uint32_t word) {
  using enum FrameStep::Flow;
  const unsigned extended_code = bits(word, 10, 1);
  const bool link = word & 1, always = (bits(word, 25, 21) & 20) == 20;
  switch (extended_code) {
    case 16: return {.flow = link ? call : always ? end : next};                  // bclr
    case 528: case 560: return {.flow = link ? call : always ? computed : next};  // bcctr, bctar
    case 18: case 82: case 274: case 370: case 402: return {.flow = end};         // rfid, rfscv, hrfid, stop, doze
    default: return {};
  }
}

// Primary opcode 31, by the extended one.
constexpr FrameStep register_step(std::uint32_t word) {
  const unsigned to = bits(word, 25, 21), base = bits(word, 20, 16), other = bits(word, 15, 11);
  switch (bits(word, 10, 1)) {
    case 339: return bits(word, 20, 11) != 0x100 ? written(to) : to == r0 ? FrameStep{.link = FrameStep::Link::copied} : written(to);  // mfspr, of LR
    case 467: return {.link = bits(word, 20, 11) != 0x100 ? FrameStep::Link::kept : to == r0 ? FrameStep::Link::from_copy : FrameStep::Link::changed};  // mtspr
    case 444: return to != other ? written(base) : to == base ? FrameStep{} : add(base, to, 0);  // or: mr; hints of priority (31, 31, 31)
    case 181: case 183: return written(base == stack ? stack : fp + 1);           // stdux, stwux
    case 4: case 68: return {.flow = to == 31 ? FrameStep::Flow::trap : FrameStep::Flow::next};  // tw, td
    case 21: case 23: case 53: case 266: case 40: case 202: case 235: case 233: return written(to);  // ldx, lwzx, ldux; add, subf, addze, mullw, mulld
    case 28: case 60: case 124: case 316: case 24: case 27: case 536: case 539: case 413: case 986: return written(base);  // and, andc, nor, xor, slw ... extsw
    default: return {};
  }
}

// By the primary opcode.
constexpr FrameStep frame_step(std::uint32_t word, std::uint64_t address) {
  using enum FrameStep::Words;
  const unsigned to = bits(word, 25, 21), base = bits(word, 20, 16);
  const std::int32_t immediate = extended(word, 16), aligned = extended(word & 0xfffc, 16);
  switch (word >> 26) {
    case 0: return {.flow = word == 0 ? FrameStep::Flow::end : FrameStep::Flow::next};
    case 2: case 3: return {.flow = to == 31 ? FrameStep::Flow::trap : FrameStep::Flow::next};  // tdi, twi: Linux's BUG
    case 14: return add(to, base, immediate);                                     // addi, where no base is the number alone
    case 15: case 7: case 8: case 12: case 13: return written(to);                // addis, mulli, subfic, addic
    case 32: case 33: case 34: case 40: case 42: return written(to);              // lwz, lwzu, lbz, lhz, lha
    case 16: case 18: return branch_step(word, address);
    case 19: return register_branch(word);
    case 24: if (to == base && immediate == 0) return {}; [[fallthrough]];        // ori: nop, and barriers (31, 31, 0)
    case 20: case 21: case 23: case 25: case 26: case 27: case 28: case 29: case 30: return written(base);  // rlwimi ... xoris, andi., rld
    case 31: return register_step(word);
    case 58:                                                                      // ld, ldu, lwa
      return (word & 3) == 0 ? to_or_from(restored, to, base, aligned) : written(to);
    case 62:                                                                      // std, stdu
      if ((word & 3) == 1 && base == stack) return {.sp = FrameStep::Sp::moved, .amount = aligned};
      return (word & 3) == 0 ? to_or_from(saved, to, base, aligned) : FrameStep{};
    default: return {};
  }
}

// 1.6.3: a prefix makes it two words.
template <std::endian Order>
constexpr std::uint32_t word_of(std::span<const std::uint8_t> code) {
  const auto byte = [&](unsigned i) { return std::uint32_t{code[Order == std::endian::big ? i : 3 - i]}; };
  return byte(0) << 24 | byte(1) << 16 | byte(2) << 8 | byte(3);
}
template <std::endian Order>
std::uint8_t length(std::span<const std::uint8_t> unit) { return word_of<Order>(unit) >> 26 == 1 ? 8 : 4; }
template <std::endian Order>
FrameStep step(std::span<const std::uint8_t> code, std::uint64_t address) {
  return code.size() == 4 ? frame_step(word_of<Order>(code), address) : FrameStep{};
}
template <std::endian Order>
inline constexpr FrameCode frame_code{.unit = 4, .step = step<Order>, .length = length<Order>, .fp_is_any = true, .chained = true};

inline constexpr std::string_view level_names[] = {"PTE", "PMD", "PUD", "PGD"};
inline constexpr std::string_view root_symbols[] = {"swapper_pg_dir"};
inline constexpr std::string_view index_bits[] = {"__pte_index_size", "__pmd_index_size", "__pud_index_size", "__pgd_index_size"};
inline constexpr std::uint64_t image_bases[] = {0xc000'0000'0000'0000};  // PAGE_OFFSET: the image lies in the linear map

inline constexpr LinuxLayout linux_layout{
    .image_bases = image_bases,
    .image_align = 0x1'0000,
    .root_symbols = root_symbols,
    .index_bits_symbols = index_bits,
    .interrupt_frame = {.record = "pt_regs", .regs = pt_regs, .call_prefix = "system_call", .depths = depths, .functions = entry_code, .outermost = outermost},
};

}  // namespace kvm::arch::power
