#include "tests/support/image_text.h"

#include <fmt/format.h>
#include <llvm/BinaryFormat/Dwarf.h>
#include <llvm/DebugInfo/DWARF/DWARFContext.h>
#include <llvm/DebugInfo/DWARF/DWARFDie.h>
#include <llvm/Object/ELFObjectFile.h>

#include <algorithm>

namespace kvm::testing {
namespace {

using namespace llvm;
constexpr int deepest = 100;

std::uint64_t number(const DWARFDie& die, dwarf::Attribute attribute) {
  const auto value = die.find(attribute);
  if (!value) return 0;
  if (const auto constant = value->getAsUnsignedConstant()) return *constant;
  return static_cast<std::uint64_t>(value->getAsSignedConstant().value_or(0));
}

std::string name(const DWARFDie& die) { return dwarf::toString(die.find(dwarf::DW_AT_name), ""); }
std::string type_of(const DWARFDie& die, int depth);
std::string definition(const DWARFDie& die, int depth);

std::string keyword(dwarf::Tag tag) {
  return tag == dwarf::DW_TAG_structure_type ? "struct" : tag == dwarf::DW_TAG_union_type ? "union" : "enum";
}

std::string parameters(const DWARFDie& die, int depth) {
  std::string text;
  for (const DWARFDie child : die.children()) {
    if (!text.empty()) text += ", ";
    if (child.getTag() == dwarf::DW_TAG_unspecified_parameters) text += "...";
    else text += type_of(child, depth) + (name(child).empty() ? "" : " " + name(child));
  }
  return "(" + text + ")";
}

// As something else refers to it: records with names by them, others in full.
std::string spell(const DWARFDie& die, int depth) {
  if (depth > deepest) return "too deep";
  switch (die.getTag()) {
    case dwarf::DW_TAG_base_type: case dwarf::DW_TAG_typedef: return name(die);
    case dwarf::DW_TAG_pointer_type: return type_of(die, depth + 1) + " *";
    case dwarf::DW_TAG_const_type: return "const " + type_of(die, depth + 1);
    case dwarf::DW_TAG_volatile_type: return "volatile " + type_of(die, depth + 1);
    case dwarf::DW_TAG_restrict_type: return "restrict " + type_of(die, depth + 1);
    case dwarf::DW_TAG_subroutine_type: return type_of(die, depth + 1) + parameters(die, depth + 1);
    case dwarf::DW_TAG_array_type: {
      const auto count = die.getFirstChild().find(dwarf::DW_AT_count);
      return type_of(die, depth + 1) + "[" + (count ? std::to_string(number(die.getFirstChild(), dwarf::DW_AT_count)) : "") + "]";
    }
    case dwarf::DW_TAG_structure_type: case dwarf::DW_TAG_union_type: case dwarf::DW_TAG_enumeration_type:
      if (name(die).empty()) return definition(die, depth + 1);
      return keyword(die.getTag()) + " " + name(die) + (die.find(dwarf::DW_AT_declaration) ? "?" : "");
    default: return "strange " + dwarf::TagString(die.getTag()).str();
  }
}

std::string type_of(const DWARFDie& die, int depth) {
  if (!die.find(dwarf::DW_AT_type)) return "void";
  const DWARFDie type = die.getAttributeValueAsReferencedDie(dwarf::DW_AT_type);
  return type.isValid() ? spell(type, depth) : "dangling";
}

std::string member(const DWARFDie& die, int depth) {
  std::string text = type_of(die, depth) + (name(die).empty() ? "" : " " + name(die));
  if (!die.find(dwarf::DW_AT_bit_size)) return fmt::format("{} @{}", text, number(die, dwarf::DW_AT_data_member_location));
  const std::uint64_t bit = number(die, dwarf::DW_AT_data_bit_offset);
  return fmt::format("{} @{}.{}:{}", text, bit / 8, bit % 8, number(die, dwarf::DW_AT_bit_size));
}

std::string enumerator(const DWARFDie& die) {
  const auto value = die.find(dwarf::DW_AT_const_value);
  if (const auto constant = value->getAsSignedConstant(); constant && value->getForm() == dwarf::DW_FORM_sdata)
    return fmt::format("{} = {}", name(die), *constant);
  return fmt::format("{} = {}", name(die), number(die, dwarf::DW_AT_const_value));
}

std::string definition(const DWARFDie& die, int depth) {
  std::string text = keyword(die.getTag()) + (name(die).empty() ? "" : " " + name(die));
  if (die.find(dwarf::DW_AT_declaration)) return text + ";";
  text += fmt::format(" {}", number(die, dwarf::DW_AT_byte_size));
  if (die.find(dwarf::DW_AT_type)) text += " : " + type_of(die, depth);
  if (!die.hasChildren()) return text;
  text += " {";
  for (const DWARFDie child : die.children())
    text += " " + (child.getTag() == dwarf::DW_TAG_enumerator ? enumerator(child) : member(child, depth)) + ";";
  return text + " }";
}

std::string variable(const DWARFDie& die) {
  const auto block = die.find(dwarf::DW_AT_location)->getAsBlock();
  const DWARFUnit& unit = *die.getDwarfUnit();
  std::uint64_t address = 0, at = 0;
  if (block && block->size() > 1 && block->front() == dwarf::DW_OP_addr)
    address = DataExtractor(block->drop_front(), unit.isLittleEndian(), unit.getAddressByteSize()).getUnsigned(&at, unit.getAddressByteSize());
  return fmt::format("{:#x} {}{} {}", address, die.find(dwarf::DW_AT_external) ? "" : "static ", type_of(die, 0), name(die));
}

std::string line(const DWARFDie& die) {
  switch (die.getTag()) {
    case dwarf::DW_TAG_structure_type: case dwarf::DW_TAG_union_type: case dwarf::DW_TAG_enumeration_type: return definition(die, 0);
    case dwarf::DW_TAG_typedef: return "typedef " + type_of(die, 0) + " " + name(die);
    case dwarf::DW_TAG_base_type:
      return fmt::format("{} {} {}", name(die), number(die, dwarf::DW_AT_byte_size),
                         dwarf::AttributeEncodingString(static_cast<unsigned>(number(die, dwarf::DW_AT_encoding))).substr(7).str());
    case dwarf::DW_TAG_variable: return variable(die);
    case dwarf::DW_TAG_subprogram: {
      std::uint64_t low = 0, high = 0, section = 0;
      die.getLowAndHighPC(low, high, section);
      return fmt::format("[{:#x}, {:#x}) {}{} {}{}", low, high, die.find(dwarf::DW_AT_external) ? "" : "static ", type_of(die, 0),
                         name(die), parameters(die, 0));
    }
    default: return {};  // spelled where it is used
  }
}

void read_symbols(const object::ELFObjectFileBase& file, ImageText& text) {
  for (const object::ELFSymbolRef symbol : file.symbols()) {
    const object::section_iterator section = cantFail(symbol.getSection());
    const bool none = section == file.section_end();
    char kind = symbol.getELFType() == ELF::STT_FUNC ? 't' : symbol.getELFType() == ELF::STT_OBJECT ? 'd' : 'n';
    if (symbol.getBinding() == ELF::STB_WEAK) kind = 'w';
    if (symbol.getBinding() != ELF::STB_LOCAL) kind = static_cast<char>(kind - 'a' + 'A');
    text.symbols.push_back(fmt::format("{:#x} {:x} {} {} {}", cantFail(symbol.getValue()), symbol.getSize(), kind,
                                       cantFail(symbol.getName()).str(), none ? "*ABS*" : cantFail(section->getName()).str()));
  }
  for (const object::ELFSectionRef section : file.sections()) {
    const std::string title = cantFail(section.getName()).str();
    const bool placed = section.getFlags() & ELF::SHF_ALLOC;
    text.sections.push_back(!placed ? title : fmt::format("{:#x} {:x} {} {}", section.getAddress(), section.getSize(),
                                                          section.isText() ? "code" : "data", title));
  }
}

}  // namespace

const ImageText::Unit& ImageText::unit(std::string_view title) const {
  static const Unit none;
  const auto found = std::ranges::find(units, title, &Unit::name);
  return found == units.end() ? none : *found;
}

bool ImageText::has(std::string_view wanted) const {
  return std::ranges::any_of(units, [&](const Unit& u) { return std::ranges::find(u.lines, wanted) != u.lines.end(); });
}

std::string ImageText::find(std::string_view word) const {
  std::string text;
  for (const Unit& u : units)
    for (const std::string& l : u.lines)
      if (l.find(word) != l.npos) text += l + "\n";
  return text;
}

namespace {

ImageText read(Bytes image, bool contents) {
  ImageText text;
  const MemoryBufferRef buffer({reinterpret_cast<const char*>(image.data()), image.size()}, "image");
  auto file = object::ObjectFile::createELFObjectFile(buffer);
  if (!file) {
    text.problems = toString(file.takeError());
    return text;
  }
  read_symbols(cast<object::ELFObjectFileBase>(**file), text);
  raw_string_ostream problems(text.problems);
  const auto note = [&](Error error) { problems << toString(std::move(error)) << "\n"; };
  const auto context = DWARFContext::create(**file, DWARFContext::ProcessDebugRelocations::Ignore, nullptr, "", note, note);
  std::string report;
  raw_string_ostream report_stream(report);
  if (!context->verify(report_stream, {})) problems << report;
  for (const auto& unit : context->compile_units()) {
    if (!contents) break;
    const DWARFDie root = unit->getUnitDIE(false);
    ImageText::Unit& lines = text.units.emplace_back();
    lines.name = name(root);
    for (const DWARFDie die : root.children())
      if (std::string l = line(die); !l.empty()) lines.lines.push_back(std::move(l));
  }
  return text;
}

}  // namespace

ImageText read_image(Bytes image) { return read(image, true); }
std::string image_problems(Bytes image) { return read(image, false).problems; }

}  // namespace kvm::testing
