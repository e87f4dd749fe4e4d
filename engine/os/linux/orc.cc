// Two parallel arrays: code addresses as 32-bit distances from where each is stored, and entries of six bytes: two offsets
// and bit-fields that changed over time (struct orc_entry).  The kernel sorts both at build time, a module's when it is loaded.
#include "engine/os/linux/orc.h"

#include <algorithm>

#include "engine/integers.h"
#include "engine/registers.h"

namespace kvm::os_linux {
namespace {

constexpr std::uint64_t most_rows = 1 << 23, entry_bytes = 6, address_bytes = 4;

struct BitField {
  unsigned shift = 0, bits = 0;  // in the last two bytes of an entry
  unsigned of(std::uint16_t flags) const { return flags >> shift & ((1u << bits) - 1); }
};

// The entry's layout.  `end` went away when the types UNDEFINED and END_OF_STACK came before the others (v6.4), `signal`
// came with v6.3; before it every interrupt frame was taken for one.
struct Layout {
  BitField cfa_base{0, 4}, fp_base{4, 4}, type{8, 3}, signal{11, 1}, end;
  unsigned first_type() const { return end.bits ? 0 : 2; }  // number of ORC_TYPE_CALL
};

Result<BitField> field_of(const KernelView& view, std::string_view name) {
  const Member member = TRY(view.types.member("orc_entry", name));
  const std::uint64_t shift = (member.offset - 4) * 8 + member.bit_offset;
  if (member.offset < 4 || !member.bit_size || shift + member.bit_size > 16)
    return fail(Errc::unsupported, "struct orc_entry has another layout: " + std::string(name));
  return BitField{static_cast<unsigned>(shift), member.bit_size};
}

Result<Layout> read_layout(const KernelView& view) {
  const std::uint64_t size = TRY(view.types.size_of("orc_entry"));
  if (size != entry_bytes) return fail(Errc::unsupported, "struct orc_entry has another size");
  Layout layout;
  layout.cfa_base = TRY(field_of(view, "sp_reg"));
  layout.fp_base = TRY(field_of(view, "bp_reg"));
  layout.type = TRY(field_of(view, "type"));
  layout.signal = field_of(view, "signal").value_or(BitField{});
  layout.end = field_of(view, "end").value_or(BitField{});
  return layout;
}

struct Unwind {
  std::vector<UnwindRow> rows;
  std::size_t missing = 0;  // rows whose page is not in the dump
};

struct Array {
  std::vector<std::uint8_t> bytes;
  std::vector<std::pair<std::uint64_t, std::uint64_t>> gaps;  // [first, last): not in the dump

  bool misses(std::uint64_t at, std::uint64_t size) const {
    return std::ranges::any_of(gaps, [&](const auto& gap) { return at < gap.second && gap.first < at + size; });
  }
};

class Table {
 public:
  static Result<Table> read(const KernelView& view, VirtAddr addresses, VirtAddr entries, std::uint64_t count);
  Unwind rows() const;

 private:
  Table(const KernelView& view, VirtAddr at, Layout layout) : at_(at), layout_(layout), order_(view.arch.endian) {}
  std::uint16_t flags(std::size_t i) const { return load<std::uint16_t>(entries_.bytes.data() + i * entry_bytes + 4, order_); }
  std::int16_t offset(std::size_t i, std::size_t at) const {
    return static_cast<std::int16_t>(load<std::uint16_t>(entries_.bytes.data() + i * entry_bytes + at, order_));
  }
  void choose_numbering(std::span<const arch::OrcNumbering> known);
  void number_registers(const arch::Arch& arch);
  UnwindRow row(std::size_t i) const;
  void set_cfa(UnwindRow& row, unsigned base) const;
  void set_fp(UnwindRow& row, unsigned base) const;

