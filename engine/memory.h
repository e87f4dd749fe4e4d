// The machine's physical memory, wherever the bytes come from.  A dump format provides one of these.
#pragma once

#include <optional>
#include <span>

#include "engine/result.h"
#include "engine/types.h"

namespace kvm {

class PhysicalMemory {
 public:
  virtual ~PhysicalMemory() = default;

  // Copies from `at` until `out` is full or the memory cannot go on; returns the count.  When not even the first byte
  // can be had: not_in_dump (excluded, or no RAM there) or lost (the file should have it and does not).
  virtual Result<std::size_t> read(PhysAddr at, MutableBytes out) const = 0;

  // The bytes from `at` on, borrowed, where the source keeps them as they are (ELF, raw); empty elsewhere.
  virtual Bytes view(PhysAddr) const { return {}; }

  // RAM that the dump describes, whether or not its pages are present: ascending, disjoint.  May be computed on first use.
  virtual std::span<const PhysRange> ranges() const = 0;

  // Where in the (first) file the byte is stored; none when it is not.
  virtual std::optional<std::uint64_t> file_offset(PhysAddr) const { return std::nullopt; }

  // The first bytes at or behind `at` that read() can give, without reading them where that is dear; none when there are no more.
  // A run may be told in several answers: the next one begins where the last ended.
  virtual std::optional<PhysRange> next_stored(PhysAddr at) const;
};

}  // namespace kvm
