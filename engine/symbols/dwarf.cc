// DWARF of a kernel: some 200 MB in thousands of units, nearly each of which repeats the same types.  So nothing is
// indexed: units are asked in order, and only those that mention the name are parsed.  LLVM parses; the file stays mapped.
// Manual: DWARF 5; sections in brackets below.  Older producers (versions 2 to 4) are read as well.
#include "engine/symbols/dwarf.h"

#include <llvm/DebugInfo/DWARF/DWARFCompileUnit.h>
#include <llvm/DebugInfo/DWARF/DWARFContext.h>
#include <llvm/Object/ObjectFile.h>
#include <llvm/Support/MemoryBuffer.h>

#include <algorithm>
#include <bitset>
#include <cstring>
#include <mutex>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "engine/integers.h"
#include "engine/symbols/type_graph.h"

namespace kvm {
namespace {

namespace dw = llvm::dwarf;
using SectionAddresses = std::vector<std::pair<std::string, VirtAddr>>;

void ignore(llvm::Error error) { llvm::consumeError(std::move(error)); }  // LLVM's default prints

// Tells LLVM where a relocatable file's sections are, so that it relocates debug information to run-time addresses.
class Placement final : public llvm::LoadedObjectInfoHelper<Placement> {
 public:
  explicit Placement(SectionAddresses sections) : sections_(std::move(sections)) {}
  std::uint64_t getSectionLoadAddress(const llvm::object::SectionRef& section) const override {
    auto name = section.getName();
    if (!name) return ignore(name.takeError()), 0;
    for (const auto& [given, address] : sections_)
      if (*name == llvm::StringRef(given)) return address.raw;
    return 0;
  }

 private:
  SectionAddresses sections_;
};

struct DwarfFile {
  std::unique_ptr<llvm::MemoryBuffer> buffer;
  std::unique_ptr<llvm::object::ObjectFile> object;
  std::unique_ptr<llvm::DWARFContext> context;
};

Result<DwarfFile> open_file(const std::string& path, const Placement* placement) {
  // Asking for a NUL at the end could make LLVM copy the file instead of mapping it.
  auto buffer = llvm::MemoryBuffer::getFile(path, false, false);
  if (!buffer) return fail(Errc::io, path + ": " + buffer.getError().message());
  auto object = llvm::object::ObjectFile::createObjectFile((*buffer)->getMemBufferRef());
  if (!object) return fail(Errc::bad_data, path + ": " + llvm::toString(object.takeError()));
  auto context = llvm::DWARFContext::create(**object, llvm::DWARFContext::ProcessDebugRelocations::Process, placement, "",
                                            ignore, ignore, true);
  bool has_info = false;
  context->getDWARFObj().forEachInfoSections([&](const llvm::DWARFSection& section) { has_info |= !section.Data.empty(); });
  if (!has_info) return fail(Errc::not_found, path + ": no DWARF");
  return DwarfFile{std::move(*buffer), std::move(*object), std::move(context)};
}

// Which units can mention a name: those with its text, or with the offset in .debug_str of a string that ends with it
// (linkers merge tails), be it in the unit itself [7.5.5, DW_FORM_strp] or in its table of offsets [7.26].
// A quick look at 100 KB instead of parsing them.  May say yes wrongly.
class NameMentions {
 public:
  NameMentions(std::string_view name, llvm::StringRef strings, std::endian order) : text_(name), order_(order) {
    text_ += '\0';
    for (std::size_t at = strings.find(text_); at != strings.npos; at = strings.find(text_, at + 1)) {
      offsets_.insert(static_cast<std::uint32_t>(at));
      low_halves_.set(at & 0xffff);
    }
  }

  bool in_unit(llvm::StringRef unit) const {
    return holds_offset(unit, 1) || ::memmem(unit.data(), unit.size(), text_.data(), text_.size()) != nullptr;
  }
  bool in_table(llvm::StringRef table) const { return holds_offset(table, 4); }