  VirtAddr at_;
  Layout layout_;
  std::endian order_;
  Array addresses_, entries_;
  const arch::OrcNumbering* numbering_ = nullptr;
  std::int16_t dwarf_[16];  // of the plain base registers, -1: none
};

// Pages may be missing from the dump: what they held is told by `gaps`, byte ranges of the array.
Result<Array> read_array(const KernelView& view, VirtAddr at, std::uint64_t bytes) {
  constexpr std::uint64_t step = 512;  // no page is smaller
  Array array{std::vector<std::uint8_t>(bytes), {}};
  for (std::uint64_t done = 0; done < bytes;) {
    auto got = view.space.read(at + done, MutableBytes(array.bytes).subspan(done));
    if (!got && done == 0 && bytes <= step) return tl::unexpected(got.error());
    if (got) done += *got;
    if (got && *got) continue;
    const std::uint64_t next = std::min(bytes, done + step - (at.raw + done) % step);
    if (!array.gaps.empty() && array.gaps.back().second == done) array.gaps.back().second = next;
    else array.gaps.emplace_back(done, next);
    done = next;
  }
  if (array.gaps.size() == 1 && array.gaps[0] == std::pair(std::uint64_t{0}, bytes))
    return fail(Errc::not_in_dump, at.raw, "the unwind table cannot be read");
  return array;
}

Result<Table> Table::read(const KernelView& view, VirtAddr addresses, VirtAddr entries, std::uint64_t count) {
  if (!view.arch.linux_layout || view.arch.linux_layout->orc.empty()) return fail(Errc::unsupported, "no ORC on this processor");
  if (count == 0 || count > most_rows) return fail(Errc::bad_data, "the unwind table has " + std::to_string(count) + " rows");
  const Layout layout = TRY(read_layout(view));
  Table table(view, addresses, layout);
  table.addresses_ = TRY(read_array(view, addresses, count * address_bytes));
  table.entries_ = TRY(read_array(view, entries, count * entry_bytes));
  table.choose_numbering(view.arch.linux_layout->orc);
  table.number_registers(view.arch);
  return table;
}

// Nothing in an entry tells the numbering, but most frames by far are found from the stack pointer.
void Table::choose_numbering(std::span<const arch::OrcNumbering> known) {
  std::size_t uses[16] = {};
  for (std::size_t i = 0; i < entries_.bytes.size() / entry_bytes; ++i) ++uses[layout_.cfa_base.of(flags(i)) & 15];
  numbering_ = &*std::ranges::max_element(known, {}, [&](const auto& numbering) { return uses[numbering.sp & 15]; });
}

void Table::number_registers(const arch::Arch& arch) {
  std::ranges::fill(dwarf_, std::int16_t{-1});
  const auto set = [&](unsigned number, std::optional<std::size_t> index) {
    if (index) dwarf_[number & 15] = arch.registers[*index].dwarf;
  };
  set(numbering_->sp, register_index(arch, arch::Role::sp));
  set(numbering_->fp, register_index(arch, arch::Role::fp));
  set(numbering_->sp_indirect, register_index(arch, arch::Role::sp));
  set(numbering_->fp_indirect, register_index(arch, arch::Role::fp));
  for (const arch::OrcRegister& other : numbering_->others) set(other.number, register_index(arch, other.reg));
}

// As unwind_next_frame() finds "sp".  Registers other than sp and fp are taken as they are, without the offset.
void Table::set_cfa(UnwindRow& row, unsigned base) const {
  const std::int16_t reg = dwarf_[base & 15];
  if (reg < 0) {
    row.kind = UnwindRow::Kind::unknown;
    return;
  }
  row.cfa_register = static_cast<std::uint8_t>(reg);
  if (base == numbering_->sp_indirect) row.cfa = UnwindRow::Cfa::word_offset;  // so since v5.12
  else if (base == numbering_->fp_indirect) row.cfa = UnwindRow::Cfa::word;
  else if (base != numbering_->sp && base != numbering_->fp) row.cfa_offset = 0;
}

void Table::set_fp(UnwindRow& row, unsigned base) const {
  if (base == numbering_->cfa) row.fp = UnwindRow::Saved::at_cfa;
  else if (base == numbering_->fp) row.fp = UnwindRow::Saved::at_fp;
}

UnwindRow Table::row(std::size_t i) const {
  const std::uint16_t bits = flags(i);
  const auto distance = static_cast<std::int32_t>(load<std::uint32_t>(addresses_.bytes.data() + i * address_bytes, order_));
  UnwindRow row;
  row.address = at_ + (i * address_bytes + static_cast<std::uint64_t>(std::int64_t{distance}));
  if (entries_.misses(i * entry_bytes, entry_bytes)) return row;
  const unsigned type = layout_.type.of(bits), base = layout_.cfa_base.of(bits), call = layout_.first_type();
  const bool ends = layout_.end.bits ? layout_.end.of(bits) != 0 && base == 0 : type == 1;
  if (ends) row.kind = UnwindRow::Kind::end;
  if (ends || base == 0 || type < call || type > call + 2) return row;
  row.kind = type == call ? UnwindRow::Kind::call : type == call + 1 ? UnwindRow::Kind::interrupt : UnwindRow::Kind::interrupt_partial;
  row.interrupted = layout_.signal.bits ? layout_.signal.of(bits) != 0 : type != call;
  row.cfa_offset = offset(i, 0);
  row.fp_offset = offset(i, 2);
  set_cfa(row, base);
  set_fp(row, layout_.fp_base.of(bits));
  return row;
}

// Keeps the order of rows for one address.
void sort_by_address(std::vector<UnwindRow>& rows) {
  if (std::ranges::is_sorted(rows, {}, &UnwindRow::address)) return;  // as the kernel keeps them
  std::vector<std::pair<VirtAddr, std::size_t>> order;
  for (std::size_t i = 0; i < rows.size(); ++i) order.emplace_back(rows[i].address, i);
  std::ranges::sort(order);
  std::vector<UnwindRow> sorted;
  for (const auto& [address, i] : order) sorted.push_back(rows[i]);
  rows = std::move(sorted);
}

// Rows whose page is missing are `unknown`; so is the last row before a gap in the addresses, since nobody knows where it ends.
// The kernel's search takes the last of several rows for one address (a section's end and the next one's beginning).
Unwind Table::rows() const {
  Unwind unwind;
  std::vector<UnwindRow>& rows = unwind.rows;
  const std::size_t count = addresses_.bytes.size() / address_bytes;
  rows.reserve(count);
  for (std::size_t i = 0; i < count; ++i) {
    const bool lost = addresses_.misses(i * address_bytes, address_bytes);
    unwind.missing += lost || entries_.misses(i * entry_bytes, entry_bytes);
    if (lost && !rows.empty()) rows.back() = {.address = rows.back().address};
    if (!lost) rows.push_back(row(i));
  }
  sort_by_address(rows);
  std::size_t kept = 0;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (kept && rows[kept - 1].address == rows[i].address) --kept;
    rows[kept++] = rows[i];
  }
  rows.resize(kept);
  return unwind;
}

bool has_orc(const KernelView& view) { return view.arch.linux_layout && !view.arch.linux_layout->orc.empty(); }

Result<Unwind> read_kernel(const KernelView& view) {
  const VirtAddr addresses = TRY(view.address_of("__start_orc_unwind_ip")), end = TRY(view.address_of("__stop_orc_unwind_ip"));
  const VirtAddr entries = TRY(view.address_of("__start_orc_unwind"));
  const Table table = TRY(Table::read(view, addresses, entries, (end - addresses) / address_bytes));
  return table.rows();
}

Result<Unwind> read_module(const KernelView& view, const Record& module) {
  const VirtAddr addresses = TRY(module.pointer("arch.orc_unwind_ip")), entries = TRY(module.pointer("arch.orc_unwind"));
  const std::uint64_t count = TRY(module.number("arch.num_orcs"));
  const Table table = TRY(Table::read(view, addresses, entries, count));
  return table.rows();
}

std::vector<UnwindRow> rows_of(Result<Unwind> unwind, const std::string& whose, std::vector<std::string>& remarks) {
  const std::string cost = "; backtraces may end in " + whose;
  if (!unwind) remarks.push_back("no unwind table (ORC) of " + whose + ": " + to_string(unwind.error()) + cost);
  else if (unwind->missing) remarks.push_back(std::to_string(unwind->missing) + " rows of the unwind table (ORC) of " + whose + " are missing" + cost);
  return unwind ? std::move(unwind->rows) : std::vector<UnwindRow>{};
}

// Whether the frame of a function that begins at `start` is the outermost one at first.
bool ends_at(const std::vector<UnwindRow>& rows, VirtAddr start) {
  const auto after = std::ranges::upper_bound(rows, start, {}, &UnwindRow::address);
  return after != rows.begin() && after[-1].kind == UnwindRow::Kind::end;
}

}  // namespace

