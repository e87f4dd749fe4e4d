// The notes of an ELF core: each CPU's registers as NT_PRSTATUS, and VMCOREINFO.
#pragma once

#include <string>
#include <vector>

#include "engine/kernel.h"

namespace kvm {

// CPU n is thread n + 1: the id of what runs on it is 0 on every idle CPU, and debuggers want ids that differ.
std::vector<std::uint8_t> core_notes(const Kernel& kernel, std::vector<std::string>& remarks);

}  // namespace kvm