 private:
  // 64-bit DWARF is covered too: half of its 8-byte offsets are these four bytes.
  bool holds_offset(llvm::StringRef bytes, std::size_t step) const {
    const auto* at = reinterpret_cast<const std::uint8_t*>(bytes.data());
    if (offsets_.empty()) return false;
    for (std::size_t i = 0; i + 4 <= bytes.size(); i += step) {
      const std::uint32_t word = load<std::uint32_t>(at + i, order_);
      if (low_halves_[word & 0xffff] && offsets_.contains(word)) return true;
    }
    return false;
  }

  std::string text_;
  std::endian order_;
  std::unordered_set<std::uint32_t> offsets_;
  std::bitset<65536> low_halves_;
};

// The graph's ids are DIE offsets; the high byte numbers an array's dimension, because one DIE holds them all [5.5].
class DwarfGraph {
 public:
  explicit DwarfGraph(DwarfFile file) : file_(std::move(file)) {}

  std::endian order() const { return file_.context->isLittleEndian() ? std::endian::little : std::endian::big; }
  TypeId find(std::string_view name);
  TypeNode node(TypeId id);
  template <class Visit>
  void each_field(TypeId record, const Visit& visit);
  std::optional<std::int64_t> enumerator(std::string_view name);

 private:
  static constexpr int dimension_shift = 56;

  template <class Visit>
  void each_entry(std::string_view name, const Visit& visit);
  bool may_mention(llvm::DWARFUnit& unit, const NameMentions& mentions) const;
  llvm::DWARFDie die(TypeId id) { return file_.context->getDIEForOffset(id & ((TypeId{1} << dimension_shift) - 1)); }
  TypeNode array(const llvm::DWARFDie& die, TypeId id);
  TypeField field(const llvm::DWARFDie& member);
  TypeId definition(std::string_view name);
  bool is_complete(llvm::DWARFDie die) const;

