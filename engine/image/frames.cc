// One common information entry (CIE) per kind of frame tells what holds for all of its rows; a frame description entry (FDE)
// covers a run of rows of one kind.  Runs are cut where symbols begin: a debugger executes an FDE from its start to reach a row.
//  Registers that a call may change are `undefined` in calls, since the kernel's tables do not follow them.
#include "engine/image/frames.h"

#include <algorithm>

#include "engine/registers.h"

namespace kvm {
namespace {

// DWARF 5, table 7.29, and the expression opcodes of table 7.9.
enum : std::uint8_t {
  cfa_advance_loc = 0x40, cfa_offset = 0x80,  // with the operand in the low six bits
  cfa_advance_loc1 = 0x02, cfa_advance_loc2 = 0x03, cfa_advance_loc4 = 0x04, cfa_offset_extended = 0x05, cfa_undefined = 0x07,
  cfa_same_value = 0x08, cfa_def_cfa = 0x0c, cfa_def_cfa_expression = 0x0f, cfa_expression = 0x10, cfa_offset_extended_sf = 0x11,
  cfa_val_expression = 0x16,
  op_deref = 0x06, op_constu = 0x10, op_consts = 0x11, op_dup = 0x12, op_drop = 0x13, op_and = 0x1a, op_plus = 0x22, op_plus_uconst = 0x23,
  op_bra = 0x28, op_skip = 0x2f, op_lit0 = 0x30, op_breg0 = 0x70, op_bregx = 0x92,
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

 private:
  struct Cie {
    UnwindRow::Kind kind;
    bool breaks_order;
    std::size_t at;
  };

  std::size_t cie_for(const UnwindRow& row);
  void write_cie_rules(UnwindRow::Kind kind);
  std::size_t open_fde(std::size_t cie, VirtAddr first, VirtAddr end);
  void close(std::size_t start);
  void advance(std::uint64_t distance);
  void row(const UnwindRow& row, const UnwindRow& before);
  void set_cfa(const UnwindRow& row);
  void set_fp(const UnwindRow& row);
  void saved_at(unsigned reg, std::int64_t offset);
  void pc_unless_users(std::int64_t offset);
  UnwindRow initial(UnwindRow::Kind kind) const;  // what holds at the start of each FDE of a kind

