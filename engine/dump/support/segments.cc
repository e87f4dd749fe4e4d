// Overlaps are resolved once, at construction; a read is then a binary search and a copy.
#include "engine/dump/support/segments.h"

#include <algorithm>

#include "engine/dump/support/cover.h"

namespace kvm {
namespace {

std::uint64_t clipped(std::uint64_t first, std::uint64_t size) {
  return first == 0 ? size : std::min(size, ~first + 1);  // up to 2^64
}

}  // namespace

SegmentedMemory::SegmentedMemory(File file, std::vector<Segment> segments) : file_(std::move(file)) {
  std::vector<Interval> layers;
  layers.reserve(segments.size());
  for (const Segment& s : segments) layers.push_back({s.phys.raw, clipped(s.phys.raw, s.stored_size), s.offset, true});
  for (const Segment& s : segments) {
    if (s.memory_size <= s.stored_size) continue;
    const std::uint64_t tail = s.phys.raw + s.stored_size;
    if (tail < s.phys.raw) continue;
    layers.push_back({tail, clipped(tail, s.memory_size - s.stored_size), 0, false});
  }
  for (const Interval& i : visible(std::move(layers))) {
    const Bytes bytes = i.tag ? file_.view(i.source, i.size) : Bytes{};
    runs_.push_back({i.first, i.size, i.source, i.tag, bytes.size() == i.size ? bytes.data() : nullptr});
    const bool adjacent = !ranges_.empty() && ranges_.back().first.raw + ranges_.back().size == i.first;
    if (adjacent && i.size <= ~std::uint64_t{0} - ranges_.back().size) ranges_.back().size += i.size;  // 2^64 does not fit
    else ranges_.push_back({{i.first}, i.size});
  }
}

const SegmentedMemory::Run* SegmentedMemory::run_at(std::uint64_t address) const {
  auto run = std::upper_bound(runs_.begin(), runs_.end(), address, [](std::uint64_t a, const Run& r) { return a < r.first; });
  if (run == runs_.begin()) return nullptr;
  --run;
  return address - run->first < run->size ? &*run : nullptr;
}

Result<std::size_t> SegmentedMemory::read(PhysAddr at, MutableBytes out) const {
  const Run* run = run_at(at.raw);
  if (!run || !run->stored) return fail(Errc::not_in_dump, at.raw);
  std::size_t done = 0;
  std::uint64_t address = at.raw;
  const Run* const end = runs_.data() + runs_.size();
  while (done < out.size() && run != end && run->stored && address - run->first < run->size) {
    const std::uint64_t skip = address - run->first;
    const std::size_t wanted = std::min<std::uint64_t>(out.size() - done, run->size - skip);
    const std::size_t got = file_.read(run->offset + skip, out.subspan(done, wanted));
    done += got;
    address += got;
    if (got < wanted) break;
    ++run;
  }
  if (done == 0 && !out.empty()) return fail(Errc::lost, at.raw);
  return done;
}

Bytes SegmentedMemory::view(PhysAddr at) const {
  const Run* run = run_at(at.raw);
  if (!run || !run->stored) return {};
  const std::uint64_t skip = at.raw - run->first;
  if (run->bytes) return {run->bytes + skip, run->size - skip};
  return file_.view(run->offset + skip, run->size - skip);
}

std::optional<std::uint64_t> SegmentedMemory::file_offset(PhysAddr at) const {
  const Run* run = run_at(at.raw);
  if (!run || !run->stored) return std::nullopt;
  return file_.stored_at(run->offset + (at.raw - run->first));
}

std::optional<PhysRange> SegmentedMemory::next_stored(PhysAddr at) const {
  auto run = std::upper_bound(runs_.begin(), runs_.end(), at.raw, [](std::uint64_t a, const Run& r) { return a < r.first; });
  if (run != runs_.begin() && at.raw - std::prev(run)->first < std::prev(run)->size) --run;
  for (; run != runs_.end(); ++run) {
    const std::uint64_t skip = at.raw > run->first ? at.raw - run->first : 0, from = run->offset + skip;
    const auto place = run->stored && from >= run->offset ? file_.next_present(from) : std::nullopt;
    if (!place || place->offset - run->offset >= run->size) continue;
    const std::uint64_t gap = place->offset - run->offset;
    return PhysRange{{run->first + gap}, std::min(place->size, run->size - gap)};
  }
  return std::nullopt;
}

}  // namespace kvm
