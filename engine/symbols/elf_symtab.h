// Symbols from an ELF symbol table.  The table stays in the mapped file; indexes by name and by address are made on
// first use.
#pragma once

#include <memory>

#include "engine/symbols.h"
#include "engine/symbols/elf_file.h"

namespace kvm {

// `file` outlives the result.  `slide` is added to symbols of allocated sections, but not to absolute ones nor to those
// of a per-CPU section linked at 0 (x86-64 before 6.15), whose values are offsets.
Result<std::unique_ptr<Symbols>> open_elf_symbols(const ElfFile& file, std::uint64_t slide);

}  // namespace kvm
