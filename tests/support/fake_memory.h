// Physical memory that a test fills by hand: sparse, copyable, with pages that were left out of the dump and pages that
// the dump lost.  Pages are 4 KiB whatever the machine.
#pragma once

#include <array>
#include <unordered_map>
#include <string_view>
#include <vector>

#include "engine/integers.h"
#include "engine/memory.h"

namespace kvm::testing {

class FakeMemory final : public PhysicalMemory {
 public:
  static constexpr std::uint64_t page_bytes = 4096;

  // RAM that reads as zero until something is written.  Call in ascending order.
  FakeMemory& ram(std::uint64_t first, std::uint64_t size);
  // Makes the pages that hold these bytes exist.
  void put(PhysAddr at, Bytes bytes);
  void put(PhysAddr at, std::string_view text);
  void put_number(PhysAddr at, std::uint64_t value, std::size_t bytes = 8, std::endian order = std::endian::little);
  void exclude(PhysAddr page) { fate_[page.raw / page_bytes] = Errc::not_in_dump; }
  void lose(PhysAddr page) { fate_[page.raw / page_bytes] = Errc::lost; }

  // Written pages in ascending order: what a fuzzer may overwrite.
  std::vector<PhysAddr> pages() const;

  Result<std::size_t> read(PhysAddr at, MutableBytes out) const override;
  std::span<const PhysRange> ranges() const override { return ranges_; }

 private:
  using Page = std::array<std::uint8_t, page_bytes>;
  bool is_ram(std::uint64_t address) const;
  Page& page(std::uint64_t number);

  std::unordered_map<std::uint64_t, Page> pages_;   // by page number
  std::unordered_map<std::uint64_t, Errc> fate_;  // of pages that cannot be read
  std::vector<PhysRange> ranges_;
};

}  // namespace kvm::testing
