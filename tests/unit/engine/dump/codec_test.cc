#include <lzo/lzo1x.h>
#include <snappy.h>

#include <random>

#include "engine/dump/support/lzo.h"
#include "engine/dump/support/snappy.h"
#include "tests/unit/engine/dump/reading.h"

using namespace kvm;
using namespace kvm::testing;

namespace {

// Pages of all kinds: runs, repeated patterns of every small distance, far repeats, noise.
Buffer some_page(std::mt19937& random, std::size_t size) {
  Buffer page;
  while (page.size() < size) {
    const std::size_t count = 1 + random() % (random() % 8 ? 40 : 700);
    switch (random() % 4) {
      case 0:
        page.insert(page.end(), count, static_cast<std::uint8_t>(random()));
        break;
      case 1:
        for (std::size_t i = 0; i < count; ++i) page.push_back(static_cast<std::uint8_t>(random()));
        break;
      default: {
        const std::size_t distance = 1 + random() % (random() % 2 ? 20 : 60000);
        if (distance > page.size()) break;
        for (std::size_t i = 0; i < count; ++i) page.push_back(page[page.size() - distance]);
      }
    }
  }
  page.resize(size);
  return page;
}

Buffer lzo(const Buffer& page, bool best) {
  Buffer out(page.size() + page.size() / 16 + 67), work(best ? LZO1X_999_MEM_COMPRESS : LZO1X_1_MEM_COMPRESS);
  lzo_uint size = out.size();
  (best ? lzo1x_999_compress : lzo1x_1_compress)(page.data(), page.size(), out.data(), &size, work.data());
  out.resize(size);
  return out;
}

Buffer snap(const Buffer& page) {
  std::string text;
  snappy::Compress(reinterpret_cast<const char*>(page.data()), page.size(), &text);
  return {text.begin(), text.end()};
}

// Exactly as large as needed, so that a sanitizer sees a byte too many.
void check(bool (*decode)(Bytes, MutableBytes), const Buffer& packed, const Buffer& page, std::mt19937& random) {
  Buffer out(page.size(), 0xaa);
  REQUIRE(decode(packed, out));
  REQUIRE(out == page);
  Buffer other(page.size() + 1);
  REQUIRE_FALSE(decode(packed, other));
  other.resize(page.size() - 1);
  other.shrink_to_fit();
  REQUIRE_FALSE(decode(packed, other));
  const Buffer half(packed.begin(), packed.begin() + static_cast<std::ptrdiff_t>(random() % packed.size()));
  REQUIRE_FALSE(decode(half, out));
  for (int i = 0; i < 20; ++i) {
    Buffer damaged = packed;
    for (int k = 0; k < 1 + i % 3; ++k) damaged[random() % damaged.size()] = static_cast<std::uint8_t>(random());
    (void)decode(damaged, out);  // any answer, but nothing outside the buffers
  }
}

}  // namespace

TEST_CASE("LZO and snappy streams by their own libraries decompress, and damaged ones do no harm") {
  std::mt19937 random(11);
  for (int i = 0; i < 1500; ++i) {
    const std::size_t size = i % 3 == 0 ? 4096 : i % 3 == 1 ? 65536 : 1 + random() % 3000;
    if (size == 65536 && i % 15 != 1) continue;
    const Buffer page = some_page(random, size);
    check(decompress_lzo, lzo(page, false), page, random);
    check(decompress_snappy, snap(page), page, random);
    if (i % 4 == 0) check(decompress_lzo, lzo(page, true), page, random);
  }
}

TEST_CASE("Empty streams are no pages") {
  Buffer out(16);
  CHECK_FALSE(decompress_lzo({}, out));
  CHECK_FALSE(decompress_snappy({}, out));
}

TEST_CASE("A snappy stream typed from its format description") {
  // 12 bytes: the literal "ab", a match of 10 at distance 2.
  const Buffer stream{12, 1 << 2, 'a', 'b', (10 - 4) << 2 | 1, 2};
  Buffer out(12);
  REQUIRE(decompress_snappy(stream, out));
  CHECK(std::string(out.begin(), out.end()) == "abababababab");
}

TEST_CASE("An LZO stream typed from its format description") {
  // 17 + 4 literals "abcd", a match of 8 at distance 4 (0x20 | 6, then 3 << 2), the end mark.
  const Buffer stream{21, 'a', 'b', 'c', 'd', 0x20 | 6, 3 << 2, 0, 0x11, 0, 0};
  Buffer out(12);
  REQUIRE(decompress_lzo(stream, out));
  CHECK(std::string(out.begin(), out.end()) == "abcdabcdabcd");
}
