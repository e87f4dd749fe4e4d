// How large the kernel's pages are: on some processors that is the kernel's choice, which its page tables show.
#pragma once

#include "engine/space.h"

namespace kvm {

// In bytes; the processor's smallest page where the space has no tables.
std::uint64_t page_bytes(const AddressSpace& space, const arch::Arch& arch);

}  // namespace kvm
