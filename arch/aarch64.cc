// 64-bit Arm (AArch64).  Odd here: the page size is the kernel's choice (4, 16 or 64 KiB) and makes the tables' shape; the upper
// half of the address space has a root of its own; a table's entry and a page's have different permission bits.
// Arm Architecture Reference Manual (DDI 0487), D8 "The AArch64 Virtual Memory System Architecture".
#include <utility>

#include "arch/arch.h"

namespace kvm::arch {
namespace {

// D8.3: bit 0 valid; bit 1 tells a table (or, at the last level, a page) from a block.
constexpr Match valid{0x1, 0x1}, table{0x2, 0x2}, table_or_page{0x3, 0x3};

constexpr Level l4k_39[] = {{30, 9, valid, table}, {21, 9, valid, table}, {12, 9, table_or_page, never}};
constexpr Level l4k_48[] = {{39, 9, table_or_page, always}, {30, 9, valid, table}, {21, 9, valid, table}, {12, 9, table_or_page, never}};
// LPA2 allows blocks at level 0.
constexpr Level l4k_52[] = {{48, 4, table_or_page, always}, {39, 9, valid, table}, {30, 9, valid, table}, {21, 9, valid, table},
                            {12, 9, table_or_page, never}};
constexpr Level l16k_36[] = {{25, 11, valid, table}, {14, 11, table_or_page, never}};
constexpr Level l16k_47[] = {{36, 11, table_or_page, always}, {25, 11, valid, table}, {14, 11, table_or_page, never}};
constexpr Level l16k_48[] = {{47, 1, table_or_page, always}, {36, 11, table_or_page, always}, {25, 11, valid, table}, {14, 11, table_or_page, never}};
constexpr Level l16k_52[] = {{47, 5, table_or_page, always}, {36, 11, valid, table}, {25, 11, valid, table}, {14, 11, table_or_page, never}};
constexpr Level l64k_42[] = {{29, 13, valid, table}, {16, 13, table_or_page, never}};
constexpr Level l64k_48[] = {{42, 6, table_or_page, always}, {29, 13, valid, table}, {16, 13, table_or_page, never}};
constexpr Level l64k_52[] = {{42, 10, valid, table}, {29, 13, valid, table}, {16, 13, table_or_page, never}};

// Pages: AP[2] (bit 7) forbids writing, unless DBM (51) lets the processor clear it; PXN (53) and UXN (54) forbid execution to
// the kernel and to users; AP[1] (6) lets users in.  Tables: APTable (62:61), PXNTable (59).
constexpr Rights page{{{0x80, 0}, {1ull << 51, 1ull << 51}}, {{1ull << 53, 0}, {1ull << 54, 0}}, {{0x40, 0x40}}};
constexpr Rights tables{{{1ull << 62, 0}}, {{1ull << 59, 0}, {1ull << 60, 0}}, {{1ull << 61, 0}}};

constexpr std::uint64_t low_frame = 0x0000'ffff'ffff'f000;  // bits 47:12

// FEAT_LPA2 (D8.3.1.2): bits 9:8 are address bits 51:50, and 49:12 are as they are.
std::uint64_t lpa2_frame(std::uint64_t entry, const Level&) { return (entry & 0x0003'ffff'ffff'f000) | (entry & 0x300) << 42; }
// FEAT_LPA with 64 KiB: bits 15:12 are address bits 51:48.
std::uint64_t lpa_frame(std::uint64_t entry, const Level&) { return (entry & 0x0000'ffff'ffff'0000) | (entry & 0xf000) << 36; }

// Linux keeps PROT_NONE pages with bit 0 clear: they have AF, nG, PXN and UXN, where a swap entry would be of an impossible size
// (arch/arm64/include/asm/pgtable-prot.h: PTE_PROT_NONE, since v6.10 PTE_PRESENT_INVALID).
std::uint64_t held(std::uint64_t entry) {
  constexpr std::uint64_t kept = 3ull << 53 | 0xc00;
  return (entry & (kept | 0x1)) == kept ? entry | 0x3 : 0;
}

constexpr PagingMode paging[] = {
    {"4k-48", 8, 48, Halves::two_roots, low_frame, 0, l4k_48, page, tables, nullptr, held},
    {"4k-39", 8, 39, Halves::two_roots, low_frame, 0, l4k_39, page, tables, nullptr, held},
    {"4k-52", 8, 52, Halves::two_roots, 0, 0, l4k_52, page, tables, lpa2_frame, held},
    {"16k-47", 8, 47, Halves::two_roots, low_frame, 0, l16k_47, page, tables, nullptr, held},
    {"16k-48", 8, 48, Halves::two_roots, low_frame, 0, l16k_48, page, tables, nullptr, held},
    {"16k-36", 8, 36, Halves::two_roots, low_frame, 0, l16k_36, page, tables, nullptr, held},
    {"16k-52", 8, 52, Halves::two_roots, 0, 0, l16k_52, page, tables, lpa2_frame, held},
    {"64k-48", 8, 48, Halves::two_roots, 0, 0, l64k_48, page, tables, lpa_frame, held},
    {"64k-52", 8, 52, Halves::two_roots, 0, 0, l64k_52, page, tables, lpa_frame, held},
    {"64k-42", 8, 42, Halves::two_roots, 0, 0, l64k_42, page, tables, lpa_frame, held},
};

constexpr std::string_view core = "org.gnu.gdb.aarch64.core";
// DWARF for the Arm 64-bit Architecture, 4.1.
constexpr Register registers[] = {
    {"x0", 64, 0, core},   {"x1", 64, 1, core},   {"x2", 64, 2, core},   {"x3", 64, 3, core},   {"x4", 64, 4, core},
    {"x5", 64, 5, core},   {"x6", 64, 6, core},   {"x7", 64, 7, core},   {"x8", 64, 8, core},   {"x9", 64, 9, core},
    {"x10", 64, 10, core}, {"x11", 64, 11, core}, {"x12", 64, 12, core}, {"x13", 64, 13, core}, {"x14", 64, 14, core},
    {"x15", 64, 15, core}, {"x16", 64, 16, core}, {"x17", 64, 17, core}, {"x18", 64, 18, core}, {"x19", 64, 19, core},
    {"x20", 64, 20, core}, {"x21", 64, 21, core}, {"x22", 64, 22, core}, {"x23", 64, 23, core}, {"x24", 64, 24, core},
    {"x25", 64, 25, core}, {"x26", 64, 26, core}, {"x27", 64, 27, core}, {"x28", 64, 28, core},
    {"x29", 64, 29, core, "int64", Role::fp}, {"x30", 64, 30, core, "int64", Role::ra},
    {"sp", 64, 31, core, "data_ptr", Role::sp}, {"pc", 64, 32, core, "code_ptr", Role::pc},
    {"cpsr", 32, -1, core, "int32", Role::flags},
};

// NT_PRSTATUS: pr_reg at 112 is the kernel's user_pt_regs (arch/arm64/include/uapi/asm/ptrace.h).
constexpr NoteField prstatus[] = {
    {"x0", 112, 8},  {"x1", 120, 8},  {"x2", 128, 8},  {"x3", 136, 8},  {"x4", 144, 8},  {"x5", 152, 8},  {"x6", 160, 8},
    {"x7", 168, 8},  {"x8", 176, 8},  {"x9", 184, 8},  {"x10", 192, 8}, {"x11", 200, 8}, {"x12", 208, 8}, {"x13", 216, 8},
    {"x14", 224, 8}, {"x15", 232, 8}, {"x16", 240, 8}, {"x17", 248, 8}, {"x18", 256, 8}, {"x19", 264, 8}, {"x20", 272, 8},
    {"x21", 280, 8}, {"x22", 288, 8}, {"x23", 296, 8}, {"x24", 304, 8}, {"x25", 312, 8}, {"x26", 320, 8}, {"x27", 328, 8},
    {"x28", 336, 8}, {"x29", 344, 8}, {"x30", 352, 8}, {"sp", 360, 8},  {"pc", 368, 8},  {"cpsr", 376, 8},
};
constexpr CpuNote notes[] = {{"CORE", 1, 384, 32, prstatus}};

// cpu_switch_to() saves these (arch/arm64/include/asm/processor.h, struct cpu_context).
constexpr SavedRegister linux_frame[] = {
    {"x19", "thread.cpu_context.x19"}, {"x20", "thread.cpu_context.x20"}, {"x21", "thread.cpu_context.x21"},
    {"x22", "thread.cpu_context.x22"}, {"x23", "thread.cpu_context.x23"}, {"x24", "thread.cpu_context.x24"},
    {"x25", "thread.cpu_context.x25"}, {"x26", "thread.cpu_context.x26"}, {"x27", "thread.cpu_context.x27"},
    {"x28", "thread.cpu_context.x28"}, {"x29", "thread.cpu_context.fp"},  {"sp", "thread.cpu_context.sp"},
    {"pc", "thread.cpu_context.pc"},
};
// FreeBSD's cpu_switch() and savectx() fill struct pcb (sys/arm64/include/pcb.h); the caller's pc is what was in x30.  Since 1400084
// what a call may change is no longer part of it.
constexpr SavedRegister freebsd_pcb[] = {
    {"x19", {}, 0x00}, {"x20", {}, 0x08}, {"x21", {}, 0x10}, {"x22", {}, 0x18}, {"x23", {}, 0x20}, {"x24", {}, 0x28},
    {"x25", {}, 0x30}, {"x26", {}, 0x38}, {"x27", {}, 0x40}, {"x28", {}, 0x48}, {"x29", {}, 0x50},
    {"pc", {}, 0x58}, {"sp", {}, 0x60},
};
constexpr SavedRegister freebsd_pcb_13[] = {
    {"x0", {}, 0x00}, {"x1", {}, 0x08}, {"x2", {}, 0x10}, {"x3", {}, 0x18}, {"x4", {}, 0x20}, {"x5", {}, 0x28}, {"x6", {}, 0x30},
    {"x7", {}, 0x38}, {"x8", {}, 0x40}, {"x9", {}, 0x48}, {"x10", {}, 0x50}, {"x11", {}, 0x58}, {"x12", {}, 0x60}, {"x13", {}, 0x68},
    {"x14", {}, 0x70}, {"x15", {}, 0x78}, {"x16", {}, 0x80}, {"x17", {}, 0x88}, {"x18", {}, 0x90}, {"x19", {}, 0x98},
    {"x20", {}, 0xa0}, {"x21", {}, 0xa8}, {"x22", {}, 0xb0}, {"x23", {}, 0xb8}, {"x24", {}, 0xc0}, {"x25", {}, 0xc8},
    {"x26", {}, 0xd0}, {"x27", {}, 0xd8}, {"x28", {}, 0xe0}, {"x29", {}, 0xe8},
    {"pc", {}, 0xf0}, {"sp", {}, 0x100},
};
constexpr SavedFrame frames[] = {
    {"linux", "thread.cpu_context", "", linux_frame},
    {.os = "freebsd", .path = "td_pcb", .record = "pcb", .regs = freebsd_pcb, .mark = "pcb_sp", .mark_at = 0x60, .since = 1'400'084,
     .smaller_than = 1376},  // of 12.x and 13.x; since then 1248 (an assertion in sys/arm64/arm64/machdep.c)
    {.os = "freebsd", .path = "td_pcb", .record = "pcb", .regs = freebsd_pcb_13, .mark = "pcb_sp", .mark_at = 0x100},
};

// FreeBSD's handlers save struct trapframe (sys/arm64/include/frame.h) where the stack pointer then is (sys/arm64/arm64/exception.S).
constexpr SavedRegister freebsd_trapframe[] = {
    {"sp", {}, 0x00}, {"x30", {}, 0x08}, {"pc", {}, 0x10},
    {"x0", {}, 0x30}, {"x1", {}, 0x38}, {"x2", {}, 0x40}, {"x3", {}, 0x48}, {"x4", {}, 0x50}, {"x5", {}, 0x58}, {"x6", {}, 0x60},
    {"x7", {}, 0x68}, {"x8", {}, 0x70}, {"x9", {}, 0x78}, {"x10", {}, 0x80}, {"x11", {}, 0x88}, {"x12", {}, 0x90}, {"x13", {}, 0x98},
    {"x14", {}, 0xa0}, {"x15", {}, 0xa8}, {"x16", {}, 0xb0}, {"x17", {}, 0xb8}, {"x18", {}, 0xc0}, {"x19", {}, 0xc8},
    {"x20", {}, 0xd0}, {"x21", {}, 0xd8}, {"x22", {}, 0xe0}, {"x23", {}, 0xe8}, {"x24", {}, 0xf0}, {"x25", {}, 0xf8},
    {"x26", {}, 0x100}, {"x27", {}, 0x108}, {"x28", {}, 0x110}, {"x29", {}, 0x118},
};
constexpr SavedRegister freebsd_trapframe_13[] = {
    {"sp", {}, 0x00}, {"x30", {}, 0x08}, {"pc", {}, 0x10},
    {"x0", {}, 0x20}, {"x1", {}, 0x28}, {"x2", {}, 0x30}, {"x3", {}, 0x38}, {"x4", {}, 0x40}, {"x5", {}, 0x48}, {"x6", {}, 0x50},
    {"x7", {}, 0x58}, {"x8", {}, 0x60}, {"x9", {}, 0x68}, {"x10", {}, 0x70}, {"x11", {}, 0x78}, {"x12", {}, 0x80}, {"x13", {}, 0x88},
    {"x14", {}, 0x90}, {"x15", {}, 0x98}, {"x16", {}, 0xa0}, {"x17", {}, 0xa8}, {"x18", {}, 0xb0}, {"x19", {}, 0xb8},
    {"x20", {}, 0xc0}, {"x21", {}, 0xc8}, {"x22", {}, 0xd0}, {"x23", {}, 0xd8}, {"x24", {}, 0xe0}, {"x25", {}, 0xe8},
    {"x26", {}, 0xf0}, {"x27", {}, 0xf8}, {"x28", {}, 0x100}, {"x29", {}, 0x108},
};
constexpr SavedFrame freebsd_trapframes[] = {
    {.os = "freebsd", .record = "trapframe", .regs = freebsd_trapframe, .mark = "tf_x", .mark_at = 0x30, .since = 1'400'084},
    {.os = "freebsd", .record = "trapframe", .regs = freebsd_trapframe_13, .mark = "tf_x", .mark_at = 0x20},
};
constexpr TrapEntry freebsd_entries[] = {
    {.name = "fork_trampoline", .outermost = true},
    {.name = "handle_el", .prefix = true},
    {.name = "handle_serror"}, {.name = "handle_empty_exception"},
};
constexpr FreebsdTraps freebsd_traps{freebsd_entries, freebsd_trapframes};

constexpr std::string_view machines[] = {"aarch64", "arm64"};
constexpr std::string_view level_names[] = {"PTE", "PMD", "PUD", "P4D", "PGD"};
constexpr std::string_view root_symbols[] = {"swapper_pg_dir"};

// struct user_pt_regs (arch/arm64/include/uapi/asm/ptrace.h), which pt_regs begins with.
constexpr SavedRegister interrupt_regs[] = {
    {"x0", "", 0},    {"x1", "", 8},    {"x2", "", 16},   {"x3", "", 24},   {"x4", "", 32},   {"x5", "", 40},   {"x6", "", 48},
    {"x7", "", 56},   {"x8", "", 64},   {"x9", "", 72},   {"x10", "", 80},  {"x11", "", 88},  {"x12", "", 96},  {"x13", "", 104},
    {"x14", "", 112}, {"x15", "", 120}, {"x16", "", 128}, {"x17", "", 136}, {"x18", "", 144}, {"x19", "", 152}, {"x20", "", 160},
    {"x21", "", 168}, {"x22", "", 176}, {"x23", "", 184}, {"x24", "", 192}, {"x25", "", 200}, {"x26", "", 208}, {"x27", "", 216},
    {"x28", "", 224}, {"x29", "", 232}, {"x30", "", 240}, {"sp", "", 248},  {"pc", "", 256},
};

// C4.1 "A64 instruction set encoding": fields of an instruction.
constexpr unsigned fp = 29, lr = 30, sp = 31;
constexpr unsigned bits(std::uint32_t word, unsigned high, unsigned low) { return word >> low & ((2u << (high - low)) - 1); }
constexpr std::int32_t signed_bits(std::uint32_t word, unsigned high, unsigned low) {
  return static_cast<std::int32_t>(word << (31 - high)) >> (31 - high + low);
}

std::uint32_t word_of(std::span<const std::uint8_t> code, std::size_t at = 0) {
  return code[at] | std::uint32_t{code[at + 1]} << 8 | std::uint32_t{code[at + 2]} << 16 | std::uint32_t{code[at + 3]} << 24;
}

// "Branches, Exception Generating and System instructions".
bool is_branch(std::uint32_t word, std::uint64_t address, FrameStep& step) {
  using enum FrameStep::Flow;
  const auto lead = [&](FrameStep::Flow flow, std::int32_t words) {
    step.flow = flow;
    step.target = address + 4 * static_cast<std::uint64_t>(std::int64_t{words});
    return true;
  };
  if ((word & 0x7c000000) == 0x14000000) return lead(word >> 31 ? call : jump, signed_bits(word, 25, 0));   // B, BL
  if ((word & 0xff000000) == 0x54000000) return lead(branch, signed_bits(word, 23, 5));                     // B.cond, BC.cond
  if ((word & 0x7e000000) == 0x34000000) return lead(branch, signed_bits(word, 23, 5));                     // CBZ, CBNZ
  if ((word & 0x7e000000) == 0x36000000) return lead(branch, signed_bits(word, 18, 5));                     // TBZ, TBNZ
  if ((word & 0xfe000000) == 0xd6000000) step.flow = bits(word, 23, 21) == 0 ? computed : bits(word, 23, 21) == 1 ? call : end;  // BR, BLR, RET, ERET
  else if ((word & 0xffe0001f) == 0xd4200000) step.flow = trap;                                             // BRK
  else if (word >> 16 == 0) step.flow = end;                                                                // UDF
  else return false;
  return true;
}

// "Add/subtract (immediate)" and the instructions that give sp, x29 or x30 a value that nobody can follow.
bool is_arithmetic(std::uint32_t word, FrameStep& step) {
  const unsigned to = bits(word, 4, 0), from = bits(word, 9, 5);
  if ((word & 0xbf800000) == 0x91000000) {  // ADD, SUB, 64-bit
    const auto value = static_cast<std::int32_t>(bits(word, 21, 10) << (bits(word, 22, 22) ? 12 : 0));
    step.amount = bits(word, 30, 30) ? -value : value;
    // Compilers copy a register to sp, or subtract from it; only a stack's size is added.
    if (to == sp) step.sp = from == sp ? FrameStep::Sp::moved : from == fp ? FrameStep::Sp::from_fp : value ? FrameStep::Sp::switched : FrameStep::Sp::varied;
    if (to == fp) step.fp = from == sp ? FrameStep::Fp::from_sp : FrameStep::Fp::changed;
    return true;
  }
  const bool extended = (word & 0xbfe00000) == 0x8b200000, masked = (word & 0xff800000) == 0x92000000;  // ADD, SUB; AND with an immediate
  if ((extended || masked) && to == sp) step.sp = FrameStep::Sp::varied;
  if ((word & 0xffe0ffe0) == 0xaa0003e0 && to == fp) step.fp = FrameStep::Fp::changed;  // MOV between registers
  return extended || masked;
}

// "Loads and stores", of 64-bit registers: pairs, and single ones.
void find_words(std::uint32_t word, FrameStep& step) {
  const bool pair = (word & 0xfe000000) == 0xa8000000, single = (word & 0xffa00c00) == 0xf8000400 || (word & 0xffa00c00) == 0xf8000c00;
  const bool far = (word & 0xff800000) == 0xf9000000;  // an unsigned offset
  if (!pair && !single && !far) return;
  const bool load = bits(word, 22, 22), before = pair ? bits(word, 24, 23) == 3 : bits(word, 11, 10) == 3;
  const bool after = pair ? bits(word, 24, 23) == 1 : bits(word, 11, 10) == 1;
  const std::int32_t offset = pair ? signed_bits(word, 21, 15) * 8 : single ? signed_bits(word, 20, 12) : static_cast<std::int32_t>(bits(word, 21, 10)) * 8;
  const unsigned first = bits(word, 4, 0), second = pair ? bits(word, 14, 10) : sp;
  if (bits(word, 9, 5) != sp) {
    if (load && (first == fp || second == fp)) step.fp = FrameStep::Fp::changed;
    return;
  }
  if ((before || after) && !far) step.sp = FrameStep::Sp::moved, step.amount = offset;
  const std::int32_t at = after && !far ? 0 : offset;
  for (const auto& [reg, place] : {std::pair{first, at}, std::pair{second, at + 8}}) {
    if (reg == fp) step.fp_at = place;
    if (reg == lr) step.ra_at = place;
  }
  if (step.fp_at != FrameStep::nowhere || step.ra_at != FrameStep::nowhere) step.words = load ? FrameStep::Words::restored : FrameStep::Words::saved;
}

FrameStep frame_step(std::span<const std::uint8_t> instruction, std::uint64_t address) {
  FrameStep step;
  const std::uint32_t word = word_of(instruction);
  if (!is_branch(word, address, step) && !is_arithmetic(word, step)) find_words(word, step);
  return step;
}

// Linux's kernel_entry (arch/arm64/kernel/entry.S): STP x0, x1, [sp], up to x28, x29, one after the other.
bool saves_all(std::span<const std::uint8_t> code) {
  constexpr std::uint32_t stp_at_sp = 0xa9000000 | sp << 5, pairs = 15;
  if (code.size() < pairs * 4) return false;
  for (std::uint32_t i = 0; i < pairs; ++i)
    if (word_of(code, i * std::size_t{4}) != (stp_at_sp | 2 * i << 15 | (2 * i + 1) << 10 | 2 * i)) return false;
  return true;
}

// A record is where a frame's parts are found: AAPCS64, 6.4.6 "The Frame Pointer".
constexpr FrameRecord record{.fp = 0, .ra = 8, .end = 16};
constexpr FrameCode frame_code{.unit = 4, .step = frame_step, .saves_all = saves_all, .record = &record};

constexpr LinuxLayout linux_layout{
    .image_align = 0x1'0000,  // SEGMENT_ALIGN, at least
    .root_symbols = root_symbols,
    .distance_key = "NUMBER(kimage_voffset)",
    .va_bits_key = "NUMBER(VA_BITS)",
    .link_key = "NUMBER(MODULES_END)",  // KIMAGE_VADDR (arch/arm64/include/asm/memory.h); in VMCOREINFO since v5.19
    .signature_key = "NUMBER(KERNELPACMASK)",
    .distance_symbol = "kimage_voffset",
    .interrupt_frame = {"pt_regs", interrupt_regs, "", "el0"},
};

}  // namespace

extern const Arch aarch64;
constexpr Arch aarch64{
    .name = "aarch64",
    .gdb_name = "aarch64",
    .triple = "aarch64",
    .machines = machines,
    .elf_machine = 183,  // EM_AARCH64
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
