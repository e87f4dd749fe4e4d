// 64-bit RISC-V.  Odd here: an entry is a table when it allows nothing, whatever its level; frames are stored two bits further
// right; the bits above them are attributes (Svpbmt), and one that makes a page sixteen times larger (Svnapot).
// RISC-V Instruction Set Manual, volume II: privileged architecture, "Supervisor-Level ISA": Sv39, Sv48, Sv57, Svnapot, Svpbmt.
#include "arch/arch.h"

namespace kvm::arch {
namespace {

// V (bit 0); R, W and X (1, 2, 3) all clear: a pointer to the next level.  W without R is reserved, and so is a pointer at the end.
constexpr Match valid{0x1, 0x1}, no_rwx{0xe, 0x0}, write_only{0x6, 0x4};
constexpr Rule reserved{write_only, never}, reserved_in_last{write_only, no_rwx};
constexpr Level l57[] = {{48, 9, valid, no_rwx, false, nullptr, reserved}, {39, 9, valid, no_rwx, false, nullptr, reserved},
                         {30, 9, valid, no_rwx, false, nullptr, reserved}, {21, 9, valid, no_rwx, false, nullptr, reserved},
                         {12, 9, valid, never, false, nullptr, reserved_in_last}};
constexpr std::span<const Level> l48 = std::span(l57).subspan(1), l39 = std::span(l57).subspan(2);

constexpr Rights page{{{0x4, 0x4}}, {{0x8, 0x8}}, {{0x10, 0x10}}};  // W, X, U
constexpr std::uint64_t frame = 0x003f'ffff'ffff'fc00;             // bits 53:10

// Svnapot: N (bit 63) with the frame's low four bits 1000 is a part of 64 KiB, the only such size there is.
std::uint8_t page_shift(std::uint64_t entry, const Level& level) {
  return level.shift == 12 && entry >> 63 && (entry >> 10 & 0xf) == 0x8 ? 16 : level.shift;
}

// Linux keeps PROT_NONE pages with V clear and G (bit 5) set, which no swap entry has (arch/riscv/include/asm/pgtable-bits.h).
std::uint64_t held(std::uint64_t entry) { return (entry & 0x21) == 0x20 ? entry | 0x3 : 0; }

constexpr PagingMode paging[] = {
    {"sv39", 8, 39, Halves::one_root_signed, frame, 2, l39, page, {}, nullptr, held, page_shift},
    {"sv48", 8, 48, Halves::one_root_signed, frame, 2, l48, page, {}, nullptr, held, page_shift},
    {"sv57", 8, 57, Halves::one_root_signed, frame, 2, l57, page, {}, nullptr, held, page_shift},
};

constexpr std::string_view core = "org.gnu.gdb.riscv.cpu";
// RISC-V ABIs, "DWARF Register Numbers": x0 to x31; 64 is the return column of frames that save all of them.
constexpr Register registers[] = {
    {"zero", 64, 0, core}, {"ra", 64, 1, core, "code_ptr", Role::ra}, {"sp", 64, 2, core, "data_ptr", Role::sp}, {"gp", 64, 3, core, "data_ptr"},
    {"tp", 64, 4, core, "data_ptr"}, {"t0", 64, 5, core}, {"t1", 64, 6, core}, {"t2", 64, 7, core},
    {"fp", 64, 8, core, "data_ptr", Role::fp}, {"s1", 64, 9, core}, {"a0", 64, 10, core}, {"a1", 64, 11, core},
    {"a2", 64, 12, core}, {"a3", 64, 13, core}, {"a4", 64, 14, core}, {"a5", 64, 15, core}, {"a6", 64, 16, core}, {"a7", 64, 17, core},
    {"s2", 64, 18, core}, {"s3", 64, 19, core}, {"s4", 64, 20, core}, {"s5", 64, 21, core}, {"s6", 64, 22, core}, {"s7", 64, 23, core},
    {"s8", 64, 24, core}, {"s9", 64, 25, core}, {"s10", 64, 26, core}, {"s11", 64, 27, core}, {"t3", 64, 28, core}, {"t4", 64, 29, core},
    {"t5", 64, 30, core}, {"t6", 64, 31, core}, {"pc", 64, 64, core, "code_ptr", Role::pc},
};

// NT_PRSTATUS: pr_reg at 112 is the kernel's user_regs_struct (arch/riscv/include/uapi/asm/ptrace.h).
constexpr NoteField prstatus[] = {
    {"pc", 112, 8},  {"ra", 120, 8},  {"sp", 128, 8},  {"gp", 136, 8},  {"tp", 144, 8}, {"t0", 152, 8}, {"t1", 160, 8}, {"t2", 168, 8},
    {"fp", 176, 8},  {"s1", 184, 8},  {"a0", 192, 8},  {"a1", 200, 8},  {"a2", 208, 8}, {"a3", 216, 8}, {"a4", 224, 8}, {"a5", 232, 8},
    {"a6", 240, 8},  {"a7", 248, 8},  {"s2", 256, 8},  {"s3", 264, 8},  {"s4", 272, 8}, {"s5", 280, 8}, {"s6", 288, 8}, {"s7", 296, 8},
    {"s8", 304, 8},  {"s9", 312, 8},  {"s10", 320, 8}, {"s11", 328, 8}, {"t3", 336, 8}, {"t4", 344, 8}, {"t5", 352, 8}, {"t6", 360, 8},
};
constexpr CpuNote notes[] = {{"CORE", 1, 368, 32, prstatus}};

// __switch_to() saves these (arch/riscv/include/asm/processor.h, struct thread_struct).
constexpr SavedRegister linux_frame[] = {
    {"pc", "thread.ra"}, {"sp", "thread.sp"}, {"fp", "thread.s", 0}, {"s1", "thread.s", 8}, {"s2", "thread.s", 16}, {"s3", "thread.s", 24},
    {"s4", "thread.s", 32}, {"s5", "thread.s", 40}, {"s6", "thread.s", 48}, {"s7", "thread.s", 56}, {"s8", "thread.s", 64},
    {"s9", "thread.s", 72}, {"s10", "thread.s", 80}, {"s11", "thread.s", 88},
};
// FreeBSD's cpu_switch() and savectx() fill struct pcb (sys/riscv/include/pcb.h); the caller's pc is what was in ra.  releng/12.1 has what
// a call may change in it, too (pcb_t, pcb_a, pcb_sepc), and 792 bytes; 13.0 and later have not, and 664.
constexpr SavedRegister freebsd_pcb[] = {
    {"pc", {}, 0x00}, {"ra", {}, 0x00}, {"sp", {}, 0x08}, {"gp", {}, 0x10}, {"tp", {}, 0x18},
    {"fp", {}, 0x20}, {"s1", {}, 0x28}, {"s2", {}, 0x30}, {"s3", {}, 0x38}, {"s4", {}, 0x40}, {"s5", {}, 0x48}, {"s6", {}, 0x50},
    {"s7", {}, 0x58}, {"s8", {}, 0x60}, {"s9", {}, 0x68}, {"s10", {}, 0x70}, {"s11", {}, 0x78},
};
constexpr SavedRegister freebsd_pcb_12[] = {
    {"pc", {}, 0x00}, {"ra", {}, 0x00}, {"sp", {}, 0x08}, {"gp", {}, 0x10}, {"tp", {}, 0x18},
    {"fp", {}, 0x58}, {"s1", {}, 0x60}, {"s2", {}, 0x68}, {"s3", {}, 0x70}, {"s4", {}, 0x78}, {"s5", {}, 0x80}, {"s6", {}, 0x88},
    {"s7", {}, 0x90}, {"s8", {}, 0x98}, {"s9", {}, 0xa0}, {"s10", {}, 0xa8}, {"s11", {}, 0xb0},
};
constexpr SavedFrame frames[] = {
    {"linux", "thread", "", linux_frame},
    {.os = "freebsd", .path = "td_pcb", .record = "pcb", .regs = freebsd_pcb, .mark = "pcb_s", .mark_at = 0x20, .since = 1'300'000, .smaller_than = 792},
    {.os = "freebsd", .path = "td_pcb", .record = "pcb", .regs = freebsd_pcb_12, .mark = "pcb_s", .mark_at = 0x58},
};

// FreeBSD's handlers save struct trapframe (sys/riscv/include/frame.h) where the stack pointer then is (sys/riscv/riscv/exception.S).
constexpr SavedRegister freebsd_trapframe[] = {
    {"ra", {}, 0x00}, {"sp", {}, 0x08}, {"gp", {}, 0x10}, {"tp", {}, 0x18}, {"t0", {}, 0x20}, {"t1", {}, 0x28}, {"t2", {}, 0x30},
    {"t3", {}, 0x38}, {"t4", {}, 0x40}, {"t5", {}, 0x48}, {"t6", {}, 0x50}, {"fp", {}, 0x58}, {"s1", {}, 0x60}, {"s2", {}, 0x68},
    {"s3", {}, 0x70}, {"s4", {}, 0x78}, {"s5", {}, 0x80}, {"s6", {}, 0x88}, {"s7", {}, 0x90}, {"s8", {}, 0x98}, {"s9", {}, 0xa0},
    {"s10", {}, 0xa8}, {"s11", {}, 0xb0}, {"a0", {}, 0xb8}, {"a1", {}, 0xc0}, {"a2", {}, 0xc8}, {"a3", {}, 0xd0}, {"a4", {}, 0xd8},
    {"a5", {}, 0xe0}, {"a6", {}, 0xe8}, {"a7", {}, 0xf0},
    {"pc", {}, 0xf8},
};
constexpr SavedFrame freebsd_trapframes[] = {{"freebsd", {}, "trapframe", freebsd_trapframe}};
constexpr TrapEntry freebsd_entries[] = {
    {.name = "fork_trampoline", .outermost = true},
    {.name = "cpu_exception_handler_", .prefix = true},  // supervisor, user
};
constexpr FreebsdTraps freebsd_traps{.entries = freebsd_entries, .frames = freebsd_trapframes};

constexpr std::string_view machines[] = {"riscv64"};
constexpr std::string_view level_names[] = {"PTE", "PMD", "PUD", "P4D", "PGD"};
constexpr std::string_view root_symbols[] = {"swapper_pg_dir"};
constexpr std::uint64_t link_address[] = {0xffff'ffff'8000'0000};  // KERNEL_LINK_ADDR; modules are near, too

// arch/riscv/kernel/entry.S.  The code is one for interrupts and system calls: all its frames are shown as calls.
constexpr SavedRegister pt_regs[] = {
    {"pc", "epc"}, {"ra", "ra"}, {"sp", "sp"}, {"gp", "gp"}, {"tp", "tp"}, {"t0", "t0"}, {"t1", "t1"}, {"t2", "t2"}, {"fp", "s0"}, {"s1", "s1"},
    {"a0", "a0"}, {"a1", "a1"}, {"a2", "a2"}, {"a3", "a3"}, {"a4", "a4"}, {"a5", "a5"}, {"a6", "a6"}, {"a7", "a7"}, {"s2", "s2"}, {"s3", "s3"},
    {"s4", "s4"}, {"s5", "s5"}, {"s6", "s6"}, {"s7", "s7"}, {"s8", "s8"}, {"s9", "s9"}, {"s10", "s10"}, {"s11", "s11"}, {"t3", "t3"}, {"t4", "t4"},
    {"t5", "t5"}, {"t6", "t6"},
};
constexpr InterruptFrame::Depth depths[] = {{0, 0}};
constexpr std::string_view entry_functions[] = {"handle_exception", "ret_from_exception", "handle_syscall", "ret_from_syscall"};
constexpr std::string_view outermost[] = {"ret_from_fork", "ret_from_fork_kernel_asm", "ret_from_fork_user_asm", "start_kernel"};
constexpr EntryCode codes[] = {{"call_on_irq_stack", 0, Role::fp, 0, true}};

// RISC-V Instruction Set Manual, volume I: "RV32I Base Integer Instruction Set", "RV64I", "C Extension for Compressed Instructions"
// (and the tables "RV64/32G Instruction Set Listings", "RVC Instruction Set Listings").
constexpr unsigned zero = 0, ra = 1, sp = 2, t1 = 6, t2 = 7, s0 = 8;
constexpr unsigned bits(std::uint32_t word, unsigned high, unsigned low) { return word >> low & ((2u << (high - low)) - 1); }
constexpr std::int32_t extended(std::uint32_t value, unsigned width) { return static_cast<std::int32_t>(value << (32 - width)) >> (32 - width); }

// "Expanded Instruction-Length Encoding": of what is longer than 32 bits nothing is frozen.
std::uint8_t length(std::span<const std::uint8_t> unit) { return (unit[0] & 3) == 3 ? 4 : 2; }

FrameStep flow_to(FrameStep::Flow flow, std::uint64_t address, std::int32_t offset) {
  return {.flow = flow, .target = address + static_cast<std::uint64_t>(std::int64_t{offset})};
}

// ADDI and its kin.
FrameStep add(unsigned to, unsigned from, std::int32_t amount) {
  FrameStep step{.amount = amount};
  if (to == sp) step.sp = from == sp ? FrameStep::Sp::moved : from == s0 ? FrameStep::Sp::from_fp : FrameStep::Sp::varied;
  if (to == s0) step.fp = from == sp ? FrameStep::Fp::from_sp : FrameStep::Fp::changed;
  return step;
}

// A value that nobody can follow.
FrameStep written(unsigned to, FrameStep::Sp if_sp = FrameStep::Sp::varied) {
  return {.sp = to == sp ? if_sp : FrameStep::Sp::kept, .fp = to == s0 ? FrameStep::Fp::changed : FrameStep::Fp::kept};
}

FrameStep word(FrameStep::Words words, unsigned reg, unsigned base, std::int32_t at) {
  const bool in_frame = (reg == ra || reg == s0) && (base == sp || base == s0);
  if (!in_frame) return words == FrameStep::Words::restored ? written(reg) : FrameStep{};
  FrameStep step{.words = words, .by_fp = base == s0};
  (reg == ra ? step.ra_at : step.fp_at) = at;
  return step;
}

// JALR.  What returns goes through ra; `tail` goes through t1, or t2, with an offset, while a table's jump has none.
FrameStep through(unsigned link, unsigned from, bool compressed) {
  using enum FrameStep::Flow;
  if (link == ra) return {.flow = call};
  if (link != zero) return written(link);
  return {.flow = from == ra || (!compressed && (from == t1 || from == t2)) ? end : computed};
}

// The quadrants C0, C1 and C2, by their function codes.
FrameStep compressed_0(std::uint32_t half) {
  const unsigned to = 8 + bits(half, 4, 2);
  switch (half >> 13) {
    case 0: return half == 0 ? FrameStep{.flow = FrameStep::Flow::end}
                             : add(to, sp, static_cast<std::int32_t>(bits(half, 12, 11) << 4 | bits(half, 10, 7) << 6 | bits(half, 6, 6) << 2 | bits(half, 5, 5) << 3));
    case 2: case 3: return written(to);                                     // C.LW, C.LD
    case 4: return bits(half, 12, 11) == 0 ? written(to) : FrameStep{};     // Zcb: C.LBU, C.LHU, C.LH
    default: return {};
  }
}

FrameStep compressed_1(std::uint32_t half, std::uint64_t address) {
  using enum FrameStep::Flow;
  const unsigned to = bits(half, 11, 7);
  const std::int32_t immediate = extended(bits(half, 12, 12) << 5 | bits(half, 6, 2), 6);
  const std::int32_t near = extended(bits(half, 12, 12) << 8 | bits(half, 11, 10) << 3 | bits(half, 6, 5) << 6 | bits(half, 4, 3) << 1 | bits(half, 2, 2) << 5, 9);
  switch (half >> 13) {
    case 0: return add(to, to, immediate);                                  // C.ADDI
    case 3:                                                                 // C.ADDI16SP, C.LUI
      return to == sp ? add(sp, sp, extended(bits(half, 12, 12) << 9 | bits(half, 6, 6) << 4 | bits(half, 5, 5) << 6 | bits(half, 4, 3) << 7 | bits(half, 2, 2) << 5, 10))
                      : written(to);
    case 4: return written(8 + bits(half, 9, 7));
    case 5:                                                                 // C.J
      return flow_to(jump, address, extended(bits(half, 12, 12) << 11 | bits(half, 11, 11) << 4 | bits(half, 10, 9) << 8 | bits(half, 8, 8) << 10 | bits(half, 7, 7) << 6 |
                                             bits(half, 6, 6) << 7 | bits(half, 5, 3) << 1 | bits(half, 2, 2) << 5, 12));
    case 6: case 7: return flow_to(branch, address, near);                  // C.BEQZ, C.BNEZ
    default: return written(to);                                            // C.ADDIW, C.LI
  }
}

FrameStep compressed_2(std::uint32_t half) {
  const unsigned to = bits(half, 11, 7), from = bits(half, 6, 2);
  switch (half >> 13) {
    case 0: case 2: return written(to);                                     // C.SLLI, C.LWSP
    case 3: return word(FrameStep::Words::restored, to, sp, static_cast<std::int32_t>(bits(half, 12, 12) << 5 | bits(half, 6, 5) << 3 | bits(half, 4, 2) << 6));
    case 4:
      if (from != 0) return bits(half, 12, 12) ? written(to) : add(to, from, 0);  // C.ADD, C.MV
      if (to == 0) return {.flow = FrameStep::Flow::trap};                  // C.EBREAK
      return through(bits(half, 12, 12) ? ra : zero, to, true);             // C.JALR, C.JR
    case 7: return word(FrameStep::Words::saved, from, sp, static_cast<std::int32_t>(bits(half, 12, 10) << 3 | bits(half, 9, 7) << 6));
    default: return {};
  }
}

// By the major opcode, bits 6:2.
FrameStep full(std::uint32_t code, std::uint64_t address) {
  using enum FrameStep::Flow;
  const unsigned to = bits(code, 11, 7), function = bits(code, 14, 12), from = bits(code, 19, 15), second = bits(code, 24, 20);
  const std::int32_t immediate = extended(code >> 20, 12);
  switch (bits(code, 6, 2)) {
    case 0x00: return function == 3 ? word(FrameStep::Words::restored, to, from, immediate) : written(to);  // LOAD
    case 0x04: return function == 0 ? add(to, from, immediate) : written(to);                               // OP-IMM
    case 0x08: return function == 3 ? word(FrameStep::Words::saved, second, from, extended(bits(code, 31, 25) << 5 | to, 12)) : FrameStep{};  // STORE
    case 0x0c: return written(to, from != sp && second != sp ? FrameStep::Sp::switched : FrameStep::Sp::varied);                             // OP
    case 0x18:                                                                                              // BRANCH
      return flow_to(branch, address, extended(bits(code, 31, 31) << 12 | bits(code, 7, 7) << 11 | bits(code, 30, 25) << 5 | bits(code, 11, 8) << 1, 13));
    case 0x19: return through(to, from, false);                                                             // JALR
    case 0x1b:                                                                                              // JAL
      if (to != zero && to != ra) return written(to);
      return flow_to(to == ra ? call : jump, address,
                     extended(bits(code, 31, 31) << 20 | bits(code, 19, 12) << 12 | bits(code, 20, 20) << 11 | bits(code, 30, 21) << 1, 21));
    case 0x1c:                                                                                              // SYSTEM
      if (code == 0x00100073) return {.flow = trap};                                                        // EBREAK
      if (code == 0x10200073 || code == 0x30200073 || code == 0xc0001073) return {.flow = end};             // SRET, MRET; UNIMP, a write of `cycle`
      return written(to);
    case 0x14: return code >> 31 && !(code >> 28 & 1) ? written(to) : FrameStep{};                  // OP-FP: FEQ ..., FCVT, FMV and FCLASS to integers
    case 0x15: return function == 7 || (function == 2 && code >> 26 == 0x10) ? written(to) : FrameStep{};   // OP-V: VSETVL; VMV.X.S ...
    case 0x01: case 0x03: case 0x09: case 0x10: case 0x11: case 0x12: case 0x13: case 0x1d: return {};      // no register of integers: LOAD-FP ... OP-VE; FENCE
    default: return written(to);
  }
}

FrameStep frame_step(std::span<const std::uint8_t> code, std::uint64_t address) {
  const std::uint32_t half = code[0] | std::uint32_t{code[1]} << 8;
  switch (half & 3) {
    case 0: return compressed_0(half);
    case 1: return compressed_1(half, address);
    case 2: return compressed_2(half);
    default: return full(half | std::uint32_t{code[2]} << 16 | std::uint32_t{code[3]} << 24, address);
  }
}

// RISC-V ABIs, "Frame Pointer Convention": a kernel with frame pointers has it.
constexpr FrameRecord frame_record{.fp = -16, .ra = -8, .end = 0};
constexpr FrameCode frame_code{.unit = 2, .step = frame_step, .length = length, .record = &frame_record, .fp_is_any = true};

constexpr LinuxLayout linux_layout{
    .image_bases = link_address,
    .image_align = 0x1000,  // _text comes after some pages of the image
    .physical = LinuxLayout::Physical::ram,
    .root_symbols = root_symbols,
    .phys_base_key = "NUMBER(phys_ram_base)",
    .distance_key = "NUMBER(va_kernel_pa_offset)",  // since v6.4
    .va_bits_key = "NUMBER(VA_BITS)",
    .link_key = "NUMBER(KERNEL_LINK_ADDR)",  // of _start; _text comes after it
    .interrupt_frame = {.record = "pt_regs", .regs = pt_regs, .partial = {}, .call_prefix = "handle_exception", .depths = depths,
                        .functions = entry_functions, .outermost = outermost, .codes = codes},
};

}  // namespace

extern const Arch riscv64;
constexpr Arch riscv64{
    .name = "riscv64",
    .gdb_name = "riscv:rv64",
    .triple = "riscv64",
    .machines = machines,
    .elf_machine = 243,  // EM_RISCV
    .pointer_bytes = 8,
    .endian = std::endian::little,
    .page_size = 4096,
    .paging = paging,
    .registers = registers,
    .notes = notes,
    .frames = frames,
    .level_names = level_names,
    .linux_layout = &linux_layout,
    .frame_code = &frame_code,
    .freebsd_traps = &freebsd_traps,
};

}  // namespace kvm::arch
