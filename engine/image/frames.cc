// One common information entry (CIE) per kind of frame tells what holds where it begins; a frame description entry (FDE) covers
// a function, from symbol to symbol, whatever kinds of frames are in it: lldb knows one FDE of a function and counts from the
// function's start (19.1, DWARFCallFrameInfo::GetFirstFDEEntryInRange), and all execute an FDE from its start to reach a row.
// Registers that a call may change are `undefined` in calls, since the kernel's tables do not follow them.
#include "engine/image/frames.h"

#include <algorithm>

#include "engine/registers.h"

namespace kvm {
namespace {

// DWARF 5, table 7.29, and the expression opcodes of table 7.9.
enum : std::uint8_t {
  cfa_advance_loc = 0x40, cfa_offset = 0x80,  // with the operand in the low six bits
  cfa_advance_loc1 = 0x02, cfa_advance_loc2 = 0x03, cfa_advance_loc4 = 0x04, cfa_offset_extended = 0x05, cfa_undefined = 0x07,
  cfa_same_value = 0x08, cfa_register = 0x09, cfa_def_cfa = 0x0c, cfa_def_cfa_expression = 0x0f, cfa_expression = 0x10, cfa_offset_extended_sf = 0x11,
  cfa_val_offset = 0x14, cfa_val_expression = 0x16,
  op_deref = 0x06, op_const1s = 0x09, op_constu = 0x10, op_consts = 0x11, op_dup = 0x12, op_drop = 0x13, op_and = 0x1a,
  op_plus = 0x22, op_plus_uconst = 0x23, op_bra = 0x28, op_skip = 0x2f, op_lit0 = 0x30, op_breg0 = 0x70, op_bregx = 0x92,
};

class Writer {
 public:
  Writer(std::vector<std::uint8_t>& out, std::endian order) : out_(out), order_(order) {}

  std::size_t size() const { return out_.size(); }
  void byte(std::uint64_t value) { out_.push_back(static_cast<std::uint8_t>(value)); }
  void number(std::uint64_t value, unsigned bytes) {
    for (unsigned i = 0; i < bytes; ++i) byte(value >> 8 * (order_ == std::endian::little ? i : bytes - 1 - i));
  }
  void patch(std::size_t at, std::uint64_t value, unsigned bytes) {
    for (unsigned i = 0; i < bytes; ++i)
      out_[at + i] = static_cast<std::uint8_t>(value >> 8 * (order_ == std::endian::little ? i : bytes - 1 - i));
  }
  void uleb(std::uint64_t value) {
    for (; value >= 0x80; value >>= 7) byte(value | 0x80);
    byte(value);
  }
  void sleb(std::int64_t value) {
    for (; value < -64 || value > 63; value >>= 7) byte(static_cast<std::uint64_t>(value) | 0x80);
    byte(static_cast<std::uint64_t>(value) & 0x7f);
  }
  void block(const std::vector<std::uint8_t>& bytes) {
    uleb(bytes.size());
    out_.insert(out_.end(), bytes.begin(), bytes.end());
  }

 private:
  std::vector<std::uint8_t>& out_;
  std::endian order_;
};

// The expression `register + offset`.
void based_on(Writer& out, unsigned reg, std::int64_t offset) {
  if (reg < 32) {
    out.byte(op_breg0 + reg);
  } else {
    out.byte(op_bregx);
    out.uleb(reg);
  }
  out.sleb(offset);
}

class FrameTable {
 public:
  FrameTable(const arch::Arch& arch, const Pieces& pieces, std::vector<std::uint8_t>& out);
  void add(const Piece& piece);
  void add_user_code();
  void add_no_code();

 private:
  struct Cie {
    UnwindRow::Kind kind;
    bool signal_frame;
    std::size_t at;
  };
  using Rows = std::span<const UnwindRow>;

