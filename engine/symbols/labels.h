// Names that are no names: what tools leave in symbol tables.
#pragma once

#include <string_view>

namespace kvm {

// Labels that tools make; at an address they are the last choice.  "$x", "$d" mark code and data on Arm and RISC-V,
// __pfx_ and __cfi_ the padding before a function (objtool, clang's kCFI).
inline bool is_mere_label(std::string_view name) {
  return name.empty() || name[0] == '$' || name.starts_with(".L") || name.starts_with("__pfx_") || name.starts_with("__cfi_");
}

}  // namespace kvm
