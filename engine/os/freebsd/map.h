// How a FreeBSD kernel's virtual addresses lie in the dump's physical memory.
#pragma once

#include "engine/os.h"

namespace kvm::os_freebsd {

// Whether the dump is FreeBSD's: the file says so, or the kernel's symbols do.
bool is_freebsd(const OsInput& input);

// A minidump brings its translation; a full dump needs the kernel's symbols to find the root of its page tables.
Result<KernelMap> map_kernel(const OsInput& input);

}  // namespace kvm::os_freebsd
