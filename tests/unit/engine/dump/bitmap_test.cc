#include <fcntl.h>
#include <unistd.h>

#include <random>

#include "engine/dump/support/cover.h"
#include "engine/dump/support/page_bitmap.h"
#include "tests/unit/engine/dump/reading.h"

using namespace kvm;
using namespace kvm::testing;

TEST_CASE("Ranks agree with counting one by one") {
  std::mt19937 random(7);
  Buffer bytes(3 << 20);
  for (auto& byte : bytes) byte = static_cast<std::uint8_t>(random() % 40 ? 0 : random());
  std::fill(bytes.begin() + (1 << 20), bytes.begin() + (2 << 20), std::uint8_t{0});
  const std::uint64_t bits = bytes.size() * 8 - 3 - 800;
  Image image;
  image.put(0, Buffer(100, 0xff));
  image.put(100, bytes);
  const Buffer file_bytes = image.take();
  const TempFile temp(file_bytes);
  for (const bool mapped : {true, false}) {
    const File file = mapped ? std::move(*File::open(temp.path())) : File::from_bytes(file_bytes, "x");
    const PageBitmap bitmap(file, 100, bits);
    std::vector<std::uint64_t> rank(bits + 1);
    for (std::uint64_t i = 0; i < bits; ++i) rank[i + 1] = rank[i] + (bytes[i / 8] >> i % 8 & 1);
    for (int i = 0; i < 20000; ++i) {
      const std::uint64_t bit = i == 0 ? 0 : i == 1 ? bits : random() % (bits + 1);
      REQUIRE(bitmap.rank(bit) == rank[bit]);
    }
    std::uint64_t total = 0, end = 0;
    for (const PhysRange& range : bitmap.runs(4096)) {
      REQUIRE(range.first.raw >= end);
      end = range.first.raw + range.size;
      total += range.size / 4096;
    }
    CHECK(total == rank[bits]);
  }
}

TEST_CASE("A bitmap that is cut knows ranks up to the cut") {
  const File file = File::from_bytes(Buffer(1000, 0xff), "x");
  const PageBitmap bitmap(file, 0, 100000);
  CHECK(bitmap.rank(8000) == 8000u);
  CHECK_FALSE(bitmap.rank(8001));
  CHECK_FALSE(bitmap.rank(100000));
  CHECK(bitmap.test(7999) == PageBitmap::Bit::set);
  CHECK(bitmap.test(8000) == PageBitmap::Bit::absent);
  CHECK(bitmap.test(100000) == PageBitmap::Bit::clear);
}

TEST_CASE("Very many runs are joined across small gaps") {
  const File file = File::from_bytes(Buffer(1 << 20, 0x55), "x");
  const PageBitmap bitmap(file, 0, 8 << 20);
  const auto runs = bitmap.runs(4096);
  CHECK(runs.size() <= (1u << 20));
  CHECK(runs.front().first.raw == 0);
}

TEST_CASE("Layers: an earlier interval hides a later one") {
  std::mt19937 random(3);
  for (int round = 0; round < 2000; ++round) {
    std::vector<Interval> layers;
    std::vector<std::int64_t> expected(64, -1);
    for (std::uint64_t i = 0; i < random() % 8; ++i) {
      const std::uint64_t first = random() % 60, size = random() % (64 - first);
      layers.push_back({first, size, 1000 * (i + 1), i % 2 == 0});
      for (std::uint64_t at = first; at < first + size; ++at)
        if (expected[at] < 0) expected[at] = static_cast<std::int64_t>(1000 * (i + 1) + at - first);
    }
    std::vector<std::int64_t> got(64, -1);
    std::uint64_t end = 0;
    for (const Interval& i : visible(layers)) {
      REQUIRE(i.first >= end);
      end = i.first + i.size;
      for (std::uint64_t at = i.first; at < end; ++at) got[at] = static_cast<std::int64_t>(i.source + at - i.first);
    }
    REQUIRE(got == expected);
  }
}

TEST_CASE("Intervals may reach the end of the address space") {
  const std::uint64_t top = ~std::uint64_t{0};
  const auto shown = visible({{top - 9, 10, 0, true}, {top - 19, 20, 100, false}});
  REQUIRE(shown.size() == 2);
  CHECK(shown[0].size == 10);
  CHECK(shown[1].tag);
}

TEST_CASE("A sparse dump of a 4 TiB machine opens and reads at its far end") {
  KdumpSpec spec;
  spec.pages[0] = page_of(0);
  const Buffer small = write_kdump(spec);
  const std::uint64_t max_pfn = std::uint64_t{1} << 30, bitmap = max_pfn / 8, last = max_pfn - 1;
  const TempFile temp(cut(small, 2 * 4096));
  const int file = ::open(temp.path().c_str(), O_RDWR);
  const auto write = [&](std::uint64_t at, const Buffer& bytes) {
    REQUIRE(::pwrite(file, bytes.data(), bytes.size(), static_cast<off_t>(at)) > 0);
  };
  Image numbers;
  numbers.put(0, 2 * bitmap / 4096, 4);
  numbers.put(4, max_pfn, 4);
  write(0x1b4, numbers.take());
  Image wide;
  wide.put(0, max_pfn, 8);
  write(4096 + 0x60, wide.take());
  const std::uint64_t descriptors = 2 * 4096 + 2 * bitmap;
  for (const std::uint64_t map : {2 * 4096 + std::uint64_t{0}, 2 * 4096 + bitmap}) {
    write(map, {1});
    write(map + last / 8, {0x80});
  }
  Image table;
  for (const std::uint64_t i : {0, 1}) {
    table.put(i * 24, descriptors + 48 + i * 4096, 8);
    table.put(i * 24 + 8, 4096, 4);
    table.pad_to(i * 24 + 24);
  }
  write(descriptors, table.take());
  write(descriptors + 48, join(page_of(0), page_of(last)));
  ::close(file);

  auto dump = open_dump(temp.path(), "", {});
  REQUIRE(dump);
  CHECK(bytes_at(*dump, last * 4096) == page_of(last));
  CHECK(bytes_at(*dump, 0) == page_of(0));
  CHECK(error_at(*dump, last / 2 * 4096) == Errc::not_in_dump);
  CHECK(dump->memory->ranges().size() == 2);
}
