// Reading through mappings.  See space.h for which mapping answers.
#include "engine/space.h"

#include <algorithm>

namespace kvm {
namespace {

bool covers(const Mapping& mapping, VirtAddr address) { return mapping.first <= address && address <= mapping.last; }

void clip(Extent& extent, VirtAddr first, VirtAddr last) {
  if (extent.first < first) {
    if (extent.phys) extent.phys = *extent.phys + (first - extent.first);
    extent.first = first;
  }
  extent.last = std::min(extent.last, last);
}

// What one mapping says about an address that it covers.
Result<Extent> answer(const PhysicalMemory& memory, const Mapping& mapping, VirtAddr address) {
  if (const auto* linear = std::get_if<Linear>(&mapping.how)) return Extent{mapping.first, mapping.last, linear->base, {}};
  auto extent = walk_by(memory, mapping.how, address, nullptr);
  if (extent) clip(*extent, mapping.first, mapping.last);
  return extent;
}

// A mapping that stands in for missing tables answers for one small page only: the next page's tables may be there.
constexpr std::uint64_t stand_in_bytes = 4096;

}  // namespace

Result<Extent> walk_by(const PhysicalMemory& memory, const Method& how, VirtAddr address, std::vector<WalkStep>* trace) {
  if (const auto* table = std::get_if<PageTable>(&how)) return walk(memory, *table, address, trace);
  if (const auto* array = std::get_if<EntryArray>(&how)) return walk(memory, *array, address, trace);
  if (const auto* hashed = std::get_if<HashedTable>(&how)) return walk(*hashed, address, trace);
  return fail(Errc::unsupported, address.raw);
}

AddressSpace::AddressSpace(const PhysicalMemory& memory, std::vector<Mapping> mappings)
    : memory_(&memory), mappings_(std::move(mappings)) {
  const auto unordered = [](const Mapping& a, const Mapping& b) { return b.first <= a.last; };
  const auto linear = [](const Mapping& m) { return std::holds_alternative<Linear>(m.how) && m.first <= m.last; };
  row_ = std::ranges::all_of(mappings_, linear) && std::ranges::adjacent_find(mappings_, unordered) == mappings_.end();
}

Result<Extent> AddressSpace::extent_in_row(VirtAddr address) const {
  const auto next = std::ranges::upper_bound(mappings_, address, {}, &Mapping::first);
  const Mapping* before = next == mappings_.begin() ? nullptr : &*std::prev(next);
  if (before && address <= before->last) return answer(*memory_, *before, address);
  return Extent{before ? before->last + 1 : VirtAddr{0}, next == mappings_.end() ? VirtAddr{~std::uint64_t{0}} : next->first - 1, std::nullopt, {}};
}

Result<Extent> AddressSpace::extent_at(VirtAddr address) const {
  if (row_) return extent_in_row(address);
  std::optional<Error> missing;
  VirtAddr hole_first{0}, hole_last{~std::uint64_t{0}};
  for (const Mapping& mapping : mappings_) {
    if (!covers(mapping, address)) {
      if (mapping.last < address) hole_first = std::max(hole_first, mapping.last + 1);
      else hole_last = std::min(hole_last, mapping.first - 1);
      continue;
    }
    auto extent = answer(*memory_, mapping, address);
    if (extent) {
      clip(*extent, hole_first, hole_last);
      const VirtAddr page{address.raw & ~(stand_in_bytes - 1)};
      if (missing) clip(*extent, page, page + (stand_in_bytes - 1));
      return extent;
    }
    if (!missing) missing = extent.error();
  }
  if (missing) return tl::unexpected(*missing);
  return Extent{hole_first, hole_last, std::nullopt, {}};
}

Result<PhysAddr> AddressSpace::translate(VirtAddr address) const {
  const Extent extent = TRY(extent_at(address));
  if (!extent.phys) return fail(Errc::not_mapped, address.raw);
  return extent.at(address);
}

Result<std::size_t> AddressSpace::read(VirtAddr address, MutableBytes out) const {
  std::size_t done = 0;
  while (done < out.size()) {
    const VirtAddr at = address + done;
    if (done && at.raw == 0) break;  // the end of the address space
    auto extent = extent_at(at);
    if (!extent || !extent->phys) {
      if (done) break;
      return extent ? fail(Errc::not_mapped, at.raw) : tl::unexpected(extent.error());
    }
    const std::uint64_t room = std::min<std::uint64_t>(extent->last - at, out.size() - done - 1) + 1;
    auto got = memory_->read(extent->at(at), out.subspan(done, room));
    if (!got) {
      if (done) break;
      return fail(got.error().code, at.raw);
    }
    done += *got;
    if (*got != room) break;
  }
  return done;
}

}  // namespace kvm
