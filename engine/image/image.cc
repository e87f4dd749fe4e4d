#include "engine/image/image.h"

#include <algorithm>
#include <fmt/format.h>

#include <bit>
#include <limits>

#include "engine/image/functions.h"

namespace kvm {
namespace {

using namespace image;

constexpr std::size_t unit_functions = 256, unit_variables = 32;
constexpr std::size_t most_functions = 1 << 20;  // a kernel with everything built in has half as many

std::string unit_name(const Piece& piece, std::string_view what, std::size_t number) {
  return "<BTF of " + (piece.name.empty() ? "vmlinux" : piece.name) + ", " + std::string(what) + " " + std::to_string(number) + ">";
}

// Everything is written piece by piece: types, functions, variables.
class DwarfMaker {
 public:
  DwarfMaker(const arch::Arch& arch, const Pieces& pieces, TypeTable& types, const Homes& homes, std::string_view producer)
      : pieces_(pieces), types_(types), homes_(homes), writer_(arch, types, homes, producer) {}

  void write_types(std::size_t piece);
  void write_functions(std::size_t piece, const Places& places);
  void write_variables(const std::vector<VariablePlan>& variables, std::size_t piece);
  DieWriter::Sections finish() && { return std::move(writer_).finish(); }

 private:
  const Pieces& pieces_;
  TypeTable& types_;
  const Homes& homes_;
  DieWriter writer_;
  std::size_t functions_ = 0;
};

void DwarfMaker::write_types(std::size_t piece) {
  std::size_t number = 0;
  for (std::uint32_t i = 0; i < homes_.units().size(); ++i) {
    const Homes::Unit& unit = homes_.units()[i];
    if (unit.piece != piece) continue;
    writer_.begin_unit(unit_name(pieces_.pieces[piece], "types", ++number), i);
    for (std::uint32_t at = unit.first; at < unit.end; ++at) writer_.definition(homes_.order()[at]);
    writer_.end_unit();
  }
}

void DwarfMaker::write_functions(std::size_t piece, const Places& places) {
  auto plans = find_functions(pieces_.pieces[piece], piece, types_, places);
  plans.resize(std::min(plans.size(), most_functions - functions_));
  functions_ += plans.size();
  std::size_t number = 0;
  for (std::size_t first = 0, end; first < plans.size(); first = end) {
    for (end = first; end < plans.size() && end - first < unit_functions && plans[end].section == plans[first].section;) ++end;
    const VirtAddr start = plans[first].code.first;
    const CodeRange code{start, plans[end - 1].code.first + plans[end - 1].code.size - start};
    writer_.begin_unit(unit_name(pieces_.pieces[piece], "functions", ++number), {}, code);
    for (std::size_t i = first; i < end; ++i) writer_.function(plans[i].name, plans[i].prototype, plans[i].code, plans[i].global, plans[i].signal_frame);
    writer_.end_unit();
  }
}

void DwarfMaker::write_variables(const std::vector<VariablePlan>& variables, std::size_t piece) {
  std::size_t number = 0, in_unit = 0;
  for (const VariablePlan& variable : variables) {
    if (variable.piece != piece) continue;
    if (in_unit == 0) writer_.begin_unit(unit_name(pieces_.pieces[piece], "variables", ++number), {});
    writer_.variable(variable.name, variable.type, variable.address, variable.global);
    if (++in_unit == unit_variables) writer_.end_unit(), in_unit = 0;
  }
  if (in_unit != 0) writer_.end_unit();
}

// Eight bytes at a time: some ten megabytes are to be told apart from others, not protected.
std::uint64_t fingerprint(std::uint64_t state, Bytes bytes) {
  constexpr std::uint64_t odd = 0x9e3779b97f4a7c15;
  for (; bytes.size() >= 8; bytes = bytes.subspan(8)) state = std::rotl((state ^ load<std::uint64_t>(bytes.data(), std::endian::little)) * odd, 29);
  return std::rotl((state ^ load_unsigned(bytes, std::endian::little) ^ std::uint64_t{bytes.size()} << 56) * odd, 29);
}

// ELF note (gABI, chapter 5) with the build id, as linkers write it.
Buffer build_id_note(std::endian order, std::string_view hex) {
  Buffer note(order);
  const auto digit = [](char c) { return c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10; };
  note.u32(4);
  note.u32(static_cast<std::uint32_t>(hex.size() / 2));
  note.u32(3);  // NT_GNU_BUILD_ID
  for (const char c : {'G', 'N', 'U', '\0'}) note.u8(static_cast<std::uint8_t>(c));
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2) note.u8(static_cast<std::uint8_t>(digit(hex[i]) << 4 | (digit(hex[i + 1]) & 15)));
  note.align(4);
  return note;
}

DieWriter::Sections make_dwarf(const arch::Arch& arch, const Pieces& pieces, TypeTable& types, const Places& places,
                               std::string_view producer) {
  const auto variables = find_variables(arch, pieces, types);
  const Homes homes(types);
  DwarfMaker maker(arch, pieces, types, homes, producer);
  for (std::size_t piece = 0; piece < types.pieces(); ++piece) {
    maker.write_types(piece);
    maker.write_functions(piece, places);
    maker.write_variables(variables, piece);
  }
  return std::move(maker).finish();
}

}  // namespace

Result<Image> make_image(const arch::Arch& arch, const Pieces& pieces, const ImageOptions& options) {
  Image made;
  ElfWriter elf(arch);
  const Places places(pieces, elf);
  TypeTable types(pieces, made.remarks);
  DieWriter::Sections dwarf = make_dwarf(arch, pieces, types, places, options.producer);
  SymbolTable symbols = make_symbol_table(arch, pieces, places);
  std::uint64_t print = fingerprint(0, dwarf.info.view());
  for (const Bytes part : {symbols.symbols.view(), symbols.names.view(), options.debug_frame}) print = fingerprint(print, part);
  const Buffer note = build_id_note(arch.endian, options.build_id.substr(0, options.build_id.size() & ~std::size_t{1}) + fmt::format("{:016x}", print));
  if (dwarf.info.size() > std::numeric_limits<std::uint32_t>::max()) return fail(Errc::unsupported, "more types than DWARF's 32-bit form can hold");

  elf.add({.name = ".note.gnu.build-id", .type = sht_note, .contents = note.view(), .align = 4});
  elf.add({.name = ".debug_info", .type = sht_progbits, .contents = dwarf.info.view()});
  elf.add({.name = ".debug_abbrev", .type = sht_progbits, .contents = dwarf.abbreviations.finish()});
  elf.add({.name = ".debug_aranges", .type = sht_progbits, .contents = dwarf.aranges.view()});
  elf.add({.name = ".debug_line", .type = sht_progbits, .contents = dwarf.lines.view()});
  elf.add({.name = ".debug_str", .type = sht_progbits, .flags = shf_merge | shf_strings, .contents = types.strings(), .entry_size = 1});
  if (!options.debug_frame.empty())
    elf.add({.name = ".debug_frame", .type = sht_progbits, .contents = options.debug_frame, .align = arch.pointer_bytes});
  elf.add({.name = ".symtab", .type = sht_symtab, .contents = symbols.symbols.view(), .link = elf.count() + 1, .info = symbols.locals,
           .align = arch.pointer_bytes, .entry_size = arch.pointer_bytes == 8 ? 24U : 16U});
  elf.add({.name = ".strtab", .type = sht_strtab, .contents = symbols.names.view()});
  made.file = elf.write();
  return made;
}

}  // namespace kvm
