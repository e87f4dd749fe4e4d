// The rank index has two levels: chunks of 1 MiB of bitmap, allocated when counted, and blocks of 512 bytes in them.
#include "engine/dump/support/page_bitmap.h"

#include <algorithm>

#include "engine/integers.h"

namespace kvm {
namespace {

constexpr std::uint64_t chunk_bytes = 1 << 20, block_bytes = 512;
constexpr std::uint64_t chunk_bits = chunk_bytes * 8, block_bits = block_bytes * 8;
constexpr std::size_t buffer_bytes = 64 << 10;
constexpr std::size_t most_runs = 1 << 20;

// Set bits of a word.  Written out: without -mpopcnt, compilers call a table look-up, and this form they vectorise
// (Warren, "Hacker's Delight", 5-1).
std::uint32_t ones(std::uint64_t x) {
  x -= x >> 1 & 0x5555555555555555;
  x = (x & 0x3333333333333333) + (x >> 2 & 0x3333333333333333);
  x = (x + (x >> 4)) & 0x0f0f0f0f0f0f0f0f;
  return static_cast<std::uint32_t>(x * 0x0101010101010101 >> 56);
}

std::uint64_t ones(Bytes bytes) {
  std::uint64_t total = 0;
  std::size_t i = 0;
  for (; i + 8 <= bytes.size(); i += 8) total += ones(load<std::uint64_t>(bytes.data() + i, std::endian::little));
  return i < bytes.size() ? total + ones(load_unsigned(bytes.subspan(i), std::endian::little)) : total;
}

}  // namespace

PageBitmap::PageBitmap(const File& file, std::uint64_t offset, std::uint64_t bits, unsigned word)
    : file_(file), offset_(offset), bits_(bits), word_(word), chunks_((bits + chunk_bits - 1) / chunk_bits), limit_(bits) {}

PageBitmap::Bit PageBitmap::test(std::uint64_t bit) const {
  if (bit >= bits_) return Bit::clear;
  const std::uint64_t at = offset_ + (bit / 8 ^ (word_ - 1));  // a big-endian word has its lowest byte last
  std::uint8_t byte;
  if (const Bytes view = file_.view(at, 1); !view.empty()) byte = view[0];
  else if (file_.read(at, {&byte, 1}) != 1) return Bit::absent;
  return byte >> bit % 8 & 1 ? Bit::set : Bit::clear;
}

std::optional<std::uint64_t> PageBitmap::rank(std::uint64_t bit) const {
  bit = std::min(bit, bits_);
  if (bit == 0) return 0;
  const std::uint64_t chunk = (bit - 1) / chunk_bits;
  if (chunk >= ready_.load(std::memory_order_acquire)) extend(chunk);
  if (bit > limit_.load(std::memory_order_acquire)) return std::nullopt;
  const Chunk& c = chunks_[chunk];
  if (!c.in_blocks) return c.before;
  const std::uint64_t block = (bit - 1) % chunk_bits / block_bits;
  const std::uint64_t start = chunk * chunk_bytes + block * block_bytes;
  const std::uint64_t rest = bit % (8 * word_), whole = (bit - rest) / 8 - start;  // bits in the last word, bytes below it
  const std::uint64_t wanted = whole + (rest ? word_ : 0);
  std::uint8_t copied[block_bytes + 8];
  Bytes bytes = file_.view(offset_ + start, wanted);
  if (bytes.size() < wanted) bytes = {copied, file_.read(offset_ + start, MutableBytes{copied}.first(wanted))};
  if (bytes.size() < wanted) return std::nullopt;
  const std::uint64_t last = rest ? load_unsigned(bytes.subspan(whole, word_), std::endian::big) & ((std::uint64_t{1} << rest) - 1) : 0;
  return c.before + c.in_blocks[block] + ones(bytes.first(whole)) + ones(last);
}

void PageBitmap::extend(std::uint64_t chunk) const {
  const std::lock_guard lock(extending_);
  for (std::uint64_t next = ready_.load(std::memory_order_relaxed); next <= chunk; ++next) {
    chunks_[next].before = total_;
    total_ += count(next, chunks_[next]);
    ready_.store(next + 1, std::memory_order_release);
  }
}

// Fills the chunk's blocks and returns its set bits.
std::uint64_t PageBitmap::count(std::uint64_t chunk, Chunk& into) const {
  const std::uint64_t first = chunk * chunk_bytes, end = std::min(first + chunk_bytes, (bits_ + 7) / 8);
  if (file_.next_data(offset_ + first, offset_ + end) >= offset_ + end) return 0;  // a hole: zeros
  auto blocks = std::make_unique<std::uint32_t[]>(chunk_bytes / block_bytes);
  const auto buffer = std::make_unique<std::uint8_t[]>(buffer_bytes);
  std::uint32_t total = 0;
  for (std::uint64_t at = first; at < end;) {
    const std::uint64_t wanted = std::min<std::uint64_t>(buffer_bytes, end - at);
    const std::size_t got = file_.scan(offset_ + at, {buffer.get(), wanted});
    for (std::size_t i = 0; i < got; i += block_bytes) {
      blocks[(at - first + i) / block_bytes] = total;
      total += static_cast<std::uint32_t>(ones(Bytes{buffer.get() + i, std::min<std::size_t>(block_bytes, got - i)}));
    }
    at += got;
    if (got < wanted) {
      limit_.store(std::min(limit_.load(std::memory_order_relaxed), at * 8), std::memory_order_release);
      break;
    }
  }
  if (total) into.in_blocks = std::move(blocks);
  return total;
}

std::vector<PhysRange> PageBitmap::runs(std::uint32_t page_size) const {
  for (std::uint64_t join = 0;; join = join ? join * 16 : 1) {
    auto result = runs(page_size, join);
    if (result.size() <= most_runs) return result;
  }
}

// `join`: gaps of so many bits or fewer do not end a run.  Gives up after too many runs.
std::vector<PhysRange> PageBitmap::runs(std::uint32_t page_size, std::uint64_t join) const {
  std::vector<PhysRange> result;
  std::uint64_t run_first = 0, run_end = 0;  // the run that may still grow
  const auto close = [&] {
    if (run_end > run_first) result.push_back({{run_first * page_size}, (run_end - run_first) * page_size});
  };
  const auto add = [&](std::uint64_t first, std::uint64_t count) {
    if (run_end == 0 || first - run_end > join) {
      close();
      run_first = first;
    }
    run_end = first + count;
  };
  const auto buffer = std::make_unique<std::uint8_t[]>(buffer_bytes);
  const std::uint64_t end = (bits_ + 7) / 8;
  for (std::uint64_t at = 0; at < end && result.size() <= most_runs;) {
    at = std::max(at, file_.next_data(offset_ + at, offset_ + end) - offset_);
    const std::size_t got = file_.scan(offset_ + at, {buffer.get(), std::min<std::uint64_t>(buffer_bytes, end - at)});
    if (got == 0) break;
    for (std::size_t i = 0; word_ > 1 && i + word_ <= got; i += word_) std::reverse(buffer.get() + i, buffer.get() + i + word_);
    for (std::size_t i = 0; i < got; i += 8) {
      std::uint64_t word = got - i >= 8 ? load<std::uint64_t>(buffer.get() + i, std::endian::little)
                                        : load_unsigned({buffer.get() + i, got - i}, std::endian::little);
      const std::uint64_t base = (at + i) * 8;
      if (bits_ - base < 64) word &= (std::uint64_t{1} << (bits_ - base)) - 1;
      while (word) {
        const int low = std::countr_zero(word), length = std::countr_one(word >> low);
        add(base + low, length);
        if (low + length >= 64) break;
        word &= ~std::uint64_t{0} << (low + length);
      }
    }
    at += got;
  }
  close();
  return result;
}

}  // namespace kvm
