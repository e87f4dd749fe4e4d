// The pages of a kdump-compressed file, or of the files of a split set: find the page frame's bit in the bitmap, count
// the set bits below it, read that page descriptor, decompress.
#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include "engine/dump/support/kdump_header.h"
#include "engine/dump/support/page_bitmap.h"
#include "engine/memory.h"

namespace kvm {

// One file and what of it is used.
struct KdumpPart {
  KdumpPart(File from, const KdumpHeader& h);

  File file;
  KdumpHeader header;
  std::uint64_t first_pfn, end_pfn;
  PageBitmap exists, dumped;  // refer to `file`: a part stays where it was made
};

class KdumpMemory final : public PhysicalMemory {
 public:
  // The first part is the file that the user named; all parts describe the same machine.
  explicit KdumpMemory(std::vector<std::unique_ptr<KdumpPart>> parts);

  // Fastest for whole pages, which are decompressed in place.  Large reads use several threads while they last.
  Result<std::size_t> read(PhysAddr at, MutableBytes out) const override;
  std::span<const PhysRange> ranges() const override;
  std::optional<std::uint64_t> file_offset(PhysAddr at) const override;
  std::optional<PhysRange> next_stored(PhysAddr at) const override;

  // Page frames that no part holds, though a part of the set should.
  std::uint64_t uncovered() const;
  // Where the named file must reach, as its last page descriptors say; 0 when finding them would mean counting the
  // bitmap of a huge machine.
  std::uint64_t expected_end() const;

 private:
  struct Cursor;
  struct Stored;  // a page as its descriptor has it
  const KdumpPart* part_of(std::uint64_t pfn) const;
  Result<Stored> descriptor(const KdumpPart& part, std::uint64_t rank) const;
  Result<Stored> locate(std::uint64_t pfn, Cursor& cursor) const;
  bool holds(std::uint64_t pfn, Cursor& cursor) const;
  std::size_t dumped_run(PhysAddr at, std::size_t bytes) const;
  Result<std::size_t> read_run(PhysAddr at, MutableBytes out) const;
  Result<void> page(std::uint64_t pfn, MutableBytes out, Cursor& cursor) const;

  const KdumpPart* named_;
  std::vector<std::unique_ptr<KdumpPart>> parts_;  // by first page frame
  std::uint64_t block_size_;
  mutable std::once_flag ranges_once_;
  mutable std::vector<PhysRange> ranges_;
};

}  // namespace kvm