  Cie cie_for(UnwindRow::Kind kind, bool signal_frame);
  void rules(UnwindRow::Kind kind);
  void callers_sp();
  void sp_where_switched(const StackSwitch& rule, std::int64_t offset);
  void rule(std::uint8_t code, unsigned reg);
  std::size_t open_fde(const Cie& cie, VirtAddr first, VirtAddr end);
  void close(std::size_t start);
  void fde(Rows rows, VirtAddr first, VirtAddr end);
  void advance(std::uint64_t distance);
  void row(const UnwindRow& row, UnwindRow& known, bool& lost);
  void set_cfa(const UnwindRow& row);
  void set_fp(const UnwindRow& row);
  void set_ra(const UnwindRow& row);
  void saved_at(unsigned reg, std::int64_t offset);
  void pc_unless_users(std::int64_t offset);
  const std::vector<SavedAt>& saved_by(UnwindRow::Kind kind) const;
  UnwindRow initial(UnwindRow::Kind kind) const;  // what holds at the start of each FDE of a kind

  const arch::Arch& arch_;
  const Pieces& pieces_;
  Writer out_;
  std::uint8_t word_;
  std::uint8_t above_sp_;  // the cfa, from the caller's stack pointer
  unsigned pc_ = 0, sp_ = 0, fp_ = 0, ra_ = 0;
  std::vector<SavedAt> saved_by_call_, saved_by_none_;
  std::vector<Cie> cies_;
};

unsigned number_of(const arch::Arch& arch, arch::Role role) {
  const auto index = register_index(arch, role);
  return index ? static_cast<unsigned>(std::max<int>(arch.registers[*index].dwarf, 0)) : 0;
}

FrameTable::FrameTable(const arch::Arch& arch, const Pieces& pieces, std::vector<std::uint8_t>& out)
    : arch_(arch), pieces_(pieces), out_(out, arch.endian), word_(arch.pointer_bytes), above_sp_(arch.frame_code ? arch.frame_code->cfa_above_sp : 0),
      pc_(pieces.pc_column.value_or(static_cast<std::uint8_t>(number_of(arch, arch::Role::pc)))), sp_(number_of(arch, arch::Role::sp)),
      fp_(number_of(arch, arch::Role::fp)), ra_(number_of(arch, arch::Role::ra)), saved_by_call_{{static_cast<std::uint8_t>(pc_), -word_}} {}

void FrameTable::saved_at(unsigned reg, std::int64_t offset) {
  if (offset % word_) {  // nothing in a kernel: all are saved in whole words
    out_.byte(cfa_undefined);
    out_.uleb(reg);
  } else if (offset <= 0 && reg < 64) {
    out_.byte(cfa_offset | reg);
    out_.uleb(static_cast<std::uint64_t>(-offset / word_));
  } else {
    out_.byte(cfa_offset_extended_sf);
    out_.uleb(reg);
    out_.sleb(-offset / word_);
  }
}

void FrameTable::rule(std::uint8_t code, unsigned reg) {
  out_.byte(code);
  out_.uleb(reg);
}

const std::vector<SavedAt>& FrameTable::saved_by(UnwindRow::Kind kind) const {
  switch (kind) {
    case UnwindRow::Kind::call: return saved_by_call_;
    case UnwindRow::Kind::interrupt: return pieces_.interrupt_frame;
    case UnwindRow::Kind::interrupt_partial: return pieces_.interrupt_partial;
    default: return saved_by_none_;
  }
}

// All that holds in frames of a kind, whatever held before.
void FrameTable::rules(UnwindRow::Kind kind) {
  const auto saves = [](const std::vector<SavedAt>& places, int reg) { return std::ranges::find(places, reg, &SavedAt::reg) != places.end(); };
  const std::vector<SavedAt>& saved = saved_by(kind);
  set_cfa(initial(kind));
  if (saved.empty()) return rule(cfa_undefined, pc_);
  for (const arch::Register& reg : arch_.registers) {
    if (reg.dwarf < 0 || reg.role == arch::Role::pc || reg.role == arch::Role::sp || reg.role == arch::Role::fp) continue;
    if (arch_.frame_code && reg.role == arch::Role::ra && kind == UnwindRow::Kind::call) continue;  // set_ra()
    const bool general = reg.role == arch::Role::none && reg.bits == 8 * word_ && reg.dwarf < 32;
    const bool elsewhere = saves(pieces_.interrupt_frame, reg.dwarf) || saves(pieces_.interrupt_partial, reg.dwarf);
    if ((general || elsewhere) && !saves(saved, reg.dwarf)) rule(cfa_undefined, static_cast<unsigned>(reg.dwarf));
  }
  rule(cfa_same_value, fp_);
  if (kind == UnwindRow::Kind::call && above_sp_) callers_sp();
  for (const SavedAt& place : saved) {
    if (kind == UnwindRow::Kind::call) set_ra(initial(kind));
    else if (place.reg == pc_ && pieces_.user_sign.bits) pc_unless_users(place.offset);
    else if (kind == UnwindRow::Kind::interrupt && pieces_.stack_switch && place.reg == sp_) sp_where_switched(*pieces_.stack_switch, place.offset);
    else saved_at(place.reg, place.offset);
  }
}

void FrameTable::callers_sp() {
  rule(cfa_val_offset, sp_);
  out_.uleb(above_sp_ / word_);
}

// The expression begins with the cfa on its stack.
void FrameTable::sp_where_switched(const StackSwitch& rule, std::int64_t offset) {
  std::vector<std::uint8_t> bytes;
  Writer expression(bytes, arch_.endian);
  const auto add = [&](std::int64_t number) {
    expression.byte(op_consts);
    expression.sleb(number);
    expression.byte(op_plus);
  };
  add(offset);
  expression.byte(op_dup);
  add(rule.test - offset);
  expression.byte(op_deref);
  expression.byte(op_lit0 + (rule.mask & 31));
  expression.byte(op_and);
  expression.byte(op_bra);  // over the jump, to where the saved one is read
  expression.number(3, 2);
  expression.byte(op_skip);
  expression.number(1, 2);
  expression.byte(op_deref);
  out_.byte(cfa_val_expression);
  out_.uleb(sp_);
  out_.block(bytes);
}

// -1 behind a frame of user code.  The expression begins with the cfa on the stack.
void FrameTable::pc_unless_users(std::int64_t offset) {
  std::vector<std::uint8_t> kernel, bytes;
  Writer pc(kernel, arch_.endian), expression(bytes, arch_.endian);
  pc.byte(op_plus_uconst);
  pc.uleb(static_cast<std::uint64_t>(offset));
  pc.byte(op_deref);
  pc.byte(op_skip);
  pc.number(3, 2);  // over what follows
  expression.byte(op_dup);
  expression.byte(op_plus_uconst);
  expression.uleb(static_cast<std::uint64_t>(pieces_.user_sign.offset));
  expression.byte(op_deref);
  expression.byte(op_constu);
  expression.uleb(pieces_.user_sign.bits);
  expression.byte(op_and);
  expression.byte(op_bra);
  expression.number(kernel.size(), 2);
  bytes.insert(bytes.end(), kernel.begin(), kernel.end());
  expression.byte(op_drop);
  expression.byte(op_const1s);
  expression.byte(0xff);
  out_.byte(cfa_val_expression);
  out_.uleb(pc_);
  out_.block(bytes);
}

UnwindRow FrameTable::initial(UnwindRow::Kind kind) const {
  UnwindRow row;
  row.kind = kind;
  row.cfa_register = static_cast<std::uint8_t>(sp_);
  if (arch_.frame_code) row.ra = UnwindRow::Ra::in_register;
  if (kind == UnwindRow::Kind::call) row.cfa_offset = static_cast<std::int16_t>(arch_.frame_code ? above_sp_ : word_);
  return row;
}

FrameTable::Cie FrameTable::cie_for(UnwindRow::Kind kind, bool signal_frame) {
  const auto known = std::ranges::find_if(cies_, [&](const Cie& c) { return c.kind == kind && c.signal_frame == signal_frame; });
  if (known != cies_.end()) return *known;
  const std::size_t start = out_.size();
  out_.number(0, 4);
  out_.number(0xffff'ffff, 4);  // a CIE
  out_.byte(4);                 // the version since DWARF 4
  // A signal frame: the caller's pc is where it was stopped, not behind a call.  lldb wants the 'z', and then sizes.
  for (const char letter : signal_frame ? std::string_view("zS") : std::string_view()) out_.byte(static_cast<std::uint8_t>(letter));
  out_.byte(0);
  out_.byte(word_);
  out_.byte(0);                 // segment selectors: none
  out_.uleb(1);
  out_.sleb(-word_);
  out_.uleb(pc_);
  if (signal_frame) out_.uleb(0);
  rules(kind);
  close(start);
  return cies_.emplace_back(Cie{kind, signal_frame, start});
}

std::size_t FrameTable::open_fde(const Cie& cie, VirtAddr first, VirtAddr end) {
  const std::size_t start = out_.size();
  out_.number(0, 4);
  out_.number(cie.at, 4);
  out_.number(first.raw, word_);
  out_.number(end - first, word_);
  if (cie.signal_frame) out_.uleb(0);
  return start;
}

// Fills in the length; DW_CFA_nop is 0.
void FrameTable::close(std::size_t start) {
  while ((out_.size() - start - 4) % word_) out_.byte(0);
  out_.patch(start, out_.size() - start - 4, 4);
}

void FrameTable::advance(std::uint64_t distance) {
  if (distance == 0) return;
  if (distance < 64) return out_.byte(cfa_advance_loc | distance);
  const unsigned bytes = distance < 0x100 ? 1 : distance < 0x1'0000 ? 2 : 4;
  out_.byte(bytes == 1 ? cfa_advance_loc1 : bytes == 2 ? cfa_advance_loc2 : cfa_advance_loc4);
  out_.number(distance, bytes);
}

void FrameTable::set_cfa(const UnwindRow& row) {
  if (row.cfa == UnwindRow::Cfa::offset && row.cfa_offset >= 0) {
    out_.byte(cfa_def_cfa);
    out_.uleb(row.cfa_register);
    return out_.uleb(static_cast<std::uint64_t>(row.cfa_offset));
  }
  std::vector<std::uint8_t> bytes;
  Writer expression(bytes, arch_.endian);
  const bool behind = row.cfa == UnwindRow::Cfa::word_offset;
  based_on(expression, row.cfa_register, behind ? 0 : row.cfa_offset);
  if (row.cfa != UnwindRow::Cfa::offset) expression.byte(op_deref);
  if (behind) {
    expression.byte(op_consts);
    expression.sleb(row.cfa_offset);
    expression.byte(op_plus);
  }
  out_.byte(cfa_def_cfa_expression);
  out_.block(bytes);
}

void FrameTable::set_fp(const UnwindRow& row) {
  if (row.fp == UnwindRow::Saved::at_cfa) return saved_at(fp_, row.fp_offset);
  if (row.fp == UnwindRow::Saved::unchanged) {
    for (const SavedAt& place : pieces_.interrupt_frame)
      if (row.kind == UnwindRow::Kind::interrupt && place.reg == fp_) return saved_at(fp_, place.offset);
    out_.byte(cfa_same_value);
    return out_.uleb(fp_);
  }
  std::vector<std::uint8_t> bytes;
  Writer expression(bytes, arch_.endian);
  based_on(expression, fp_, row.fp_offset);
  out_.byte(cfa_expression);
  out_.uleb(fp_);
  out_.block(bytes);
}

void FrameTable::set_ra(const UnwindRow& row) {
  if (row.ra == UnwindRow::Ra::below_cfa) return saved_at(pc_, -word_);
  // The register of calls, too: gdb asks for it wherever it unwinds on AArch64.
  if (row.ra == UnwindRow::Ra::at_cfa) {
    saved_at(ra_, row.ra_offset);
    return saved_at(pc_, row.ra_offset);
  }
  rule(cfa_same_value, ra_);
  rule(cfa_register, pc_);
  out_.uleb(ra_);
}

// `known`: the last row of which something was known, whose rules hold but for the return address when `lost`.
void FrameTable::row(const UnwindRow& row, UnwindRow& known, bool& lost) {
  if (!row.known()) {
    if (!lost) rule(cfa_undefined, pc_);
    lost = true;
    return;
  }
  if (row.kind != known.kind) {
    rules(row.kind);
    if (row.kind == UnwindRow::Kind::call) callers_sp();  // after one in which the stack pointer was saved
    known = initial(row.kind);
    lost = false;
  } else if (lost && row.kind != UnwindRow::Kind::call) {
    for (const SavedAt& place : saved_by(row.kind))
      if (place.reg == pc_) saved_at(pc_, place.offset);
  }
  const bool ra_same = !lost && row.ra == known.ra && (row.ra != UnwindRow::Ra::at_cfa || row.ra_offset == known.ra_offset);
  if (row.kind == UnwindRow::Kind::call && !ra_same) set_ra(row);
  lost = false;
  const bool cfa_same = row.cfa == known.cfa && row.cfa_register == known.cfa_register && row.cfa_offset == known.cfa_offset;
  const bool fp_same = row.fp == known.fp && (row.fp == UnwindRow::Saved::unchanged || row.fp_offset == known.fp_offset);
  if (!cfa_same) set_cfa(row);
  if (!fp_same) set_fp(row);
  known = row;
}

void FrameTable::fde(Rows rows, VirtAddr first, VirtAddr end) {
  const auto model = std::ranges::find_if(rows, &UnwindRow::known);
  const Cie cie = cie_for(model == rows.end() ? rows[0].kind : model->kind, std::ranges::any_of(rows, &UnwindRow::breaks_order));
  const std::size_t start = open_fde(cie, first, end);
  UnwindRow known = initial(cie.kind);
  bool lost = model == rows.end();
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (i) advance(rows[i].address - std::max(first, rows[i - 1].address));
    row(rows[i], known, lost);
  }
  close(start);
}

VirtAddr end_of_code(const Piece& piece) {
  VirtAddr end = piece.unwind.back().address + 1;
  for (const PieceSection& section : piece.sections)
    if (section.code && section.address < end) end = std::max(end, section.address + section.size);
  return end;
}

// Where nobody knows anything symbols do not matter, but for the last before something is known again: a function may begin there.
void FrameTable::add(const Piece& piece) {
  constexpr std::size_t most_rows = 4096;
  constexpr std::uint64_t farthest = 0xffff'ffff;  // that one instruction can advance
  const Rows rows = piece.unwind;
  if (rows.empty()) return;
  const VirtAddr end = end_of_code(piece);
  auto symbol = piece.symbols.begin();
  VirtAddr at = rows[0].address;
  for (std::size_t first = 0; first < rows.size();) {
    if (rows[first].kind == UnwindRow::Kind::elsewhere) {
      if (++first < rows.size()) at = rows[first].address;
      continue;
    }
    while (symbol != piece.symbols.end() && symbol->address <= at) ++symbol;
    const VirtAddr next_symbol = symbol != piece.symbols.end() ? symbol->address : end;
    std::size_t last = first + 1;
    while (last < rows.size() && last - first < most_rows && rows[last].address < next_symbol && rows[last].address - at <= farthest &&
           rows[last].kind != UnwindRow::Kind::elsewhere)
      ++last;
    const VirtAddr next_row = last < rows.size() ? rows[last].address : end;
    if (!rows[last - 1].known())
      while (symbol != piece.symbols.end() && std::next(symbol) != piece.symbols.end() && std::next(symbol)->address <= next_row) ++symbol;
    const VirtAddr stop = symbol != piece.symbols.end() ? std::min(symbol->address, next_row) : next_row;
    fde(rows.subspan(first, last - first), at, stop);
    first = stop < next_row ? last - 1 : last;
    at = stop;
  }
}

// Below the middle of the address space, or below the kernel where that has no half of its own; but for the first pages: some
// debuggers take low code for discarded code.
void FrameTable::add_user_code() {
  constexpr std::uint64_t low = 0x1'0000;
  std::uint64_t end = 0;
  for (const arch::PagingMode& mode : arch_.paging) {
    const int bits = mode.halves == arch::Halves::one_root_unsigned ? mode.va_bits : mode.va_bits - 1;
    end = std::max(end, bits < 64 ? std::uint64_t{1} << bits : ~std::uint64_t{0});
  }
  for (const Piece& piece : pieces_.pieces)
    for (const PieceSection& section : piece.sections)
      if (section.code) end = std::min(end, section.address.raw);
  if (end > low) close(open_fde(cie_for(UnwindRow::Kind::end, false), {low}, {end}));
}

// The end of the address space, where frames of user code are that has no addresses of its own.
void FrameTable::add_no_code() {
  close(open_fde(cie_for(UnwindRow::Kind::end, false), {0xffff'ffff'ffff'0000}, {~std::uint64_t{0}}));
}

}  // namespace

std::vector<std::uint8_t> make_debug_frame(const arch::Arch& arch, const Pieces& pieces) {
  std::vector<std::uint8_t> out;
  if (std::ranges::all_of(pieces.pieces, [](const Piece& piece) { return piece.unwind.empty(); })) return out;
  FrameTable table(arch, pieces, out);
  for (const Piece& piece : pieces.pieces) table.add(piece);
  if (pieces.user_sign.bits) table.add_no_code();
  else table.add_user_code();
  return out;
}

}  // namespace kvm
