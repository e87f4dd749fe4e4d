// Return addresses that carry a signature in their upper bits (Arm's pointer authentication): what they were before they were
// signed.  Debuggers that follow the kernel's stacks know no kernel's signatures (gdb before 14 clears bits that must be set).
#pragma once

#include "engine/kernel.h"

namespace kvm {

// The word, or the address of kernel code that was signed to make it.
std::uint64_t without_signature(const Kernel& kernel, std::uint64_t word);

// Does so in each aligned word of the bytes read at `at`, and in what is there of a word at either end.
void remove_signatures(const Kernel& kernel, VirtAddr at, MutableBytes bytes);
// In the registers that can hold a return address.
void remove_signatures(const Kernel& kernel, RegisterFile& registers);

}  // namespace kvm
