// Set-associative, like a processor's cache: a page may live in one of eight slots, so a look-up reads eight tags and
// the least recently used of eight is replaced.
#include "engine/cache.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <utility>

namespace kvm {
namespace {

constexpr std::size_t shard_count = 16, ways = 8;
constexpr std::uint64_t nothing = ~std::uint64_t{0};  // no page has this number: page_size > 1

struct Set {
  std::array<std::uint64_t, ways> page;
  std::array<std::uint64_t, ways> used{};
  std::array<std::unique_ptr<std::uint8_t[]>, ways> bytes;
  Set() { page.fill(nothing); }
};

// Page numbers run on; the product's high bits do not (Knuth's multiplicative hashing).
std::uint64_t mix(std::uint64_t page) { return page * 0x9e3779b97f4a7c15 >> 20; }

}  // namespace

struct alignas(64) PageCache::Shard {
  std::mutex mutex;
  std::uint64_t clock = 0;
  std::vector<Set> sets;  // made when the first page comes: an opened dump may never need them
};

PageCache::PageCache(std::unique_ptr<PhysicalMemory> source, std::uint32_t page_size, std::size_t capacity)
    : source_(std::move(source)), page_size_(page_size), shards_(std::make_unique<Shard[]>(shard_count)) {
  const std::size_t sets = std::bit_floor(std::max<std::size_t>(1, capacity / page_size / ways / shard_count));
  sets_ = sets - 1;
}
PageCache::~PageCache() = default;

Result<std::size_t> PageCache::read(PhysAddr at, MutableBytes out) const {
  const std::uint64_t skip = at.raw & (page_size_ - 1);
  if (out.size() < page_size_ && out.size() <= page_size_ - skip) return read_in_page(at, out);
  std::size_t done = 0;
  while (done < out.size()) {
    const PhysAddr here = at + done;
    if (here < at) break;  // past 2^64
    const std::size_t rest = out.size() - done, left = page_size_ - (here.raw & (page_size_ - 1));
    const bool whole = left == page_size_ && rest >= page_size_;
    const std::size_t wanted = whole ? rest & ~std::size_t{page_size_ - 1} : std::min(rest, left);
    auto got = whole ? source_->read(here, out.subspan(done, wanted)) : read_in_page(here, out.subspan(done, wanted));
    if (!got) {
      if (done) break;
      return got;
    }
    done += *got;
    if (*got < wanted) break;
  }
  return done;
}

Result<std::size_t> PageCache::read_in_page(PhysAddr at, MutableBytes out) const {
  const std::uint64_t page = at.raw / page_size_, skip = at.raw & (page_size_ - 1);
  const std::uint64_t hash = mix(page);
  Shard& shard = shards_[hash % shard_count];
  const std::uint64_t number = hash / shard_count & sets_;
  const auto hit = [&] {
    if (shard.sets.empty()) return false;
    Set& set = shard.sets[number];
    const auto way = static_cast<std::size_t>(std::find(set.page.begin(), set.page.end(), page) - set.page.begin());
    if (way == ways) return false;
    std::memcpy(out.data(), set.bytes[way].get() + skip, out.size());
    set.used[way] = ++shard.clock;
    return true;
  };
  {
    const std::lock_guard lock(shard.mutex);
    if (hit()) return out.size();
  }
  auto bytes = std::make_unique_for_overwrite<std::uint8_t[]>(page_size_);
  auto got = source_->read({page * page_size_}, {bytes.get(), page_size_});
  // Part of a page, or none: the source knows best what to say about it.
  if (!got || *got < page_size_) return source_->read(at, out);
  std::memcpy(out.data(), bytes.get() + skip, out.size());

  const std::lock_guard lock(shard.mutex);
  if (shard.sets.empty()) shard.sets = std::vector<Set>(sets_ + 1);
  Set& set = shard.sets[number];
  if (std::find(set.page.begin(), set.page.end(), page) != set.page.end()) return out.size();  // another thread was faster
  const auto oldest = static_cast<std::size_t>(std::min_element(set.used.begin(), set.used.end()) - set.used.begin());
  set.page[oldest] = page;
  set.used[oldest] = ++shard.clock;
  set.bytes[oldest].swap(bytes);
  return out.size();
}

}  // namespace kvm
