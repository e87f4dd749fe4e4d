// Which pages a memory holds, for sources that have nothing better than to try.
#include "engine/memory.h"

#include <algorithm>

namespace kvm {

std::optional<PhysRange> PhysicalMemory::next_stored(PhysAddr at) const {
  constexpr std::uint64_t page_bytes = 4096;
  for (const PhysRange& range : ranges()) {
    if (range.size == 0 || range.first.raw + (range.size - 1) < at.raw) continue;
    std::uint64_t first = std::max(at.raw, range.first.raw), size = 0;
    while (first + size - range.first.raw < range.size) {
      const std::uint64_t here = first + size, step = std::min(page_bytes - here % page_bytes, range.size - (here - range.first.raw));
      std::uint8_t byte;
      const bool stored = file_offset({here}) || read({here}, {&byte, 1});
      if (!stored && size) break;
      if (stored) size += step;
      else first += step;
    }
    if (size) return PhysRange{{first}, size};
  }
  return std::nullopt;
}

}  // namespace kvm