  DwarfFile file_;
  std::unordered_map<std::string, TypeId> known_;  // 0: no such type
};

TypeId target_of(const llvm::DWARFDie& die) {
  const auto target = die.getAttributeValueAsReferencedDie(dw::DW_AT_type);
  return target ? target.getOffset() : 0;
}

std::string_view name_of(const llvm::DWARFDie& die) {
  const char* name = dw::toString(die.find(dw::DW_AT_name), nullptr);
  return name ? name : std::string_view{};
}

std::uint64_t number(const llvm::DWARFDie& die, dw::Attribute attribute, std::uint64_t otherwise = 0) {
  const auto value = die.find(attribute);
  if (const auto number = dw::toUnsigned(value)) return *number;
  return static_cast<std::uint64_t>(dw::toSigned(value, static_cast<std::int64_t>(otherwise)));
}

bool is_record(dw::Tag tag) {
  return tag == dw::DW_TAG_structure_type || tag == dw::DW_TAG_union_type || tag == dw::DW_TAG_class_type;
}

bool DwarfGraph::may_mention(llvm::DWARFUnit& unit, const NameMentions& mentions) const {
  if (file_.object->isRelocatableObject()) return true;  // offsets are not in place yet
  const llvm::StringRef unit_bytes = unit.getInfoSection().Data.slice(unit.getOffset(), unit.getNextUnitOffset());
  if (mentions.in_unit(unit_bytes)) return true;
  if (unit.getStringOffsetSection().Data.empty()) return false;
  const auto& table = unit.getStringOffsetsTableContribution();
  return table && mentions.in_table(unit.getStringOffsetSection().Data.substr(table->Base, table->Size));
}

// Calls visit(die) for every entry of that name and visit({}) after each unit that was looked at.
// Ends when that answers false.  Entries are not kept: a parsed unit is several times as large as the file's part.
template <class Visit>
void DwarfGraph::each_entry(std::string_view name, const Visit& visit) {
  const NameMentions mentions(name, file_.context->getDWARFObj().getStrSection(), order());
  for (const auto& unit : file_.context->compile_units()) {
    if (!may_mention(*unit, mentions)) continue;
    unit->getUnitDIE();  // finds the unit's string offsets
    const llvm::DWARFDataExtractor data = unit->getDebugInfoExtractor();
    const std::uint64_t end = unit->getNextUnitOffset();
    std::uint64_t offset = unit->getOffset() + unit->getHeaderSize();
    llvm::DWARFDebugInfoEntry entry;
    while (offset < end && entry.extractFast(*unit, &offset, data, end, 0)) {
      const llvm::DWARFDie die(unit.get(), &entry);
      if (entry.getAbbreviationDeclarationPtr() && name_of(die) == name && !visit(die)) return;
    }
    if (!visit(llvm::DWARFDie())) return;
  }
}

// A typedef that leads to a declaration says nothing: another unit knows more.
bool DwarfGraph::is_complete(llvm::DWARFDie die) const {
  for (int depth = 0; depth < 32 && die; ++depth) {
    if (die.find(dw::DW_AT_declaration)) return false;
    if (die.getTag() == dw::DW_TAG_array_type || is_record(die.getTag())) return true;
    die = die.getAttributeValueAsReferencedDie(dw::DW_AT_type);
  }
  return true;
}

TypeId DwarfGraph::find(std::string_view name) {
  const auto [known, is_new] = known_.try_emplace(std::string(name), 0);
  if (is_new) known->second = definition(name);
  return known->second;
}

TypeId DwarfGraph::definition(std::string_view name) {
  const auto rank_of = [](dw::Tag tag) {
    if (is_record(tag)) return 3;
    if (tag == dw::DW_TAG_typedef) return 2;
    return tag == dw::DW_TAG_base_type || tag == dw::DW_TAG_enumeration_type ? 1 : 0;
  };
  int best_rank = 0;
  TypeId best = 0;
  each_entry(name, [&](const llvm::DWARFDie& die) {
    if (!die) return best == 0;
    const int rank = rank_of(die.getTag());
    if (rank > best_rank && is_complete(die)) best_rank = rank, best = die.getOffset();
    return best_rank < 3;
  });
  return best;
}

std::optional<std::int64_t> DwarfGraph::enumerator(std::string_view name) {
  std::optional<std::int64_t> value;
  each_entry(name, [&](const llvm::DWARFDie& die) {
    if (die && die.getTag() == dw::DW_TAG_enumerator) value = static_cast<std::int64_t>(number(die, dw::DW_AT_const_value));
    return !value;
  });
  return value;
}

bool is_signed(std::uint64_t encoding) { return encoding == dw::DW_ATE_signed || encoding == dw::DW_ATE_signed_char; }

TypeNode::Kind base_kind(std::uint64_t encoding) {
  switch (encoding) {
    case dw::DW_ATE_boolean: case dw::DW_ATE_signed: case dw::DW_ATE_signed_char: case dw::DW_ATE_unsigned:
    case dw::DW_ATE_unsigned_char: case dw::DW_ATE_UTF: case dw::DW_ATE_address:
      return TypeNode::Kind::integer;
    default: return TypeNode::Kind::other;
  }
}

TypeNode DwarfGraph::node(TypeId id) {
  const llvm::DWARFDie die = id == 0 ? llvm::DWARFDie() : this->die(id);
  if (!die) return {};
  TypeNode node;
  node.size = number(die, dw::DW_AT_byte_size);
  switch (die.getTag()) {
    case dw::DW_TAG_base_type:
      node.name = name_of(die);
      node.kind = base_kind(number(die, dw::DW_AT_encoding));
      node.is_signed = is_signed(number(die, dw::DW_AT_encoding));
      break;
    case dw::DW_TAG_enumeration_type:
      node.name = name_of(die);
      node.kind = TypeNode::Kind::integer;
      // GCC tells the encoding here (an extension), others through the underlying type.
      if (die.find(dw::DW_AT_encoding)) node.is_signed = is_signed(number(die, dw::DW_AT_encoding));
      else if (const auto under = die.getAttributeValueAsReferencedDie(dw::DW_AT_type))
        node.is_signed = is_signed(number(under, dw::DW_AT_encoding));
      break;
    case dw::DW_TAG_pointer_type: case dw::DW_TAG_reference_type: case dw::DW_TAG_rvalue_reference_type:
      node.kind = TypeNode::Kind::pointer;
      if (node.size == 0) node.size = die.getDwarfUnit()->getAddressByteSize();
      node.target = target_of(die);
      break;
    case dw::DW_TAG_structure_type: case dw::DW_TAG_union_type: case dw::DW_TAG_class_type:
      node.name = name_of(die);
      node.kind = TypeNode::Kind::record;
      break;
    case dw::DW_TAG_array_type: return array(die, id);
    case dw::DW_TAG_typedef: node.name = name_of(die); [[fallthrough]];
    case dw::DW_TAG_const_type: case dw::DW_TAG_volatile_type: case dw::DW_TAG_restrict_type: case dw::DW_TAG_atomic_type:
      node.kind = TypeNode::Kind::alias;
      node.target = target_of(die);
      break;
    default: break;
  }
  return node;
}

TypeNode DwarfGraph::array(const llvm::DWARFDie& die, TypeId id) {
  TypeNode node;
  node.kind = TypeNode::Kind::array;
  node.target = target_of(die);
  const std::uint64_t dimension = id >> dimension_shift;
  std::uint64_t index = 0;
  for (const llvm::DWARFDie& child : die.children()) {
    if (child.getTag() != dw::DW_TAG_subrange_type) continue;
    if (index == dimension) {
      if (child.find(dw::DW_AT_count)) node.count = number(child, dw::DW_AT_count);
      else node.count = number(child, dw::DW_AT_upper_bound, ~std::uint64_t{0}) + 1;  // absent: flexible
    } else if (index == dimension + 1) {
      node.target = id + (TypeId{1} << dimension_shift);
      break;
    }
    ++index;
  }
  return node;
}

// DW_AT_data_bit_offset counts as we do [5.7.6].  Up to version 3, DW_AT_bit_offset counted from the most significant
// bit of a storage unit instead.
TypeField DwarfGraph::field(const llvm::DWARFDie& member) {
  TypeField field{name_of(member), target_of(member), 0, static_cast<std::uint32_t>(number(member, dw::DW_AT_bit_size))};
  if (const auto bits = dw::toUnsigned(member.find(dw::DW_AT_data_bit_offset))) {
    field.bit_offset = *bits;
    return field;
  }
  const auto location = member.find(dw::DW_AT_data_member_location);
  if (const auto block = location ? location->getAsBlock() : std::nullopt) {  // version 2: DW_OP_plus_uconst, offset
    const llvm::DataExtractor code(*block, true, 8);
    std::uint64_t at = 1;
    if (!block->empty() && block->front() == dw::DW_OP_plus_uconst) field.bit_offset = code.getULEB128(&at) * 8;
  } else {
    field.bit_offset = number(member, dw::DW_AT_data_member_location) * 8;
  }
  if (field.bit_size != 0 && member.find(dw::DW_AT_bit_offset)) {
    const std::uint64_t from_top = number(member, dw::DW_AT_bit_offset);
    const std::uint64_t unit = 8 * (member.find(dw::DW_AT_byte_size) ? number(member, dw::DW_AT_byte_size) : node(field.type).size);
    field.bit_offset += order() == std::endian::big ? from_top : unit - from_top - field.bit_size;
  }
  return field;
}

template <class Visit>
void DwarfGraph::each_field(TypeId record, const Visit& visit) {
  const llvm::DWARFDie die = this->die(record);
  if (!die || !is_record(die.getTag())) return;
  for (const llvm::DWARFDie& child : die.children())
    if (child.getTag() == dw::DW_TAG_member && !visit(field(child))) return;
}

class DwarfLines final : public SourceLines {
 public:
  DwarfLines(DwarfFile file, std::uint64_t slide) : file_(std::move(file)), slide_(slide) {}
  DwarfLines(DwarfFile file, Placement placement) : file_(std::move(file)), placement_(std::move(placement)) {}
  std::vector<SourceLine> at(VirtAddr address) const override;

