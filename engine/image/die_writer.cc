#include "engine/image/die_writer.h"

namespace kvm::image {
namespace {

constexpr std::uint16_t dwarf_version = 5;
constexpr std::uint8_t unit_compile = 1, language_c11 = 0x1d, op_addr = 0x03;  // DWARF 5, tables 7.2, 7.17 and 7.9

// A table of no lines, which says as much with its one file (DWARF 5, section 6.2.4).
void add_line_table(Buffer& table, std::uint8_t word) {
  constexpr std::uint8_t operands[] = {0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 1};
  constexpr std::uint8_t content_path = 1, form_string = 8;
  const auto length_at_end = [&](std::size_t at) { table.patch32(at, static_cast<std::uint32_t>(table.size() - at - 4)); };
  const auto entry = [&](std::string_view path) {
    for (const std::uint8_t byte : {std::uint8_t{1}, content_path, form_string, std::uint8_t{1}}) table.u8(byte);
    table.bytes({reinterpret_cast<const std::uint8_t*>(path.data()), path.size()});
    table.u8(0);
  };
  const std::size_t start = table.size();
  table.u32(0);
  table.u16(dwarf_version);
  table.u8(word);
  table.u8(0);
  const std::size_t header = table.size();
  table.u32(0);
  for (const int value : {1, 1, 1, -5, 14, 13}) table.u8(static_cast<std::uint8_t>(value));
  table.bytes(operands);
  entry(".");
  entry("<no source lines>");
  length_at_end(header);
  length_at_end(start);
}

}  // namespace

DieWriter::DieWriter(const arch::Arch& arch, TypeTable& types, const Homes& homes, std::string_view producer)
    : types_(types), homes_(homes), word_(arch.pointer_bytes), producer_(types.add_string(producer)),
      out_{Buffer(arch.endian, std::size_t{1} << 22), Buffer(arch.endian), Buffer(arch.endian), Abbreviations(arch.endian)},
      places_(std::size_t{types.size()} * 2), home_offsets_(types.size()) {}

void DieWriter::begin_unit(std::string_view unit_name, std::optional<std::uint32_t> home, std::optional<CodeRange> code) {
  ++unit_;
  home_ = home;
  unit_start_ = out_.info.size();
  Buffer& info = out_.info;
  info.u32(0);  // the length, when it is known
  info.u16(dwarf_version);
  info.u8(unit_compile);
  info.u8(word_);
  info.u32(0);  // all units share the abbreviations
  begin(Shape::unit, has_name | has_children | (code ? has_code : 0U));
  name(producer_);
  info.u8(language_c11);
  name(types_.add_string(unit_name));
  if (!code) return;
  info.word(code->first.raw, word_);
  info.u64(code->size);
  info.u32(static_cast<std::uint32_t>(out_.lines.size()));
  add_line_table(out_.lines, word_);
  address_range(*code);
}

void DieWriter::end_unit() {
  write_queue();
  children_end();
  for (const Fixup& fixup : fixups_) out_.info.patch32(fixup.at, places_[fixup.key].offset);
  fixups_.clear();
  out_.info.patch32(unit_start_, static_cast<std::uint32_t>(out_.info.size() - unit_start_ - 4));
}

// One table per unit, of one range and the terminator (DWARF 5, section 6.1.2).
void DieWriter::address_range(CodeRange code) {
  Buffer& table = out_.aranges;
  const std::size_t start = table.size();
  table.u32(0);
  table.u16(2);
  table.u32(static_cast<std::uint32_t>(unit_start_));
  table.u8(word_);
  table.u8(0);
  while ((table.size() - start) % (std::size_t{word_} * 2) != 0) table.u8(0);
  for (const std::uint64_t value : {code.first.raw, code.size, std::uint64_t{0}, std::uint64_t{0}}) table.word(value, word_);
  table.patch32(start, static_cast<std::uint32_t>(table.size() - start - 4));
}

DieWriter::Reference DieWriter::refer(NodeId id, bool by_name) const {
  const Node& node = types_[id];
  if (id == 0 || (node.kind == BtfKind::forward && !named(node.name))) return {0, false, 0};
  const bool at_home = node.homed && home_ == homes_.unit_of(id);
  if (node.homed && (at_home || !(by_name && node.declarable))) return {id, false, at_home ? has_type : has_far_type};
  return {id, by_name && (node.is_alias() || node.declarable), has_type};
}

void DieWriter::reference(const Reference& to) {
  if (to.extra == 0) return;
  const auto at = static_cast<std::uint32_t>(out_.info.size());
  out_.info.u32(0);
  if (to.extra == has_far_type) {
    far_fixups_.push_back({at, to.id});
    return;
  }
  const std::uint32_t k = key(to.id, to.by_name);
  fixups_.push_back({at, k});
  // Homed types of this unit are written without being asked for.
  if (places_[k].unit == unit_ || (types_[to.id].homed && !to.by_name)) return;
  places_[k].unit = unit_;
  queue_.push_back(k);
}

void DieWriter::write_queue() {
  for (std::size_t i = 0; i < queue_.size(); ++i) entry(queue_[i] / 2, queue_[i] % 2);
  queue_.clear();
}

void DieWriter::definition(NodeId homed) {
  home_offsets_[homed] = static_cast<std::uint32_t>(out_.info.size());
  entry(homed, false);
  write_queue();
}

void DieWriter::function(std::uint32_t function_name, NodeId type, CodeRange code, bool global, bool signal_frame) {
  constexpr std::uint8_t inlined = 1;  // DW_INL_inlined
  const auto abstract = static_cast<std::uint32_t>(out_.info.size() - unit_start_);
  if (signal_frame) {
    begin(Shape::inline_subprogram, has_name);
    name(function_name);
    out_.info.u8(inlined);
  }
  const Node& prototype = types_[type];
  const Reference result = type != 0 ? refer(prototype.target, true) : Reference{0, false, 0};
  const bool has_parameters = type != 0 && types_.references(prototype) > 1;
  begin(Shape::subprogram, has_name | result.extra | (global ? is_external : 0U) | (has_parameters || signal_frame ? has_children : 0U));
  name(function_name);
  out_.info.word(code.first.raw, word_);
  out_.info.u32(static_cast<std::uint32_t>(code.size));
  reference(result);
  if (signal_frame) call_of_itself(abstract, code);
  if (has_parameters) parameters(prototype);
  else if (signal_frame) children_end();
  write_queue();
}

void DieWriter::call_of_itself(std::uint32_t abstract, CodeRange code) {
  begin(Shape::inlined_call, 0);
  out_.info.u32(abstract);
  out_.info.word(code.first.raw, word_);
  out_.info.u32(static_cast<std::uint32_t>(code.size));
  out_.info.u8(0);  // gdb wants to be told where the call is: nowhere
  out_.info.u8(0);
}

void DieWriter::variable(std::uint32_t variable_name, NodeId type, VirtAddr address, bool global) {
  const Reference to = refer(type, false);
  begin(Shape::variable, has_name | to.extra | (global ? is_external : 0U));
  name(variable_name);
  reference(to);
  out_.info.uleb(1 + std::uint64_t{word_});
  out_.info.u8(op_addr);
  out_.info.word(address.raw, word_);
  write_queue();
}

DieWriter::Sections DieWriter::finish() && {
  for (const Fixup& fixup : far_fixups_) out_.info.patch32(fixup.at, home_offsets_[fixup.key]);
  return std::move(out_);
}

}  // namespace kvm::image
