// A bitmap with one bit per page frame, used where it lies in the file.  Counting set bits (the "rank") needs an index;
// it grows only as far as it is asked about, and skips the holes of sparse files, so that opening a dump of many
// terabytes costs nothing.  Safe to use from several threads: extending the index takes a lock, using it does not.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "engine/file.h"
#include "engine/memory.h"

namespace kvm {

class PageBitmap {
 public:
  // `bits` bits at `offset` of `file`, which must outlive the bitmap; the lowest bit of a byte comes first.  Where the bitmap
  // is of big-endian words, so many bytes are one `word` (a power of two, at most 8), and its lowest bit comes first.
  PageBitmap(const File& file, std::uint64_t offset, std::uint64_t bits, unsigned word = 1);

  enum class Bit : std::uint8_t { clear, set, absent };  // absent: that part of the file is missing
  Bit test(std::uint64_t bit) const;
  // Set bits below `bit`; none when a part of the bitmap below it is missing from the file.
  std::optional<std::uint64_t> rank(std::uint64_t bit) const;
  std::uint64_t size() const { return bits_; }

  // The runs of set bits as physical ranges.  Beyond a million runs, neighbours are joined across small gaps.
  std::vector<PhysRange> runs(std::uint32_t page_size) const;

 private:
  struct Chunk {
    std::uint64_t before = 0;                    // set bits below the chunk
    std::unique_ptr<std::uint32_t[]> in_blocks;  // set bits of the chunk below each block; null: no bit is set
  };
  void extend(std::uint64_t chunk) const;
  std::uint64_t count(std::uint64_t chunk, Chunk& into) const;
  std::vector<PhysRange> runs(std::uint32_t page_size, std::uint64_t join) const;

  const File& file_;
  std::uint64_t offset_, bits_;
  unsigned word_;
  mutable std::mutex extending_;
  mutable std::vector<Chunk> chunks_;
  mutable std::uint64_t total_ = 0;              // set bits of the counted chunks
  mutable std::atomic<std::uint64_t> ready_{0};  // chunks that are counted
  mutable std::atomic<std::uint64_t> limit_;     // the first bit that is missing from the file
};

}  // namespace kvm