 private:
  llvm::DWARFUnit* unit_at(std::uint64_t address) const;
  llvm::object::SectionedAddress locate(VirtAddr address) const;

  DwarfFile file_;
  std::uint64_t slide_ = 0;
  std::optional<Placement> placement_;
  mutable std::mutex mutex_;  // LLVM's context parses on demand
};

// DWARFContext::getInliningInfoForAddress would do for a kernel, but not for a module: it trusts .debug_aranges, which
// LLVM does not relocate (LLVM 19).
std::vector<SourceLine> DwarfLines::at(VirtAddr address) const {
  using Kind = llvm::DILineInfoSpecifier::FileLineInfoKind;
  const std::lock_guard lock(mutex_);
  const llvm::object::SectionedAddress where = locate(address);
  llvm::DWARFUnit* unit = unit_at(where.Address);
  if (!unit || !unit->getUnitDIE(false)) return {};  // LLVM takes it for granted that a unit has entries
  const llvm::DWARFDebugLine::LineTable* table = file_.context->getLineTableForUnit(unit);
  const char* folder = unit->getCompilationDir();
  llvm::SmallVector<llvm::DWARFDie, 8> chain;
  unit->getInlinedChainForAddress(where.Address, chain);

  std::vector<SourceLine> lines(std::max<std::size_t>(chain.size(), 1));  // assembly may have lines and no functions
  llvm::DILineInfo here;
  if (table && table->getFileLineInfoForAddress(where, folder, Kind::RelativeFilePath, here))
    lines[0].file = here.FileName, lines[0].line = here.Line;
  for (std::size_t i = 0; i < chain.size(); ++i) {
    if (const char* name = chain[i].getSubroutineName(llvm::DINameKind::ShortName)) lines[i].function = name;
    if (i + 1 == chain.size()) break;
    std::uint32_t call_file = 0, column = 0, discriminator = 0;  // an inlined function tells where its caller stands
    chain[i].getCallerFrame(call_file, lines[i + 1].line, column, discriminator);
    if (table) table->getFileNameByIndex(call_file, folder, Kind::RelativeFilePath, lines[i + 1].file);
  }
  if (chain.empty() && lines[0].line == 0) return {};
  return lines;
}

// A module has few units; a kernel has thousands, and LLVM's index of them.
llvm::DWARFUnit* DwarfLines::unit_at(std::uint64_t address) const {
  if (!placement_) return file_.context->getCompileUnitForCodeAddress(address);
  for (const auto& unit : file_.context->compile_units()) {
    auto ranges = unit->collectAddressRanges();
    if (!ranges) {
      ignore(ranges.takeError());
      continue;
    }
    for (const llvm::DWARFAddressRange& range : *ranges)
      if (range.LowPC <= address && address < range.HighPC) return unit.get();
  }
  return nullptr;
}

// Line tables of relocatable files belong to a section even after relocation.
llvm::object::SectionedAddress DwarfLines::locate(VirtAddr address) const {
  if (placement_)
    for (const llvm::object::SectionRef& section : file_.object->sections()) {
      const std::uint64_t first = placement_->getSectionLoadAddress(section);
      if (first != 0 && address.raw - first < section.getSize()) return {address.raw, section.getIndex()};
    }
  return {(address - slide_).raw, llvm::object::SectionedAddress::UndefSection};
}

}  // namespace

Result<std::unique_ptr<Types>> open_dwarf_types(const std::string& path) {
  return std::make_unique<GraphTypes<DwarfGraph>>(DwarfGraph(TRY(open_file(path, nullptr))));
}

Result<std::unique_ptr<SourceLines>> open_dwarf_lines(const std::string& path, std::uint64_t slide) {
  return std::make_unique<DwarfLines>(TRY(open_file(path, nullptr)), slide);
}

Result<std::unique_ptr<SourceLines>> open_module_lines(const std::string& path,
                                                       std::span<const std::pair<std::string, VirtAddr>> sections) {
  Placement placement(SectionAddresses(sections.begin(), sections.end()));
  DwarfFile file = TRY(open_file(path, &placement));
  return std::make_unique<DwarfLines>(std::move(file), std::move(placement));
}

}  // namespace kvm