// A system call's frame, and a thread's first one, is left like any other: nothing of user code hangs on its pc being exact, and
// debuggers hide the name of a frame behind which the caller was interrupted.
std::vector<UnwindRow> kernel_unwind(const KernelView& view, const Symbols& symbols, std::vector<std::string>& remarks) {
  if (!view.arch.linux_layout) return {};
  if (!has_orc(view)) return entry_code(view, symbols);
  std::vector<UnwindRow> rows = rows_of(read_kernel(view), "the kernel", remarks);
  const std::string_view entry = view.arch.linux_layout->interrupt_frame.call_prefix;
  for (UnwindRow& row : rows) {
    if (!row.interrupted) continue;
    const auto symbol = symbols.at(row.address);
    if (symbol && (symbol->name.starts_with(entry) || ends_at(rows, symbol->address))) row.interrupted = false;
  }
  return rows;
}

std::vector<UnwindRow> module_unwind(const KernelView& view, const Module& module, std::vector<std::string>& remarks) {
  if (!has_orc(view)) return {};
  const Record record(view, "module", module.handle);
  if (auto count = record.number("arch.num_orcs"); count && *count == 0) return {};
  return rows_of(read_module(view, record), "module " + module.name, remarks);
}

// The caller's stack pointer, as the distance from `sp`; none when no call of the function is in sight.
static std::optional<std::int16_t> distance_to_caller(const KernelView& view, VirtAddr function, VirtAddr sp) {
  constexpr std::size_t words = 256, longest_call = 8;
  const auto call_target = view.arch.linux_layout ? view.arch.linux_layout->call_target : nullptr;
  for (std::size_t i = 0; call_target && i < words; ++i) {
    const std::uint64_t offset = i * view.arch.pointer_bytes;
    const auto back = view.pointer_at(sp + offset);
    if (!back) break;
    std::uint8_t code[longest_call];
    if (view.space.read(*back - longest_call, code).value_or(0) == longest_call && call_target(Bytes(code), back->raw) == function.raw)
      return static_cast<std::int16_t>(offset + view.arch.pointer_bytes);
  }
  return std::nullopt;
}

