// The page-table walker.  There is one, and it interprets arch::PagingMode.
#pragma once

#include <array>
#include <vector>

#include "arch/arch.h"
#include "engine/memory.h"
#include "engine/types.h"

namespace kvm {

// A set of page tables: a mode, its root or roots, and the byte order of the entries.
struct PageTable {
  const arch::PagingMode* mode = nullptr;
  PhysAddr low;                 // root of the lower half, or the only one
  PhysAddr high;                // root of the upper half (Halves::two_roots)
  std::uint64_t clear = 0;      // bits of an entry that are not address (AMD's SME mask)
  std::endian order = std::endian::little;
  // Tables that empty entries lead to, behind the root's entries first (PagingMode::empty_tables).
  std::array<PhysAddr, 4> empty{none, none, none, none};
  static constexpr PhysAddr none{~std::uint64_t{0}};
  bool keeps = true;            // pages may be kept behind entries without meaning (PagingMode::held): Linux does so
};

// Entries of one level in a row of their own, outside the machine's memory: how FreeBSD's minidumps keep the kernel's tables.
// An entry that leads to a table leads into memory, where the walk goes on.
struct EntryArray {
  PageTable table;                          // its roots are not used
  std::uint8_t depth = 0;                   // of the entries in table.mode->levels
  const PhysicalMemory* entries = nullptr;  // the row, from address 0 on
  VirtAddr first;                           // what entry 0 maps; a multiple of what an entry maps
};

// One step of a walk, for people.
struct WalkStep {
  std::uint8_t level;      // 1: the level that maps the smallest page
  PhysAddr entry_at;       // in an EntryArray: from its start
  std::uint64_t entry;
};

// The page or hole that contains `address`.  Fails only when a table cannot be read: not_in_dump or lost, with the
// virtual address.  Addresses outside the mode's range are holes.
Result<Extent> walk(const PhysicalMemory& memory, const PageTable& table, VirtAddr address,
                    std::vector<WalkStep>* trace = nullptr);
Result<Extent> walk(const PhysicalMemory& memory, const EntryArray& array, VirtAddr address,
                    std::vector<WalkStep>* trace = nullptr);

// Whether tables of this mode can begin at the root, as far as the root's first entry tells (arch::PagingMode::root).
bool fits_root(const PhysicalMemory& memory, const PageTable& table);

}  // namespace kvm
