#include "engine/image/places.h"

#include <algorithm>

namespace kvm::image {
namespace {

constexpr std::size_t longest_name = 1023;
constexpr std::size_t most_name_bytes = std::size_t{1} << 30;
constexpr std::uint8_t stt_notype = 0, stt_object = 1, stt_func = 2, stb_global = 1, stb_weak = 2;
constexpr std::uint16_t shn_abs = 0xfff1;

std::string section_name(const Piece& piece, const PieceSection& section) {
  if (piece.name.empty()) return section.name;
  return piece.name + (section.name.starts_with('.') ? "" : ".") + section.name;
}

std::uint8_t binding(char kind) {
  if (kind == 'w' || kind == 'W' || kind == 'v' || kind == 'V') return stb_weak;
  return kind >= 'A' && kind <= 'Z' ? stb_global : 0;
}

std::uint8_t type(char kind, const PlacedSection* section) {
  if (kind == 'a' || kind == 'A') return stt_notype;
  if (section) return section->code ? stt_func : stt_object;
  return kind == 't' || kind == 'T' ? stt_func : stt_object;
}

}  // namespace

Places::Places(const Pieces& pieces, ElfWriter& elf) {
  for (const Piece& piece : pieces.pieces) {
    for (const PieceSection& section : piece.sections) {
      // Room is left for the sections that are not the kernel's.
      if (section.size == 0 || section.size > -section.address.raw - 1 || elf.count() + 32 > ElfWriter::most_sections) continue;
      // All are said to be writable: lldb reads what is not from the file, and would find zeros (19.1, Target::ReadMemory).
      const std::uint64_t flags = shf_alloc | shf_write | (section.code ? shf_execinstr : 0);
      const std::uint32_t number = elf.add({.name = section_name(piece, section), .type = sht_nobits, .flags = flags,
                                            .address = section.address.raw, .size = section.size});
      sections_.push_back({section.address, section.size, number, section.code});
      if (section.code && !elf.loaded()) elf.load(number);  // the kernel's text, as in a vmlinux
    }
  }
  std::sort(sections_.begin(), sections_.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
}

const PlacedSection* Places::at(VirtAddr address) const {
  if (latest_ < sections_.size() && sections_[latest_].contains(address)) return &sections_[latest_];
  const auto after = std::upper_bound(sections_.begin(), sections_.end(), address,
                                      [](VirtAddr at, const PlacedSection& section) { return at < section.first; });
  if (after == sections_.begin()) return nullptr;
  const PlacedSection& section = after[-1];
  latest_ = static_cast<std::size_t>(after - sections_.begin()) - 1;
  return section.contains(address) || address - section.first == section.size ? &section : nullptr;
}

std::uint64_t extent_of(const std::vector<Symbol>& symbols, std::size_t index, const PlacedSection& section) {
  const Symbol& symbol = symbols[index];
  if (symbol.size != 0) return symbol.size;
  std::size_t next = index + 1;
  while (next < symbols.size() && symbols[next].address == symbol.address) ++next;
  const std::uint64_t rest = section.first + section.size - symbol.address;
  return next < symbols.size() && symbols[next].address > symbol.address ? std::min(symbols[next].address - symbol.address, rest) : rest;
}

SymbolTable make_symbol_table(const arch::Arch& arch, const Pieces& pieces, const Places& places) {
  const std::uint8_t word = arch.pointer_bytes;
  std::size_t count = 0;
  for (const Piece& piece : pieces.pieces) count += piece.symbols.size();
  const std::size_t entry = word == 8 ? 24 : 16;
  SymbolTable table{Buffer(arch.endian, (count + 1) * entry), Buffer(arch.endian, count * 24), 1};
  Buffer globals(arch.endian, count * entry);
  std::fill_n(table.symbols.grow(entry), entry, std::uint8_t{0});
  table.names.u8(0);

  for (const Piece& piece : pieces.pieces) {
    for (std::size_t i = 0; i < piece.symbols.size(); ++i) {
      const Symbol& symbol = piece.symbols[i];
      const std::string_view name = symbol.name.substr(0, longest_name);
      if (name.empty() || table.names.size() > most_name_bytes) continue;
      const PlacedSection* section = places.at(symbol.address);
      const bool local = binding(symbol.kind) == 0;
      Buffer& out = local ? table.symbols : globals;
      table.locals += local;
      const auto info = static_cast<std::uint8_t>(binding(symbol.kind) << 4 | type(symbol.kind, section));
      const std::uint64_t size = section && section->code ? extent_of(piece.symbols, i, *section) : symbol.size;
      const std::uint16_t number = section ? static_cast<std::uint16_t>(section->number) : shn_abs;
      out.u32(static_cast<std::uint32_t>(table.names.size()));
      copy_printable(name, table.names.grow(name.size()));
      table.names.u8(0);
      // The classes order the fields differently.
      if (word == 4) out.u32(static_cast<std::uint32_t>(symbol.address.raw)), out.u32(static_cast<std::uint32_t>(size));
      out.u8(info);
      out.u8(0);
      out.u16(number);
      if (word == 8) out.u64(symbol.address.raw), out.u64(size);
    }
  }
  table.symbols.bytes(globals.view());
  return table;
}

}  // namespace kvm::image
