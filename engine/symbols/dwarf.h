// Types and source lines from DWARF, through LLVM.  dwarf.cc is the only file that includes LLVM.
#pragma once

#include <memory>
#include <string>

#include "engine/symbols.h"

namespace kvm {

Result<std::unique_ptr<Types>> open_dwarf_types(const std::string& path);
// `slide` is the run-time minus the link-time address.
Result<std::unique_ptr<SourceLines>> open_dwarf_lines(const std::string& path, std::uint64_t slide);

}  // namespace kvm
