// How a Linux kernel's virtual addresses lie in the dump's physical memory.
#pragma once

#include "engine/os.h"

namespace kvm::os_linux {

// Tries, in order: the VMCOREINFO note, the user's word, VMCOREINFO that the kernel left a pointer to where dump tools find it, the
// CPUs' own state, a vmlinux's symbols against RAM, VMCOREINFO found by scanning RAM, and the kernel's symbol table found there.
Result<KernelMap> map_kernel(const OsInput& input);

}  // namespace kvm::os_linux
