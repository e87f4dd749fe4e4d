// Types from BTF: the compact type information that kernels carry (kernel Documentation/bpf/btf.rst).
// Its makers fold arrays of several dimensions into one: `int m[2][3]` is told as six elements.
#pragma once

#include <bit>
#include <memory>
#include <vector>

#include "engine/symbols.h"

namespace kvm {

// `data` outlives the result (a section of a mapped vmlinux).
Result<std::unique_ptr<Types>> open_btf(Bytes data, std::uint8_t pointer_bytes);
// Owns the bytes (read from the dump's own memory).
Result<std::unique_ptr<Types>> open_btf(std::vector<std::uint8_t> data, std::uint8_t pointer_bytes);
// A module's: its types and strings are numbered on from the kernel's, and a type's name means its own one first.
Result<std::unique_ptr<Types>> open_split_btf(std::vector<std::uint8_t> data, std::vector<std::uint8_t> base, std::uint8_t pointer_bytes);

}  // namespace kvm
