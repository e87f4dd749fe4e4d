// IBM z/Architecture.  Odd here: the kernel chooses the number of table levels by the root's kind, and each process its own;
// tables may be shorter than full, and an entry says how long the next one is; address spaces are apart, so that no entry speaks
// of users; the first 8 KiB are every CPU's own (prefixing).
// z/Architecture Principles of Operation (SA22-7832), chapter 3, "Dynamic Address Translation".
#include "arch/arch.h"

namespace kvm::arch {
namespace {

// Region and segment tables: I (bit 58, counted from the left) is 0x20; FC (53), 0x400, a large page; TT (60-61), 0xc, is the kind of
// table the entry lies in.  Page tables: I is 0x400.
constexpr Match valid_region{0x20, 0}, table_region{0x400, 0}, valid_page{0x400, 0};

// Linux marks what is present by software; a page without recent access, or PROT_NONE, has I set
// (arch/s390/include/asm/pgtable.h: _PAGE_PRESENT 0x001, and large entries, of which swap has 0x10).
std::uint64_t held_page(std::uint64_t entry) { return (entry & 0x401) == 0x401 ? entry & ~std::uint64_t{0x400} : 0; }
std::uint64_t held_large(std::uint64_t entry) { return (entry & 0x430) == 0x420 ? entry & ~std::uint64_t{0x20} : 0; }

constexpr Level region_1{53, 11, valid_region, always}, region_2{42, 11, valid_region, always},
    region_3{31, 11, valid_region, table_region, true, held_large}, segment{20, 11, valid_region, table_region, true, held_large},
    page_level{12, 8, valid_page, never, true, held_page};
constexpr Level two_level[] = {segment, page_level};
constexpr Level three_level[] = {region_3, segment, page_level};
constexpr Level four_level[] = {region_2, region_3, segment, page_level};
constexpr Level five_level[] = {region_1, region_2, region_3, segment, page_level};

// DAT protection (0x200) forbids writing; IEP (0x100) execution, in entries of pages.
constexpr Rights page{{{0x200, 0}}, {{0x100, 0}}, {never}};
constexpr Rights tables{{{0x200, 0}}, {}, {}};

// A segment-table entry's page table is aligned to 2 KiB, a region-table entry's table to 4.
std::uint64_t frame(std::uint64_t entry, const Level& level) {
  return entry & (level.shift == segment.shift && table_region(entry) ? ~std::uint64_t{0x7ff} : ~std::uint64_t{0xfff});
}

// TF (56-57): quarters missing at the start; TL (62-63): the last one present.  Page tables are always full: their index has 8 bits,
// and the entry's bits are 0, or Linux's own.
bool in_table(std::uint64_t entry, std::uint64_t index) {
  const bool to_page_table = (entry & 0xc) == 0;
  return to_page_table || (index >> 9 >= (entry >> 6 & 3) && index >> 9 <= (entry & 3));
}

constexpr PagingMode mode(std::string_view name, std::uint8_t va_bits, std::span<const Level> levels, Match root) {
  PagingMode m{name, 8, va_bits, Halves::one_root_unsigned, 0, 0, levels, page, tables, frame};
  m.in_table = in_table;
  m.root = root;
  return m;
}
constexpr PagingMode paging[] = {
    mode("3-level", 42, three_level, {0xc, 0x4}),
    mode("4-level", 53, four_level, {0xc, 0x8}),
    mode("5-level", 64, five_level, {0xc, 0xc}),
    mode("2-level", 31, two_level, {0xc, 0x0}),
};

// DWARF: ELF Application Binary Interface, s390x Supplement, table 1.20.
constexpr std::string_view core = "org.gnu.gdb.s390.core", acr = "org.gnu.gdb.s390.acr", fpr = "org.gnu.gdb.s390.fpr",
                           linux_feature = "org.gnu.gdb.s390.linux", system_feature = "org.inquest.s390.system";
constexpr Register registers[] = {
    {"pswm", 64, 64, core, "int64", Role::flags}, {"pswa", 64, 65, core, "code_ptr", Role::pc},
    {"r0", 64, 0, core},   {"r1", 64, 1, core},   {"r2", 64, 2, core},   {"r3", 64, 3, core},   {"r4", 64, 4, core},
    {"r5", 64, 5, core},   {"r6", 64, 6, core},   {"r7", 64, 7, core},   {"r8", 64, 8, core},   {"r9", 64, 9, core},
    {"r10", 64, 10, core}, {"r11", 64, 11, core, "int64", Role::fp}, {"r12", 64, 12, core}, {"r13", 64, 13, core},
    {"r14", 64, 14, core, "int64", Role::ra}, {"r15", 64, 15, core, "data_ptr", Role::sp},
    {"acr0", 32, 48, acr, "int32"},  {"acr1", 32, 49, acr, "int32"},  {"acr2", 32, 50, acr, "int32"},  {"acr3", 32, 51, acr, "int32"},
    {"acr4", 32, 52, acr, "int32"},  {"acr5", 32, 53, acr, "int32"},  {"acr6", 32, 54, acr, "int32"},  {"acr7", 32, 55, acr, "int32"},
    {"acr8", 32, 56, acr, "int32"},  {"acr9", 32, 57, acr, "int32"},  {"acr10", 32, 58, acr, "int32"}, {"acr11", 32, 59, acr, "int32"},
    {"acr12", 32, 60, acr, "int32"}, {"acr13", 32, 61, acr, "int32"}, {"acr14", 32, 62, acr, "int32"}, {"acr15", 32, 63, acr, "int32"},
    {"fpc", 32, -1, fpr, "int32", Role::none, "float"},
    {"f0", 64, 16, fpr, "ieee_double"},  {"f1", 64, 20, fpr, "ieee_double"},  {"f2", 64, 17, fpr, "ieee_double"},
    {"f3", 64, 21, fpr, "ieee_double"},  {"f4", 64, 18, fpr, "ieee_double"},  {"f5", 64, 22, fpr, "ieee_double"},
    {"f6", 64, 19, fpr, "ieee_double"},  {"f7", 64, 23, fpr, "ieee_double"},  {"f8", 64, 24, fpr, "ieee_double"},
    {"f9", 64, 28, fpr, "ieee_double"},  {"f10", 64, 25, fpr, "ieee_double"}, {"f11", 64, 29, fpr, "ieee_double"},
    {"f12", 64, 26, fpr, "ieee_double"}, {"f13", 64, 30, fpr, "ieee_double"}, {"f14", 64, 27, fpr, "ieee_double"},
    {"f15", 64, 31, fpr, "ieee_double"},
    {"orig_r2", 64, -1, linux_feature, "int64", Role::none, "system"},
    {"cr0", 64, 32, system_feature, "int64", Role::none, "system"},   {"cr1", 64, 33, system_feature, "int64", Role::none, "system"},
    {"cr2", 64, 34, system_feature, "int64", Role::none, "system"},   {"cr3", 64, 35, system_feature, "int64", Role::none, "system"},
    {"cr4", 64, 36, system_feature, "int64", Role::none, "system"},   {"cr5", 64, 37, system_feature, "int64", Role::none, "system"},
    {"cr6", 64, 38, system_feature, "int64", Role::none, "system"},   {"cr7", 64, 39, system_feature, "int64", Role::none, "system"},
    {"cr8", 64, 40, system_feature, "int64", Role::none, "system"},   {"cr9", 64, 41, system_feature, "int64", Role::none, "system"},
    {"cr10", 64, 42, system_feature, "int64", Role::none, "system"},  {"cr11", 64, 43, system_feature, "int64", Role::none, "system"},
    {"cr12", 64, 44, system_feature, "int64", Role::none, "system"},  {"cr13", 64, 45, system_feature, "int64", Role::none, "system"},
    {"cr14", 64, 46, system_feature, "int64", Role::none, "system"},  {"cr15", 64, 47, system_feature, "int64", Role::none, "system"},
    {"prefix", 32, -1, system_feature, "int32", Role::none, "system"},
};

// NT_PRSTATUS: pr_reg at 112 is s390_regs (arch/s390/include/uapi/asm/ptrace.h).
constexpr NoteField prstatus[] = {
    {"pswm", 112, 8}, {"pswa", 120, 8}, {"r0", 128, 8},  {"r1", 136, 8},  {"r2", 144, 8},  {"r3", 152, 8},  {"r4", 160, 8},
    {"r5", 168, 8},   {"r6", 176, 8},   {"r7", 184, 8},  {"r8", 192, 8},  {"r9", 200, 8},  {"r10", 208, 8}, {"r11", 216, 8},
    {"r12", 224, 8},  {"r13", 232, 8},  {"r14", 240, 8}, {"r15", 248, 8},
    {"acr0", 256, 4},  {"acr1", 260, 4},  {"acr2", 264, 4},  {"acr3", 268, 4},  {"acr4", 272, 4},  {"acr5", 276, 4},
    {"acr6", 280, 4},  {"acr7", 284, 4},  {"acr8", 288, 4},  {"acr9", 292, 4},  {"acr10", 296, 4}, {"acr11", 300, 4},
    {"acr12", 304, 4}, {"acr13", 308, 4}, {"acr14", 312, 4}, {"acr15", 316, 4}, {"orig_r2", 320, 8},
};
// NT_FPREGSET: s390_fp_regs.
constexpr NoteField fpregset[] = {
    {"fpc", 0, 4},  {"f0", 8, 8},   {"f1", 16, 8},  {"f2", 24, 8},   {"f3", 32, 8},   {"f4", 40, 8},   {"f5", 48, 8},   {"f6", 56, 8},   {"f7", 64, 8},
    {"f8", 72, 8},  {"f9", 80, 8},  {"f10", 88, 8}, {"f11", 96, 8}, {"f12", 104, 8}, {"f13", 112, 8}, {"f14", 120, 8}, {"f15", 128, 8},
};
constexpr NoteField control[] = {
    {"cr0", 0, 8},  {"cr1", 8, 8},  {"cr2", 16, 8},  {"cr3", 24, 8},  {"cr4", 32, 8},   {"cr5", 40, 8},   {"cr6", 48, 8},   {"cr7", 56, 8},
    {"cr8", 64, 8}, {"cr9", 72, 8}, {"cr10", 80, 8}, {"cr11", 88, 8}, {"cr12", 96, 8}, {"cr13", 104, 8}, {"cr14", 112, 8}, {"cr15", 120, 8},
};
constexpr NoteField prefix[] = {{"prefix", 0, 4}};
// NT_S390_CTRS, NT_S390_PREFIX (include/uapi/linux/elf.h).
constexpr CpuNote notes[] = {
    {"CORE", 1, 328, 32, prstatus},
    {"CORE", 2, 136, -1, fpregset},
    {"LINUX", 0x304, 128, -1, control},
    {"LINUX", 0x305, 4, -1, prefix},
};

// __switch_to() stores r6 to r15 into the frame of its caller (arch/s390/kernel/entry.S).
constexpr SavedRegister linux_frame[] = {
    {"r6", "gprs", 0},   {"r7", "gprs", 8},   {"r8", "gprs", 16},  {"r9", "gprs", 24},  {"r10", "gprs", 32},  {"r11", "gprs", 40},
    {"r12", "gprs", 48}, {"r13", "gprs", 56}, {"r14", "gprs", 64}, {"r15", "gprs", 72}, {"pswa", "gprs", 64},
};
constexpr SavedFrame frames[] = {{"linux", "thread.ksp", "stack_frame", linux_frame}};

// The record lies above a stack_frame.  Problem state (PSW bit 15) tells user code, whose addresses may be kernel code's too.
constexpr SavedRegister pt_regs[] = {
    {"pswm", "psw.mask"},  {"pswa", "psw.addr"},  {"r0", "gprs", 0},     {"r1", "gprs", 8},     {"r2", "gprs", 16},   {"r3", "gprs", 24},
    {"r4", "gprs", 32},    {"r5", "gprs", 40},    {"r6", "gprs", 48},    {"r7", "gprs", 56},    {"r8", "gprs", 64},   {"r9", "gprs", 72},
    {"r10", "gprs", 80},   {"r11", "gprs", 88},   {"r12", "gprs", 96},   {"r13", "gprs", 104},  {"r14", "gprs", 112}, {"r15", "gprs", 120},
};
constexpr InterruptFrame::Depth depths[] = {{0, 160}};
constexpr std::string_view entry_code[] = {"pgm_check_handler", "ext_int_handler", "io_int_handler", "mcck_int_handler"};
constexpr std::string_view outermost[] = {"system_call", "ret_from_fork", "restart_int_handler"};
constexpr InterruptFrame interrupt_frame{
    .record = "pt_regs",
    .regs = pt_regs,
    .depths = depths,
    .functions = entry_code,
    .outermost = outermost,
    .user_register = "pswm",
    .user_bits = 1ull << 48,
};

constexpr std::string_view machines[] = {"s390x", "S390X"};  // the second is QEMU's
constexpr std::string_view level_names[] = {"PTE", "PMD", "PUD", "P4D", "PGD"};
constexpr std::string_view root_symbols[] = {"swapper_pg_dir"};
constexpr std::uint64_t image_bases[] = {0};  // until v6.10 virtual addresses are physical ones

// z/Architecture Principles of Operation, chapter 5, "Instruction Formats", and appendix B, "Lists of Instructions"; ELF ABI s390x
// Supplement, 1.2.2 "Stack Frame Layout".
constexpr unsigned fp = 11, lr = 14, sp = 15;

// The first two bits tell: 00, 01 and 10, 11.
std::uint8_t length(std::span<const std::uint8_t> unit) { return unit[0] < 0x40 ? 2 : unit[0] < 0xc0 ? 4 : 6; }

struct Code {
  std::span<const std::uint8_t> bytes;
  unsigned op() const { return bytes[0]; }
  unsigned r1() const { return bytes[1] >> 4; }
  unsigned r2() const { return bytes[1] & 15; }  // R3 or X2 of other formats, or a further part of the operation
  std::int32_t immediate() const { return static_cast<std::int16_t>(bytes[2] << 8 | bytes[3]); }
  std::int32_t long_immediate() const { return static_cast<std::int32_t>(std::uint32_t{bytes[2]} << 24 | bytes[3] << 16 | bytes[4] << 8 | bytes[5]); }
  unsigned base() const { return bytes[2] >> 4; }
  std::int32_t displacement() const { return (bytes[2] & 15) << 8 | bytes[3]; }
  std::int32_t long_displacement() const { return displacement() + static_cast<std::int8_t>(bytes[4]) * 4096; }  // DH is signed
};

FrameStep flow_to(FrameStep::Flow flow, std::uint64_t address, std::int32_t halfwords) {
  return {.flow = flow, .target = address + 2 * static_cast<std::uint64_t>(std::int64_t{halfwords})};
}

// A value that nobody can follow.
FrameStep written(unsigned to, FrameStep::Sp if_sp = FrameStep::Sp::varied) {
  return {.sp = to == sp ? if_sp : FrameStep::Sp::kept, .fp = to == fp ? FrameStep::Fp::changed : FrameStep::Fp::kept};
}

FrameStep add(unsigned to, unsigned from, std::int32_t amount) {
  FrameStep step{.amount = amount};
  if (to == sp) step.sp = from == sp ? FrameStep::Sp::moved : from == fp ? FrameStep::Sp::from_fp : FrameStep::Sp::varied;
  if (to == fp) step.fp = from == sp ? FrameStep::Fp::from_sp : FrameStep::Fp::changed;
  return step;
}

// LOAD ADDRESS adds two registers, of which 0 is none.
FrameStep add_address(unsigned to, unsigned index, unsigned base, std::int32_t amount) {
  return index == 0 || base == 0 ? add(to, index + base, amount) : written(to);
}

// A mask of 0 is never, 15 always.
FrameStep conditional(unsigned mask, std::uint64_t address, std::int32_t halfwords) {
  if (mask == 0) return {};
  return flow_to(mask == 15 ? FrameStep::Flow::jump : FrameStep::Flow::branch, address, halfwords);
}

// Linux links through r14; r0 when it is traced, others to find out where it runs.
FrameStep linked(unsigned link, std::uint64_t address, std::int32_t halfwords) {
  return link == lr ? flow_to(FrameStep::Flow::call, address, halfwords) : link == 0 ? FrameStep{} : flow_to(FrameStep::Flow::jump, address, halfwords);
}

// Registers `first` to `last`, r0 after r15, in doublewords one after the other.
FrameStep words(FrameStep::Words how, unsigned first, unsigned last, unsigned base, std::int32_t at) {
  const auto place = [&](unsigned reg) { return ((reg - first) & 15) <= ((last - first) & 15) ? at + static_cast<std::int32_t>((reg - first) & 15) * 8 : FrameStep::nowhere; };
  const bool load = how == FrameStep::Words::restored, stack = place(sp) != FrameStep::nowhere;
  if (base != sp && base != fp) {
    if (!load) return {};
    return {.sp = stack ? FrameStep::Sp::switched : FrameStep::Sp::kept, .fp = place(fp) == FrameStep::nowhere ? FrameStep::Fp::kept : FrameStep::Fp::changed};
  }
  FrameStep step{.words = how, .by_fp = base == fp, .fp_at = place(fp), .ra_at = place(lr), .sp_at = place(sp)};
  if (step.fp_at == FrameStep::nowhere && step.ra_at == FrameStep::nowhere && !stack) step.words = FrameStep::Words::none;
  return step;
}

// LG and STG: with an index the place is not known.
FrameStep word(FrameStep::Words how, unsigned reg, unsigned index, unsigned base, std::int32_t at) {
  if (index == 0 || base == 0) return words(how, reg, reg, index + base, at);
  return how == FrameStep::Words::restored ? written(reg, FrameStep::Sp::switched) : FrameStep{};
}

FrameStep step_2(const Code& code) {
  using enum FrameStep::Flow;
  const unsigned r1 = code.r1(), r2 = code.r2();
  switch (code.op()) {
    case 0x00: return {.flow = end};                                                          // no operation
    case 0x07: return {.flow = r2 == 0 || r1 != 15 ? next : r2 == lr ? end : computed};       // BCR
    case 0x05: case 0x0c: case 0x0d: return r1 == lr && r2 != 0 ? FrameStep{.flow = call} : written(r1);  // BALR, BASSM, BASR
    case 0x06: return written(r1);                                                            // BCTR
    default: return {};
  }
}

FrameStep step_4(const Code& code, std::uint64_t address) {
  using enum FrameStep::Flow;
  const unsigned r1 = code.r1(), rest = code.r2();
  switch (code.op()) {
    case 0x41: return add_address(r1, rest, code.base(), code.displacement());                // LA
    case 0x47:                                                                                // BC
      if (r1 != 15) return {};
      return {.flow = rest == 0 && code.base() == lr && code.displacement() == 0 ? end : computed};
    case 0x84: case 0x85: return flow_to(branch, address, code.immediate());                  // BRXH, BRXLE
    case 0xa5: return rest >= 4 ? written(r1) : FrameStep{};                                  // NIHH ... LLILL
    case 0xa7:
      switch (rest) {
        case 0x4: return conditional(r1, address, code.immediate());                          // BRC
        case 0x5: return linked(r1, address, code.immediate());                               // BRAS
        case 0x6: case 0x7: return flow_to(branch, address, code.immediate());                // BRCT, BRCTG
        case 0x9: return written(r1);                                                         // LGHI
        case 0xb: return add(r1, r1, code.immediate());                                       // AGHI
        default: return {};
      }
    case 0xaf: return {.flow = trap};                                                         // MC: Linux's BUG and WARN
    case 0xb2: return {.flow = code.bytes[1] == 0xb2 ? end : next};                           // LPSWE
    case 0xb9: {
      const unsigned to = code.bytes[3] >> 4, from = code.bytes[3] & 15;
      switch (code.bytes[1]) {
        case 0x04: return add(to, from, 0);                                                   // LGR
        case 0x08: case 0x09: case 0x0a: case 0x0b: case 0x80: case 0x81: case 0x82:          // AGR, SGR, ALGR, SLGR, NGR, OGR, XGR
        case 0xe8: case 0xe9: case 0xea: case 0xeb: case 0xe2: return written(to);            // AGRK, SGRK, ALGRK, SLGRK, LOCGR
        default: return {};
      }
    }
    default: return {};
  }
}

FrameStep step_6(const Code& code, std::uint64_t address) {
  using enum FrameStep::Flow;
  const unsigned r1 = code.r1(), rest = code.r2(), tail = code.bytes[5];
  switch (code.op()) {
    case 0xc0:
      if (rest == 0x4) return conditional(r1, address, code.long_immediate());                // BRCL
      if (rest == 0x5) return linked(r1, address, code.long_immediate());                     // BRASL
      return rest <= 0x1 || rest >= 0x6 ? written(r1) : FrameStep{};                          // LARL, LGFI; XIHF ... LLILF
    case 0xc2:
      if (rest == 0x8) return add(r1, r1, code.long_immediate());                             // AGFI
      if (rest == 0x4 && code.long_immediate() >= 0) return add(r1, r1, -code.long_immediate());  // SLGFI: the number is unsigned
      if (rest == 0xa && code.long_immediate() >= 0) return add(r1, r1, code.long_immediate());   // ALGFI
      return rest <= 0xb ? written(r1) : FrameStep{};
    case 0xc6: return rest == 0x0 ? FrameStep{.flow = next} : FrameStep{};                    // EXRL
    case 0xcc: return rest == 0x6 ? flow_to(branch, address, code.long_immediate()) : FrameStep{};  // BRCTH
    case 0xe3:
      switch (tail) {
        case 0x04: return word(FrameStep::Words::restored, r1, rest, code.base(), code.long_displacement());  // LG
        case 0x24: return word(FrameStep::Words::saved, r1, rest, code.base(), code.long_displacement());     // STG
        case 0x71: return add_address(r1, rest, code.base(), code.long_displacement());                       // LAY
        case 0x02: case 0x08: case 0x09: case 0x0a: case 0x0b: case 0x14: case 0x80: case 0x81: case 0x82: return written(r1);  // LTG, AG ... LGF
        default: return {};
      }
    case 0xeb:
      switch (tail) {
        case 0x04: return words(FrameStep::Words::restored, r1, rest, code.base(), code.long_displacement());  // LMG
        case 0x24: return words(FrameStep::Words::saved, r1, rest, code.base(), code.long_displacement());     // STMG
        case 0x0a: case 0x0b: case 0x0c: case 0x0d: case 0x1c: case 0xe2: return written(r1);                   // SRAG ... LOCG
        case 0x71: return {.flow = end};                                                                       // LPSWEY
        default: return {};
      }
    case 0xec:
      switch (tail) {
        case 0x44: case 0x45:                                                                 // BRXHG, BRXLG
        case 0x64: case 0x65: case 0x76: case 0x77:                                           // CGRJ, CLGRJ, CRJ, CLRJ
        case 0x7c: case 0x7d: case 0x7e: case 0x7f: return flow_to(branch, address, code.immediate());  // CGIJ, CLGIJ, CIJ, CLIJ
        case 0xd9: return add(r1, rest, code.immediate());                                    // AGHIK
        case 0x51: case 0x54: case 0x55: case 0x56: case 0x57: case 0x59: case 0x5d: return written(r1);  // RISBLG ... RISBHG
        default: return {};
      }
    default: return {};
  }
}

FrameStep frame_step(std::span<const std::uint8_t> bytes, std::uint64_t address) {
  const Code code{bytes};
  return bytes.size() == 2 ? step_2(code) : bytes.size() == 4 ? step_4(code, address) : step_6(code, address);
}

// A back chain there is (-mbackchain), but nobody tells where: at the stack pointer, or with -mpacked-stack 152 bytes above it.
constexpr FrameCode frame_code{.unit = 2, .step = frame_step, .length = length, .cfa_above_sp = 160, .fp_is_any = true};

// Since v6.10 KERNELOFFSET is where the image begins, and no slide.
constexpr LinuxLayout linux_layout{
    .image_bases = image_bases,
    .image_align = 0x4000,  // KASLR moves by THREAD_SIZE
    .root_symbols = root_symbols,
    .phys_base_key = "KERNELOFFPHYS",
    .image_base_key = "KERNELOFFSET",
    .slide_key = "",
    .interrupt_frame = interrupt_frame,
    .first_shared = 0x2000,
    .own_register = "prefix",
    .own_symbol = "lowcore_ptr",
    .note_pointer = 0xe0c,
    .os_info_pointer = 0xe18,
};

}  // namespace

extern const Arch s390x;
constexpr Arch s390x{
    .name = "s390x",
    .gdb_name = "s390:64-bit",
    .triple = "s390x",
    .machines = machines,
    .elf_machine = 22,  // EM_S390
    .pointer_bytes = 8,
    .endian = std::endian::big,
    .page_size = 4096,
    .paging = paging,
    .registers = registers,
    .notes = notes,
    .frames = frames,
    .level_names = level_names,
    .linux_layout = &linux_layout,
    .frame_code = &frame_code,
};

}  // namespace kvm::arch