void add_rows_of_cpus(const KernelView& view, const Symbols& symbols, const std::vector<Cpu>& cpus, std::vector<UnwindRow>& rows) {
  const auto sp_index = register_index(view.arch, arch::Role::sp);
  for (const Cpu& cpu : cpus) {
    if (!cpu.registers || !sp_index) continue;
    const VirtAddr pc{cpu.registers->get(arch::Role::pc).value_or(0)}, sp{cpu.registers->get(arch::Role::sp).value_or(0)};
    const auto next = std::ranges::upper_bound(rows, pc, {}, &UnwindRow::address);
    const auto function = symbols.at(pc);
    if (!function || next == rows.begin() || std::prev(next)->kind != UnwindRow::Kind::unknown) continue;
    const auto distance = distance_to_caller(view, function->address, sp);
    if (!distance) continue;
    UnwindRow row{.address = pc, .kind = UnwindRow::Kind::call};
    row.cfa_register = static_cast<std::uint8_t>(view.arch.registers[*sp_index].dwarf);
    row.cfa_offset = *distance;
    const auto at = std::prev(next)->address == pc ? std::prev(next) : rows.insert(next, row);
    *at = row;
    if (std::next(at) == rows.end() || std::next(at)->address != pc + 1) rows.insert(std::next(at), UnwindRow{.address = pc + 1});
  }
}

void add_interrupt_places(const KernelView& view, Pieces& pieces) {
  if (!view.arch.linux_layout || view.arch.linux_layout->interrupt_frame.regs.empty()) return;
  const arch::InterruptFrame& frame = view.arch.linux_layout->interrupt_frame;
  const auto first = frame.partial.empty() ? Member{.offset = ~std::uint64_t{0}} : view.types.member(frame.record, frame.partial);
  if (!first) return;
  for (const arch::SavedRegister& saved : frame.regs) {
    const auto member = saved.member.empty() ? Member{} : view.types.member(frame.record, saved.member);
    const auto index = register_index(view.arch, saved.reg);
    if (!member || !index || view.arch.registers[*index].dwarf < 0) continue;
    const auto number = static_cast<std::uint8_t>(view.arch.registers[*index].dwarf);
    const auto offset = static_cast<std::int64_t>(member->offset) + saved.word_at;
    pieces.interrupt_frame.push_back({number, offset});
    if (saved.reg == frame.user_register) pieces.user_sign = {offset, frame.user_bits};
    if (member->offset >= first->offset) pieces.interrupt_partial.push_back({number, offset - static_cast<std::int64_t>(first->offset)});
  }
}

}  // namespace kvm::os_linux
