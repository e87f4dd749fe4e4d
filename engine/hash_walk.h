// Power's hashed page table: groups of eight entries, of which a hash of segment and page chooses one.  It has no levels, so the
// walker of arch::PagingMode cannot read it; this is all there is to it.  Power ISA 3.0B, book III, 5.7.7 and 5.7.9.
#pragma once

#include <vector>

#include "engine/memory.h"
#include "engine/walk.h"

namespace kvm {

// A whole table, held in a row of its own.  Segments are of 256 MiB, pages of 4 KiB; entries are big-endian on any kernel.
struct HashedTable {
  const PhysicalMemory* entries = nullptr;  // from address 0 on
  std::uint64_t groups = 0;                 // a power of two
  // The virtual segment that the kernel keeps behind an effective one (address >> 28): each system has its own numbering.
  std::uint64_t (*segment)(std::uint64_t effective) = nullptr;
};

// The page that contains `address`, or a hole of a page's size.  Fails when a group cannot be read.
Result<Extent> walk(const HashedTable& table, VirtAddr address, std::vector<WalkStep>* trace = nullptr);

}  // namespace kvm
