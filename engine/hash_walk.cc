// The primary hash's group first, then the secondary's: the first entry that fits is the page's.
#include "engine/hash_walk.h"

#include "engine/integers.h"

namespace kvm {
namespace {

constexpr unsigned segment_shift = 28, page_shift = 12, entry_bytes = 16, group_entries = 8;
constexpr std::uint64_t segment_mask = (1ull << segment_shift) - 1, page_mask = (1ull << page_shift) - 1;
constexpr std::uint64_t hash_mask = (1ull << 39) - 1;  // 5.7.9.2

// The first doubleword (figure 22): B (0 is 256 MiB), AVPN of segment and 5 bits of page, L, H, V.
constexpr std::uint64_t size_bits = 3ull << 62, segment_bits = 0x3fff'ffff'ffff'f000, page_bits = 0xf80, large = 0x4, secondary = 0x2, valid = 0x1;
// The second: real page number, no-execute, and in PP whether the kernel may write (5.7.14, key 0).
constexpr std::uint64_t frame_bits = 0x0fff'ffff'ffff'f000, no_execute = 0x4, protection = 0x3, read_write = 0x2;

bool fits(std::uint64_t entry, std::uint64_t segment, std::uint64_t page, bool second) {
  const std::uint64_t wanted = (segment << page_shift & segment_bits) | (page >> 11 << 7 & page_bits) | (second ? secondary : 0) | valid;
  return (entry & (size_bits | segment_bits | page_bits | large | secondary | valid)) == wanted;
}

}  // namespace

Result<Extent> walk(const HashedTable& table, VirtAddr address, std::vector<WalkStep>* trace) {
  const std::uint64_t segment = table.segment(address.raw >> segment_shift), page = (address.raw & segment_mask) >> page_shift;
  Extent extent{{address.raw & ~page_mask}, {address.raw | page_mask}, std::nullopt, {}};
  const std::uint64_t hash = (segment & hash_mask) ^ page;
  for (const bool second : {false, true}) {
    const PhysAddr at{((second ? ~hash : hash) & hash_mask & (table.groups - 1)) * group_entries * entry_bytes};
    std::uint8_t group[group_entries * entry_bytes];
    auto got = table.entries->read(at, group);
    if (!got) return fail(got.error().code, address.raw);
    if (*got != sizeof group) return fail(Errc::lost, address.raw);
    for (unsigned i = 0; i < group_entries; ++i) {
      const auto high = load<std::uint64_t>(group + i * entry_bytes, std::endian::big), low = load<std::uint64_t>(group + i * entry_bytes + 8, std::endian::big);
      if (!fits(high, segment, page, second)) continue;
      if (trace) trace->push_back({1, at + i * entry_bytes, high});
      extent.phys = PhysAddr{low & frame_bits};
      extent.access = {(low & protection) == read_write, (low & no_execute) == 0, false};
      return extent;
    }
  }
  return extent;
}

}  // namespace kvm