  const arch::Arch& arch_;
  const Pieces& pieces_;
  Writer out_;
  std::uint8_t word_;
  unsigned pc_ = 0, sp_ = 0, fp_ = 0;
  std::vector<Cie> cies_;
};

unsigned number_of(const arch::Arch& arch, arch::Role role) {
  const auto index = register_index(arch, role);
  return index ? static_cast<unsigned>(std::max<int>(arch.registers[*index].dwarf, 0)) : 0;
}

FrameTable::FrameTable(const arch::Arch& arch, const Pieces& pieces, std::vector<std::uint8_t>& out)
    : arch_(arch), pieces_(pieces), out_(out, arch.endian), word_(arch.pointer_bytes), pc_(number_of(arch, arch::Role::pc)),
      sp_(number_of(arch, arch::Role::sp)), fp_(number_of(arch, arch::Role::fp)) {}

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

void FrameTable::write_cie_rules(UnwindRow::Kind kind) {
  using enum UnwindRow::Kind;
  const auto rule = [this](std::uint8_t code, unsigned reg) {
    out_.byte(code);
    out_.uleb(reg);
  };
  set_cfa(initial(kind));
  if (kind == unknown || kind == end) return rule(cfa_undefined, pc_);
  const std::vector<SavedAt>& saved = kind == interrupt ? pieces_.interrupt_frame : pieces_.interrupt_partial;
  for (const arch::Register& reg : arch_.registers) {
    if (reg.role == arch::Role::pc || reg.role == arch::Role::sp || reg.role == arch::Role::fp) continue;
    const bool general = reg.role == arch::Role::none && reg.bits == 8 * word_ && reg.dwarf >= 0 && reg.dwarf < 32;
    const bool kept = kind != call && std::ranges::any_of(saved, [&](const SavedAt& s) { return s.reg == reg.dwarf; });
    if (general && !kept) rule(cfa_undefined, static_cast<unsigned>(reg.dwarf));
  }
  rule(cfa_same_value, fp_);
  if (kind == call) return saved_at(pc_, -word_);
  for (const SavedAt& place : saved) {
    if (place.reg == pc_ && pieces_.user_sign.bits) pc_unless_users(place.offset);
    else saved_at(place.reg, place.offset);
  }
}

// 0, where debuggers stop, behind a frame of user code.  The expression begins with the cfa on the stack.
void FrameTable::pc_unless_users(std::int64_t offset) {
  std::vector<std::uint8_t> kernel, bytes;
  Writer pc(kernel, arch_.endian), expression(bytes, arch_.endian);
  pc.byte(op_plus_uconst);
  pc.uleb(static_cast<std::uint64_t>(offset));
  pc.byte(op_deref);
  pc.byte(op_skip);
  pc.number(2, 2);  // over what follows
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
  expression.byte(op_lit0);
  out_.byte(cfa_val_expression);
  out_.uleb(pc_);
  out_.block(bytes);
}

UnwindRow FrameTable::initial(UnwindRow::Kind kind) const {
  UnwindRow row;
  row.kind = kind;
  row.cfa_register = static_cast<std::uint8_t>(sp_);
  row.cfa_offset = static_cast<std::int16_t>(kind == UnwindRow::Kind::call ? word_ : 0);
  return row;
}

std::size_t FrameTable::cie_for(const UnwindRow& row) {
  const auto known = std::ranges::find_if(cies_, [&](const Cie& c) { return c.kind == row.kind && c.breaks_order == row.breaks_order(); });
  if (known != cies_.end()) return known->at;
  const std::size_t start = out_.size();
  out_.number(0, 4);
  out_.number(0xffff'ffff, 4);  // a CIE
  out_.byte(4);                 // the version since DWARF 4
  if (row.breaks_order()) out_.byte('S');  // a signal frame: the caller's pc is where it was stopped, not behind a call
  out_.byte(0);
  out_.byte(word_);
  out_.byte(0);                 // segment selectors: none
  out_.uleb(1);
  out_.sleb(-word_);
  out_.uleb(pc_);
  write_cie_rules(row.kind);
  close(start);
  cies_.push_back({row.kind, row.breaks_order(), start});
  return start;
}

std::size_t FrameTable::open_fde(std::size_t cie, VirtAddr first, VirtAddr end) {
  const std::size_t start = out_.size();
  out_.number(0, 4);
  out_.number(cie, 4);
  out_.number(first.raw, word_);
  out_.number(end - first, word_);
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

void FrameTable::row(const UnwindRow& row, const UnwindRow& before) {
  const bool cfa_same = row.cfa == before.cfa && row.cfa_register == before.cfa_register && row.cfa_offset == before.cfa_offset;
  const bool fp_same = row.fp == before.fp && (row.fp == UnwindRow::Saved::unchanged || row.fp_offset == before.fp_offset);
  if (!cfa_same) set_cfa(row);
  if (!fp_same) set_fp(row);
}

VirtAddr end_of_code(const Piece& piece) {
  VirtAddr end = piece.unwind.back().address + 1;
  for (const PieceSection& section : piece.sections)
    if (section.code && section.address < end) end = std::max(end, section.address + section.size);
  return end;
}

void FrameTable::add(const Piece& piece) {
  constexpr std::size_t most_rows = 256;
  constexpr std::uint64_t farthest = 0xffff'ffff;  // that one instruction can advance
  const std::vector<UnwindRow>& rows = piece.unwind;
  auto symbol = piece.symbols.begin();
  const auto starts_symbol = [&](const UnwindRow& row) {
    while (symbol != piece.symbols.end() && symbol->address < row.address) ++symbol;
    return symbol != piece.symbols.end() && symbol->address == row.address;
  };
  for (std::size_t first = 0; first < rows.size();) {
    const UnwindRow& head = rows[first];
    std::size_t last = first + 1;
    while (last < rows.size() && last - first < most_rows && rows[last].kind == head.kind && rows[last].breaks_order() == head.breaks_order() &&
           rows[last].address - rows[last - 1].address <= farthest && !starts_symbol(rows[last]))
      ++last;
    if (head.kind == UnwindRow::Kind::elsewhere) {
      first = last;
      continue;
    }
    const std::size_t cie = cie_for(head), start = open_fde(cie, head.address, last < rows.size() ? rows[last].address : end_of_code(piece));
    UnwindRow before = initial(head.kind);
    for (std::size_t i = first; i < last; before = rows[i++]) {
      if (i > first) advance(rows[i].address - rows[i - 1].address);
      if (head.kind != UnwindRow::Kind::unknown && head.kind != UnwindRow::Kind::end) row(rows[i], before);
    }
    close(start);
    first = last;
  }
}

// Below the middle of the address space, but for the first pages: some debuggers take low code for discarded code.
void FrameTable::add_user_code() {
  constexpr std::uint64_t low = 0x1'0000;
  int bits = 0;
  for (const arch::PagingMode& mode : arch_.paging) bits = std::max<int>(bits, mode.va_bits);
  if (bits < 32) return;
  UnwindRow row;
  row.kind = UnwindRow::Kind::end;
  const std::size_t cie = cie_for(row);
  close(open_fde(cie, {low}, {std::uint64_t{1} << (bits - 1)}));
}

}  // namespace

std::vector<std::uint8_t> make_debug_frame(const arch::Arch& arch, const Pieces& pieces) {
  std::vector<std::uint8_t> out;
  if (std::ranges::all_of(pieces.pieces, [](const Piece& piece) { return piece.unwind.empty(); })) return out;
  FrameTable table(arch, pieces, out);
  for (const Piece& piece : pieces.pieces) table.add(piece);
  if (!pieces.user_sign.bits) table.add_user_code();
  return out;
}

}  // namespace kvm
