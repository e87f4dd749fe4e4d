// The property of an address space: from 0 on, each extent begins where the one before it ended, and every address inside an
// extent is answered with that same extent.
#pragma once

#include <random>
#include <string>

#include "engine/space.h"

namespace kvm::testing {

inline constexpr VirtAddr top_address{~0ull};

inline bool same(const Result<Extent>& a, const Extent& b) {
  return a && a->first == b.first && a->last == b.last && a->phys == b.phys && a->access == b.access;
}

// One assertion per space: there are many extents, and Catch counts each.
inline std::string tiling_problem(const AddressSpace& space, std::mt19937_64& random, unsigned* pages = nullptr) {
  VirtAddr next{0};
  for (int extents = 0; extents < 200000; ++extents) {
    auto extent = space.extent_at(next);
    const std::string at = "at " + std::to_string(next.raw);
    if (!extent) return at + ": " + to_string(extent.error());
    if (extent->first != next) return at + ": begins at " + std::to_string(extent->first.raw);
    if (extent->last < next) return at + ": ends at " + std::to_string(extent->last.raw);
    if (pages) *pages += extent->phys.has_value();
    const std::uint64_t length = extent->last - extent->first;
    for (VirtAddr inside : {extent->last, extent->first + (length ? random() % length : 0)})
      if (!same(space.extent_at(inside), *extent)) return at + ": another extent at " + std::to_string(inside.raw);
    if (extent->last == top_address) return {};
    next = extent->last + 1;
  }
  return "too many extents: the walk does not get ahead";
}

}  // namespace kvm::testing
