// Writes x86-64 page tables into a fake memory.  Bits and shifts are literals from the Intel SDM, volume 3, tables 4-15 to
// 4-20; nothing of arch/ is used, so that a wrong constant there cannot hide here.
#pragma once

#include "tests/support/fake_memory.h"

namespace kvm::testing {

class X86Tables {
 public:
  // New tables are taken from `spare` upwards, a page each.  `levels` is 4 or 5.
  X86Tables(FakeMemory& memory, PhysAddr root, unsigned levels, PhysAddr spare);

  // Maps one page of 4 KiB, 2 MiB or 1 GiB.  `flags` are the leaf's bits besides address and PS.
  void map(VirtAddr virt, PhysAddr phys, std::uint64_t page_bytes, std::uint64_t flags = 0x63);
  // Bits that every entry gets on top: AMD's C-bit.
  void add_to_entries(std::uint64_t bits) { extra_ = bits; }
  // Where the entry of `level` (1: page table, 4: PML4) for the address lies; the tables above it must exist.
  PhysAddr entry_at(VirtAddr virt, unsigned level) const;
  void put_entry(VirtAddr virt, unsigned level, std::uint64_t entry) { memory_.put_number(entry_at(virt, level), entry); }

  PhysAddr root() const { return root_; }
  PhysAddr spare() const { return spare_; }

 private:
  std::uint64_t entry(PhysAddr at) const;

  FakeMemory& memory_;
  PhysAddr root_, spare_;
  unsigned levels_;
  std::uint64_t extra_ = 0;
};

}  // namespace kvm::testing
