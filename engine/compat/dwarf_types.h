// Types from DWARF, for kernels without BTF: LLVM stays in a library of its own, which is loaded when it is first needed and
// may be missing.
#pragma once

#include <memory>
#include <string>

#include "engine/symbols.h"

namespace kvm::compat {

// As Providers::dwarf_types.  Fails with unsupported when the library is not installed.
Result<std::unique_ptr<Types>> open_dwarf_plugin(const std::string& path);
// What is missing when it is not installed, for a message; empty when it is there.
std::string missing_dwarf_plugin();

}  // namespace kvm::compat
