// gcc moves the unlikely half of a function to another section, as a symbol "NAME.cold", and tells DWARF that the function
// has two ranges.  lldb before 20 takes everything from the first to the last byte for that function: megabytes of others'
// code, through which it cannot unwind (LLVM pull request 111409).  Without its cold range a function is where it should be,
// and its cold half is a symbol with source lines.
#pragma once

#include <vector>

#include "engine/symbols/elf_file.h"

namespace kvm {

// A piece of a file that has to become zeros.
struct Blank {
  std::uint64_t offset, size;
};

// What takes the cold ranges out of the file's DWARF (.debug_rnglists, .debug_ranges).  Empty: it has none, or they are
// compressed.
std::vector<Blank> cold_ranges(const ElfFile& file);

}  // namespace kvm
