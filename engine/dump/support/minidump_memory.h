// The pages of a FreeBSD minidump: a bitmap says which page frames are there, and they lie in the file in that order.
// The bitmap covers the ranges of physical memory that the kernel could dump, one after the other.
#pragma once

#include <mutex>
#include <vector>

#include "engine/dump/support/page_bitmap.h"
#include "engine/file.h"
#include "engine/memory.h"

namespace kvm {

// A part of a file as memory of its own, from address 0 on.
class FileArea final : public PhysicalMemory {
 public:
  FileArea(const File& file, std::uint64_t offset, std::uint64_t size) : file_(file), offset_(offset), range_{{0}, size} {}

  Result<std::size_t> read(PhysAddr at, MutableBytes out) const override;
  std::span<const PhysRange> ranges() const override { return {&range_, 1}; }
  std::optional<std::uint64_t> file_offset(PhysAddr at) const override { return file_.stored_at(offset_ + at.raw); }

 private:
  const File& file_;
  std::uint64_t offset_;
  PhysRange range_;
};

// A run of page frames.
struct FrameRun {
  std::uint64_t first = 0, count = 0;
};

struct MinidumpLayout {
  std::uint64_t page_bytes = 4096;
  unsigned bitmap_word = 1;                 // as PageBitmap's
  std::uint64_t bitmap_at = 0, bitmap_bytes = 0;
  std::uint64_t entries_at = 0, entries_bytes = 0;  // the kernel's page-table entries
  std::uint64_t pages_at = 0;
  std::vector<FrameRun> available;          // what the bitmap covers, in its order; empty: all from 0 on
};

class MinidumpMemory final : public PhysicalMemory {
 public:
  MinidumpMemory(File file, MinidumpLayout layout);

  Result<std::size_t> read(PhysAddr at, MutableBytes out) const override;
  Bytes view(PhysAddr at) const override;
  std::span<const PhysRange> ranges() const override;
  std::optional<std::uint64_t> file_offset(PhysAddr at) const override;
  std::optional<PhysRange> next_stored(PhysAddr at) const override;

  const File& file() const { return file_; }
  const PhysicalMemory& entries() const { return entries_; }

  // Where the file must end, or none when a part of the bitmap is missing.  Counts the whole bitmap.
  std::optional<std::uint64_t> expected_end() const;

 private:
  struct Span {  // of page frames whose bits follow each other
    std::uint64_t first_frame, frames, first_bit;
  };
  // Where the byte lies, and how many bytes from it on, at most `wanted`, lie together.
  struct Place {
    std::uint64_t offset, size;
  };
  Result<Place> place(PhysAddr at, std::uint64_t wanted) const;

  File file_;
  MinidumpLayout layout_;
  PageBitmap bitmap_;
  FileArea entries_;
  std::vector<Span> spans_;  // ascending, disjoint
  mutable std::once_flag ranges_once_;
  mutable std::vector<PhysRange> ranges_;
};

}  // namespace kvm
