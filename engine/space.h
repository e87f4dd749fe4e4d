// A virtual address space: mappings in order of trust, each with a way to translate.
#pragma once

#include <string>
#include <variant>
#include <vector>

#include "engine/hash_walk.h"
#include "engine/walk.h"

namespace kvm {

// Addresses that lie at a constant distance from physical memory.
struct Linear {
  PhysAddr base;  // of Mapping::first
};

using Method = std::variant<PageTable, Linear, EntryArray, HashedTable>;

struct Mapping {
  VirtAddr first, last;  // `last` inclusive: 2^64 must fit
  Method how;
  std::string name;      // "page tables", "direct map"
};

// A walk of the tables behind a mapping; its extent is not clipped to the mapping.  Linear has none: unsupported.
Result<Extent> walk_by(const PhysicalMemory& memory, const Method& how, VirtAddr address, std::vector<WalkStep>* trace);

class AddressSpace {
 public:
  // Mappings may overlap: an earlier one is right where it can answer, a later one serves where the earlier one's
  // tables are missing from the dump.  `memory` outlives the space.
  AddressSpace(const PhysicalMemory& memory, std::vector<Mapping> mappings);

  // The page or hole containing the address: everything else is built on this.  Fails when a page table is missing.
  Result<Extent> extent_at(VirtAddr address) const;
  // Fails with not_mapped for a hole.
  Result<PhysAddr> translate(VirtAddr address) const;
  // Copies until `out` is full or a byte cannot be had; returns the count, or the first byte's error with its address.
  Result<std::size_t> read(VirtAddr address, MutableBytes out) const;

  const PhysicalMemory& memory() const { return *memory_; }
  const std::vector<Mapping>& mappings() const { return mappings_; }

 private:
  Result<Extent> extent_in_row(VirtAddr address) const;

  const PhysicalMemory* memory_;
  std::vector<Mapping> mappings_;
  bool row_ = false;  // ascending, without overlaps, and each linear: a core's segments, of which there may be thousands
};

}  // namespace kvm
