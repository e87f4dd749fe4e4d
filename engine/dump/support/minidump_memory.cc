// A read finds its page once; as long as the bits that follow are set, the bytes that follow are next in the file.
#include "engine/dump/support/minidump_memory.h"

#include <algorithm>

namespace kvm {
namespace {

void add_range(std::vector<PhysRange>& ranges, PhysAddr first, std::uint64_t size) {
  const bool adjacent = !ranges.empty() && ranges.back().first + ranges.back().size == first;
  if (adjacent) ranges.back().size += size;
  else ranges.push_back({first, size});
}

}  // namespace

Result<std::size_t> FileArea::read(PhysAddr at, MutableBytes out) const {
  if (at.raw >= range_.size) return fail(Errc::not_in_dump, at.raw);
  const std::size_t wanted = std::min<std::uint64_t>(out.size(), range_.size - at.raw);
  const std::size_t got = file_.read(offset_ + at.raw, out.first(wanted));
  if (got == 0 && wanted) return fail(Errc::lost, at.raw);
  return got;
}

MinidumpMemory::MinidumpMemory(File file, MinidumpLayout layout)
    : file_(std::move(file)),
      layout_(std::move(layout)),
      bitmap_(file_, layout_.bitmap_at, layout_.bitmap_bytes * 8, layout_.bitmap_word),
      entries_(file_, layout_.entries_at, layout_.entries_bytes) {
  std::uint64_t bit = 0;
  for (const FrameRun& run : layout_.available) {
    spans_.push_back({run.first, run.count, bit});
    bit += run.count;
  }
  if (spans_.empty()) spans_.push_back({0, bitmap_.size(), 0});
  std::ranges::sort(spans_, {}, [](const Span& s) { return std::pair(s.first_frame, s.first_bit); });
  // A page that two runs share has its bit in the first.
  std::uint64_t end = 0;
  for (Span& span : spans_) {
    const std::uint64_t shared = std::min(span.frames, end > span.first_frame ? end - span.first_frame : 0);
    span = {span.first_frame + shared, span.frames - shared, span.first_bit + shared};
    end = std::max(end, span.first_frame + span.frames);  // a run may lie inside another
    span.frames = std::min(span.frames, bitmap_.size() - std::min(span.first_bit, bitmap_.size()));  // what the bitmap covers
  }
  std::erase_if(spans_, [](const Span& s) { return s.frames == 0; });
}

Result<MinidumpMemory::Place> MinidumpMemory::place(PhysAddr at, std::uint64_t wanted) const {
  const std::uint64_t frame = at.raw / layout_.page_bytes, skip = at.raw % layout_.page_bytes;
  auto span = std::ranges::upper_bound(spans_, frame, {}, &Span::first_frame);
  if (span == spans_.begin() || frame - (--span)->first_frame >= span->frames) return fail(Errc::not_in_dump, at.raw);
  std::uint64_t bit = span->first_bit + (frame - span->first_frame);
  const auto state = bitmap_.test(bit);
  if (state != PageBitmap::Bit::set) return fail(state == PageBitmap::Bit::clear ? Errc::not_in_dump : Errc::lost, at.raw);
  const auto below = bitmap_.rank(bit);
  if (!below) return fail(Errc::lost, at.raw);
  Place found{layout_.pages_at + *below * layout_.page_bytes + skip, layout_.page_bytes - skip};
  const std::uint64_t end = span->first_bit + span->frames;
  while (found.size < wanted && ++bit < end && bitmap_.test(bit) == PageBitmap::Bit::set) found.size += layout_.page_bytes;
  found.size = std::min(found.size, wanted);
  return found;
}

Result<std::size_t> MinidumpMemory::read(PhysAddr at, MutableBytes out) const {
  std::size_t done = 0;
  while (done < out.size()) {
    if (done && (at + done).raw < at.raw) break;  // 2^64
    const auto found = place(at + done, out.size() - done);
    if (!found && done == 0) return tl::unexpected(found.error());
    if (!found) break;
    const std::size_t got = file_.read(found->offset, out.subspan(done, found->size));
    if (got == 0 && done == 0) return fail(Errc::lost, at.raw);
    done += got;
    if (got < found->size) break;
  }
  return done;
}

Bytes MinidumpMemory::view(PhysAddr at) const {
  constexpr std::uint64_t longest = 64 << 10;
  const auto found = place(at, longest);
  return found ? file_.view(found->offset, found->size) : Bytes{};
}

std::optional<std::uint64_t> MinidumpMemory::file_offset(PhysAddr at) const {
  const auto found = place(at, 1);
  return found ? file_.stored_at(found->offset) : std::nullopt;
}

std::optional<PhysRange> MinidumpMemory::next_stored(PhysAddr at) const {
  constexpr std::uint64_t longest = 1 << 30;
  const std::uint64_t from = at.raw / layout_.page_bytes;
  auto span = std::ranges::upper_bound(spans_, from, {}, &Span::first_frame);
  if (span != spans_.begin()) --span;
  for (; span != spans_.end(); ++span) {
    const std::uint64_t bits = bitmap_.size() - std::min(bitmap_.size(), span->first_bit), frames = std::min(span->frames, bits);
    for (std::uint64_t frame = std::max(from, span->first_frame); frame - span->first_frame < frames; ++frame) {
      if (bitmap_.test(span->first_bit + (frame - span->first_frame)) != PageBitmap::Bit::set) continue;
      const PhysAddr first{std::max(at.raw, frame * layout_.page_bytes)};
      const auto found = place(first, longest);
      const auto there = found ? file_.next_present(found->offset) : std::nullopt;
      if (there && there->offset == found->offset) return PhysRange{first, std::min(there->size, found->size)};
    }
  }
  return std::nullopt;
}

std::span<const PhysRange> MinidumpMemory::ranges() const {
  std::call_once(ranges_once_, [this] {
    if (layout_.available.empty()) ranges_ = bitmap_.runs(static_cast<std::uint32_t>(layout_.page_bytes));
    else
      for (const Span& span : spans_) add_range(ranges_, {span.first_frame * layout_.page_bytes}, span.frames * layout_.page_bytes);
  });
  return ranges_;
}

std::optional<std::uint64_t> MinidumpMemory::expected_end() const {
  const auto pages = bitmap_.rank(bitmap_.size());
  if (!pages) return std::nullopt;
  return layout_.pages_at + *pages * layout_.page_bytes;
}

}  // namespace kvm
