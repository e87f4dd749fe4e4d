// What a kernel leaves for dump tools where they can find it without knowing anything else: s390's lowcore and os_info.
#pragma once

#include <string>
#include <vector>

#include "arch/arch.h"
#include "engine/space.h"

namespace kvm::os_linux {

struct OsInfo {
  std::string vmcoreinfo;         // empty: there is none
  std::string keys;               // what else is told of the image's place, as lines of VMCOREINFO; empty: nothing
  std::vector<Mapping> mappings;  // constant distances, for where the dump lacks page tables
};

// All empty where the kernel has no such thing, or it is damaged.
OsInfo read_os_info(const PhysicalMemory& memory, const arch::LinuxLayout& layout);

}  // namespace kvm::os_linux
