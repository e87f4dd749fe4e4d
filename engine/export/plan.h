// What an ELF core of a kernel will hold: every page of the dump that the kernel maps, once, and all the places where it maps it.
#pragma once

#include <vector>

#include "engine/kernel.h"

namespace kvm {

// A program header: `size` bytes at `virt` lie at `offset`.
struct CoreSegment {
  VirtAddr virt;
  PhysAddr phys;
  std::uint64_t size = 0, offset = 0;
  Access access;
};
// Pages that follow each other in physical memory, and in the file.
struct CorePages {
  PhysAddr first;
  std::uint64_t size = 0, offset = 0;
};

struct CorePlan {
  std::vector<CoreSegment> segments;  // by virtual address; different ones may show the same pages
  std::vector<CorePages> pages;       // by physical address
  std::vector<std::uint8_t> notes;
  std::uint64_t notes_at = 0, size = 0;  // of the file
  std::vector<std::string> remarks;   // one line each: what is missing
};

// Fails when the dump maps nothing that it holds, or when that is too much for a 32-bit machine's file.
Result<CorePlan> plan_core(const Kernel& kernel);

}  // namespace kvm
