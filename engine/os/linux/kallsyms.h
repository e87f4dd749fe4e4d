// Where a Linux kernel keeps its own symbols and types in memory: told by VMCOREINFO, else found by their look.
#pragma once

#include "engine/os/linux/vmcoreinfo.h"
#include "engine/record.h"
#include "engine/symbols/kallsyms.h"

namespace kvm::os_linux {

// What reading needs of a kernel of which nothing else is known yet.
struct ImageMemory {
  const arch::Arch& arch;
  const AddressSpace& space;
};

struct Window {
  VirtAddr first;
  std::uint64_t size = 0;
};

// The kernel's symbol tables: by VMCOREINFO's keys (since v6.0), else searched in `windows`, the memory that may hold the
// image.  `remarks` gets what could not be read of them.
Result<std::unique_ptr<Kallsyms>> find_kallsyms(const ImageMemory& memory, const Vmcoreinfo& info, std::span<const Window> windows,
                                                std::vector<std::string>& remarks);

// Copies what can be read of a table, page by page.
PartialBytes read_table(const ImageMemory& memory, VirtAddr at, std::uint64_t size);
// All of it, or why its first missing page cannot be read.
Result<std::vector<std::uint8_t>> read_whole(const ImageMemory& memory, VirtAddr at, std::uint64_t size);

}  // namespace kvm::os_linux
