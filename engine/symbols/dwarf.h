// Types and source lines from DWARF, through LLVM.  dwarf.cc is the only file that includes LLVM.
// LLVM checks bounds, but fuzzing finds files that crash it: debug files are the user's own choice, dumps never get here.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <utility>

#include "engine/symbols.h"

namespace kvm {

// A question costs milliseconds where the first unit that mentions the name defines it, and up to seconds for a name
// that no unit of a kernel defines; answers are remembered.  The result locks.
Result<std::unique_ptr<Types>> open_dwarf_types(const std::string& path);
// `slide` is the run-time minus the link-time address.  The result locks.
Result<std::unique_ptr<SourceLines>> open_dwarf_lines(const std::string& path, std::uint64_t slide);
// The same for a module: where its sections are at run time, by name.
Result<std::unique_ptr<SourceLines>> open_module_lines(const std::string& path,
                                                       std::span<const std::pair<std::string, VirtAddr>> sections);

}  // namespace kvm
