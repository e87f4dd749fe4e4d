// Memory stored as it was: pieces of a file that belong at physical addresses (ELF cores, raw images, LiME).
#pragma once

#include <vector>

#include "engine/file.h"
#include "engine/memory.h"

namespace kvm {

// `memory_size` bytes of RAM at `phys`; the first `stored_size` lie at `offset`, the rest was excluded.
struct Segment {
  PhysAddr phys;
  std::uint64_t memory_size = 0, stored_size = 0, offset = 0;
};

class SegmentedMemory final : public PhysicalMemory {
 public:
  // Segments may overlap: stored bytes win over excluded ones, and an earlier segment over a later one.
  // Those that reach beyond 2^64 are cut there.
  SegmentedMemory(File file, std::vector<Segment> segments);

  Result<std::size_t> read(PhysAddr at, MutableBytes out) const override;
  Bytes view(PhysAddr at) const override;
  std::span<const PhysRange> ranges() const override { return ranges_; }
  std::optional<std::uint64_t> file_offset(PhysAddr at) const override;
  std::optional<PhysRange> next_stored(PhysAddr at) const override;

 private:
  // Disjoint and ascending.
  struct Run {
    std::uint64_t first, size, offset;
    bool stored;
    const std::uint8_t* bytes = nullptr;  // where the file can be viewed: all of the run
  };
  const Run* run_at(std::uint64_t address) const;

  File file_;
  std::vector<Run> runs_;
  std::vector<PhysRange> ranges_;
};

}  // namespace kvm
