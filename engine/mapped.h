// Everything that the kernel maps for itself, as one list: what a walk over all pages and an export begin with.
#pragma once

#include <vector>

#include "engine/space.h"

namespace kvm {

struct MappedRuns {
  std::vector<Extent> runs;   // ascending; none is a hole; neighbours that lie side by side in physical memory too are joined
  std::uint64_t unknown = 0;  // places whose page tables the dump lacks
  bool cut = false;           // damaged tables map more than any machine has: the list ends early
  bool hashed = false;        // there is a hashed page table, which cannot be listed in order: what only it maps is not here
};

// Pages that user code may touch are a process's, not the kernel's, and left out.  A page that is mapped again and again at consecutive addresses (KASAN's zero shadow: terabytes of one page) is listed a few times.
// `most`: of pages and holes to look at.
MappedRuns mapped_runs(const AddressSpace& space, std::uint64_t most = 1u << 27);

}  // namespace kvm
