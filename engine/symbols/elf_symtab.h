// Symbols from an ELF symbol table.  The table stays in the mapped file; indexes by name and by address are made on
// first use.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <utility>

#include "engine/symbols.h"
#include "engine/symbols/elf_file.h"

namespace kvm {

// `file` outlives the result.  `slide` is added to symbols of allocated sections, but not to absolute ones nor to those
// of a per-CPU section linked at 0 (x86-64 before 6.15), whose values are offsets.
// `kind` is the section's letter as in nm(1), in upper case for global and weak symbols.
Result<std::unique_ptr<Symbols>> open_elf_symbols(const ElfFile& file, std::uint64_t slide);

// The same for a module or any relocatable file: each section's symbols are placed at the section's run-time address;
// symbols of sections that are not named are left out (they are not in memory).
Result<std::unique_ptr<Symbols>> open_module_symbols(const ElfFile& file,
                                                     std::span<const std::pair<std::string, VirtAddr>> sections);

}  // namespace kvm
