// Keeps recently used pages of a memory whose pages are dear to fetch (compressed dumps).  Bounded; safe for any number
// of threads: pages are spread over shards and each shard has a lock, held while bytes are copied, never while a page
// is fetched.  A hit allocates nothing.
#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include "engine/memory.h"

namespace kvm {

class PageCache final : public PhysicalMemory {
 public:
  static constexpr std::size_t default_capacity = 64 << 20;

  // `page_size` is a power of two.  Keeps at most `capacity` bytes, but always room for 128 pages.
  PageCache(std::unique_ptr<PhysicalMemory> source, std::uint32_t page_size, std::size_t capacity = default_capacity);
  ~PageCache() override;

  // Whole pages go straight from the source into `out`: a scan of the dump does not flush what is hot.
  Result<std::size_t> read(PhysAddr at, MutableBytes out) const override;
  Bytes view(PhysAddr at) const override { return source_->view(at); }
  std::span<const PhysRange> ranges() const override { return source_->ranges(); }
  std::optional<std::uint64_t> file_offset(PhysAddr at) const override { return source_->file_offset(at); }
  std::optional<PhysRange> next_stored(PhysAddr at) const override { return source_->next_stored(at); }

 private:
  struct Shard;
  // At most up to the end of the page that holds `at`.
  Result<std::size_t> read_in_page(PhysAddr at, MutableBytes out) const;

  std::unique_ptr<PhysicalMemory> source_;
  std::uint32_t page_size_;
  std::uint64_t sets_;  // of each shard, less one: a mask
  std::unique_ptr<Shard[]> shards_;
};

}  // namespace kvm
