// A bit that is clear: the page was excluded (or is no RAM).  A descriptor that is missing, zero or points behind the
// file's end: the page is lost.
#include "engine/dump/support/kdump_memory.h"

#include <algorithm>
#include <cstring>
#include <future>
#include <system_error>
#include <thread>

#include "engine/dump/support/page_codec.h"
#include "engine/integers.h"

namespace kvm {
namespace {

constexpr std::uint64_t descriptor_bytes = 24;  // u64 offset, u32 size, u32 flags, u64 page flags (unused)
constexpr std::size_t smallest_share = 256 << 10;  // bytes for which starting a thread (some 20 us) pays
constexpr std::size_t most_threads = 8;

}  // namespace

struct KdumpMemory::Stored {
  std::uint64_t offset = 0;
  std::uint32_t size = 0, flags = 0;
  friend bool operator==(const Stored&, const Stored&) = default;
};

// Reading in order, each page's rank is the last one's plus one, and pages of zeros share one stored page.
struct KdumpMemory::Cursor {
  const KdumpPart* part = nullptr;
  std::uint64_t next_pfn = 0, next_rank = 0;
  Stored last;
  const std::uint8_t* last_page = nullptr;
};

KdumpPart::KdumpPart(File from, const KdumpHeader& h)
    : file(std::move(from)),
      header(h),
      first_pfn(h.split ? h.start_pfn : 0),
      end_pfn(h.split ? h.end_pfn : h.max_pfn),
      exists(file, h.bitmap_at, h.max_pfn),
      dumped(file, h.bitmap_at + h.bitmap_size, h.max_pfn) {}

KdumpMemory::KdumpMemory(std::vector<std::unique_ptr<KdumpPart>> parts)
    : named_(parts.front().get()), parts_(std::move(parts)), block_size_(named_->header.block_size) {
  std::sort(parts_.begin(), parts_.end(), [](const auto& a, const auto& b) { return a->first_pfn < b->first_pfn; });
}

const KdumpPart* KdumpMemory::part_of(std::uint64_t pfn) const {
  for (const auto& part : parts_)
    if (pfn >= part->first_pfn && pfn < part->end_pfn) return part.get();
  return nullptr;
}

Result<KdumpMemory::Stored> KdumpMemory::descriptor(const KdumpPart& part, std::uint64_t rank) const {
  std::uint8_t raw[descriptor_bytes];
  const bool whole = part.file.read(part.header.descriptors_at + rank * descriptor_bytes, raw) == sizeof raw;
  const std::endian order = part.header.order;
  const Stored stored{load<std::uint64_t>(raw, order), load<std::uint32_t>(raw + 8, order), load<std::uint32_t>(raw + 12, order)};
  // Offset 0 is the header's: makedumpfile ran out of room before it wrote this descriptor.
  if (!whole || stored.offset == 0) return fail(Errc::lost);
  if (stored.size == 0 || stored.size > block_size_) return fail(Errc::bad_data);
  return stored;
}

Result<KdumpMemory::Stored> KdumpMemory::locate(std::uint64_t pfn, Cursor& cursor) const {
  if (!cursor.part || pfn < cursor.part->first_pfn || pfn >= cursor.part->end_pfn) {
    cursor = {};
    cursor.part = part_of(pfn);
  }
  // Every part of a split set has the whole machine's bitmaps.
  const KdumpPart& part = cursor.part ? *cursor.part : *named_;
  const PageBitmap::Bit bit = part.dumped.test(pfn);
  if (bit == PageBitmap::Bit::clear) return fail(Errc::not_in_dump);
  if (bit == PageBitmap::Bit::absent || !cursor.part) return fail(Errc::lost);

  if (cursor.next_pfn != pfn || cursor.next_rank == 0) {
    const auto rank = part.dumped.rank(pfn), before = part.dumped.rank(part.first_pfn);
    if (!rank || !before) return fail(Errc::lost);
    cursor.next_rank = *rank - *before;
  }
  cursor.next_pfn = pfn + 1;
  return descriptor(part, cursor.next_rank++);
}

Result<void> KdumpMemory::page(std::uint64_t pfn, MutableBytes out, Cursor& cursor) const {
  const Stored stored = TRY(locate(pfn, cursor));
  if (cursor.last_page && stored == cursor.last) {
    std::memcpy(out.data(), cursor.last_page, out.size());
    return {};
  }
  const File& file = cursor.part->file;
  Bytes bytes = file.view(stored.offset, stored.size);
  thread_local std::vector<std::uint8_t> joined;  // for a page that a flattened file stores in two pieces
  if (bytes.size() < stored.size) {
    joined.resize(stored.size);
    if (file.read(stored.offset, joined) < stored.size) return fail(Errc::lost);
    bytes = joined;
  }
  TRY(decompress(stored.flags, bytes, out));
  cursor.last = stored;
  cursor.last_page = out.data();
  return {};
}

Result<std::size_t> KdumpMemory::read_run(PhysAddr at, MutableBytes out) const {
  thread_local std::vector<std::uint8_t> partial;
  Cursor cursor;
  std::size_t done = 0;
  while (done < out.size()) {
    const std::uint64_t address = at.raw + done;
    if (address < at.raw) break;
    const std::uint64_t pfn = address / block_size_, skip = address % block_size_;
    const std::size_t wanted = std::min<std::uint64_t>(out.size() - done, block_size_ - skip);
    Result<void> got;
    if (wanted == block_size_) {
      got = page(pfn, out.subspan(done, wanted), cursor);
    } else {
      partial.resize(block_size_);
      got = page(pfn, partial, cursor);
      cursor.last_page = nullptr;
      if (got) std::memcpy(out.data() + done, partial.data() + skip, wanted);
    }
    if (!got) {
      if (done) break;
      got.error().addr = at.raw;
      return tl::unexpected(std::move(got).error());
    }
    done += wanted;
  }
  return done;
}

// How many of the bytes at `at` lie in dumped pages that follow each other, as far as `bytes`.
std::size_t KdumpMemory::dumped_run(PhysAddr at, std::size_t bytes) const {
  const KdumpPart* part = part_of(at.raw / block_size_);
  std::size_t run = 0;
  for (std::uint64_t pfn = at.raw / block_size_; part && run < bytes && part->dumped.test(pfn) == PageBitmap::Bit::set; ++pfn)
    run = (pfn + 1) * block_size_ - at.raw;
  return std::min(run, bytes);
}

// Pages are independent streams: a large read is shared out, each thread decompresses a run of them.
Result<std::size_t> KdumpMemory::read(PhysAddr at, MutableBytes out) const {
  static const std::size_t processors = std::clamp<std::size_t>(std::thread::hardware_concurrency(), 1, most_threads);
  if (processors == 1 || out.size() < 2 * smallest_share || at.raw > ~std::uint64_t{0} - out.size()) return read_run(at, out);
  const std::size_t run = dumped_run(at, out.size()), shares = std::min(processors, run / smallest_share);
  if (shares < 2) return read_run(at, out);
  out = out.first(run);  // a short read: the caller asks again behind it
  const std::size_t length = (out.size() / shares + block_size_ - 1) / block_size_ * block_size_;
  const auto share = [&](std::size_t i) {
    const std::size_t from = std::min(i * length, out.size());
    return read_run(at + from, out.subspan(from, std::min(length, out.size() - from)));
  };
  std::vector<std::future<Result<std::size_t>>> others;
  try {
    for (std::size_t i = 1; i < shares; ++i) others.push_back(std::async(std::launch::async, share, i));
  } catch (const std::system_error&) {  // no more threads: this one does what is left
  }
  Result<std::size_t> all = share(0);
  for (std::size_t i = 1; i < shares; ++i) {
    const Result<std::size_t> got = i <= others.size() ? others[i - 1].get() : share(i);
    if (all && got && *all == i * length) *all += *got;
  }
  return all;
}

std::span<const PhysRange> KdumpMemory::ranges() const {
  std::call_once(ranges_once_, [this] { ranges_ = named_->exists.runs(static_cast<std::uint32_t>(block_size_)); });
  return ranges_;
}

std::optional<std::uint64_t> KdumpMemory::file_offset(PhysAddr at) const {
  Cursor cursor;
  const auto stored = locate(at.raw / block_size_, cursor);
  if (!stored || stored->size != block_size_ || stored->flags != 0 || cursor.part != named_) return std::nullopt;
  return named_->file.stored_at(stored->offset + at.raw % block_size_);
}

// Whether a page can be decompressed shows when it is read; here its bytes must be in the file.
bool KdumpMemory::holds(std::uint64_t pfn, Cursor& cursor) const {
  const auto stored = locate(pfn, cursor);
  if (!stored) return false;
  const auto last = cursor.part->file.next_present(stored->offset + (stored->size - 1));
  return last && last->offset == stored->offset + (stored->size - 1);
}

std::optional<PhysRange> KdumpMemory::next_stored(PhysAddr at) const {
  const auto all = ranges();
  auto range = std::ranges::partition_point(all, [&](const PhysRange& r) { return r.first.raw + (r.size - 1) < at.raw; });
  Cursor cursor;
  for (; range != all.end(); ++range) {
    const std::uint64_t end = (range->first.raw + (range->size - 1)) / block_size_ + 1;
    std::uint64_t pfn = std::max(at, range->first).raw / block_size_;
    while (pfn < end && !holds(pfn, cursor)) ++pfn;
    const std::uint64_t first = pfn;
    while (pfn < end && holds(pfn, cursor)) ++pfn;
    if (pfn == first) continue;
    const std::uint64_t from = std::max(at.raw, first * block_size_);
    return PhysRange{{from}, pfn * block_size_ - from};
  }
  return std::nullopt;
}

std::uint64_t KdumpMemory::expected_end() const {
  constexpr std::uint64_t most_counted = std::uint64_t{1} << 23;  // page frames: 1 MiB of bitmap
  constexpr std::uint64_t looked_at = 256;                        // the last page may be one of zeros, which is stored first
  const KdumpPart& part = *named_;
  const auto before = part.dumped.size() > most_counted ? std::nullopt : part.dumped.rank(part.first_pfn);
  const auto all = before ? part.dumped.rank(part.end_pfn) : std::nullopt;
  std::uint64_t end = 0;
  for (std::uint64_t i = 1; all && i <= std::min(looked_at, *all - *before); ++i) {
    const auto stored = descriptor(part, *all - *before - i);
    if (stored && stored->offset < ~std::uint64_t{0} - stored->size) end = std::max(end, stored->offset + stored->size);
  }
  return end;
}

std::uint64_t KdumpMemory::uncovered() const {
  std::uint64_t missing = 0, next = 0;
  for (const auto& part : parts_) {
    if (part->first_pfn > next) missing += part->first_pfn - next;
    next = std::max(next, part->end_pfn);
  }
  const std::uint64_t all = named_->header.max_pfn;
  return missing + (all > next ? all - next : 0);
}

}  // namespace kvm
