// How a Linux kernel's virtual addresses lie in the dump's physical memory.
#pragma once

#include "engine/os.h"

namespace kvm::os_linux {

// Tries, in order: the user's word, the VMCOREINFO note, the CPUs' own state, a vmlinux's symbols against RAM, and
// VMCOREINFO found by scanning RAM.
Result<KernelMap> map_kernel(const OsInput& input);

}  // namespace kvm::os_linux
