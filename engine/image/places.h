// The run-time sections of all pieces, and where each symbol is.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "engine/image/elf_writer.h"
#include "engine/pieces.h"

namespace kvm::image {

struct PlacedSection {
  VirtAddr first;
  std::uint64_t size;
  std::uint32_t number;  // in the ELF file
  bool code;

  bool contains(VirtAddr at) const { return at >= first && at - first < size; }
};

class Places {
 public:
  // Adds the sections, which have no contents, to the file.
  Places(const Pieces& pieces, ElfWriter& elf);

  // The section with the address, or the one that ends there; null: neither.
  const PlacedSection* at(VirtAddr address) const;

 private:
  std::vector<PlacedSection> sections_;  // by address
  mutable std::size_t latest_ = 0;       // symbols are asked for in the order of their addresses
};

// How far a symbol in a section of code reaches: its own size or, if that is not known, up to the next symbol.
std::uint64_t extent_of(const std::vector<Symbol>& symbols, std::size_t index, const PlacedSection& section);

// The symbol table and its names, in ELF's form.
struct SymbolTable {
  Buffer symbols, names;
  std::uint32_t locals;  // how many come before the first global one
};
SymbolTable make_symbol_table(const arch::Arch& arch, const Pieces& pieces, const Places& places);

}  // namespace kvm::image
