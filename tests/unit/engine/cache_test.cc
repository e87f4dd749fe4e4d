#include "engine/cache.h"

#include <atomic>
#include <catch2/catch.hpp>
#include <random>
#include <thread>

using namespace kvm;

namespace {

// Page n is full of byte n; every fourth page is excluded, and the last one is short.
class Striped final : public PhysicalMemory {
 public:
  static constexpr std::uint64_t page = 4096, pages = 4096;
  mutable std::atomic<int> fetched{0};

  Result<std::size_t> read(PhysAddr at, MutableBytes out) const override {
    ++fetched;
    std::size_t done = 0;
    for (; done < out.size(); ++done) {
      const std::uint64_t address = at.raw + done;
      if (address / page % 4 == 3 || address >= page * pages + 100) break;
      out[done] = static_cast<std::uint8_t>(address / page);
    }
    if (done == 0 && !out.empty()) return fail(at.raw / page % 8 == 7 ? Errc::lost : Errc::not_in_dump, at.raw);
    return done;
  }
  std::span<const PhysRange> ranges() const override { return {}; }
};

struct Cached {
  const Striped* source;
  PageCache cache;
  explicit Cached(std::size_t capacity = PageCache::default_capacity) : Cached(std::make_unique<Striped>(), capacity) {}
  Cached(std::unique_ptr<Striped> striped, std::size_t capacity)
      : source(striped.get()), cache(std::move(striped), Striped::page, capacity) {}
};

}  // namespace

TEST_CASE("A page is fetched once, and served from the cache after") {
  Cached c;
  std::uint8_t out[16];
  for (int i = 0; i < 10; ++i) CHECK(*c.cache.read({5 * 4096 + 100 * static_cast<std::uint64_t>(i)}, out) == 16);
  CHECK(out[0] == 5);
  CHECK(c.source->fetched == 1);
}

TEST_CASE("Any read through the cache equals the read past it") {
  Cached c(1 << 20);
  const Striped plain;
  std::mt19937 random(1);
  std::vector<std::uint8_t> a(20000), b(20000);
  for (int i = 0; i < 20000; ++i) {
    const PhysAddr at{random() % (Striped::page * (Striped::pages + 2))};
    const std::size_t size = random() % 3 ? random() % 64 : random() % a.size();
    const auto x = c.cache.read(at, MutableBytes{a}.first(size));
    const auto y = plain.read(at, MutableBytes{b}.first(size));
    REQUIRE(x.has_value() == y.has_value());
    if (x) {
      REQUIRE(*x == *y);
      REQUIRE(std::equal(a.begin(), a.begin() + static_cast<std::ptrdiff_t>(*x), b.begin()));
    } else {
      REQUIRE(x.error().code == y.error().code);
      REQUIRE(x.error().addr == y.error().addr);
    }
  }
}

TEST_CASE("Recently used pages stay when others come and go") {
  Cached c(0);  // 128 pages
  std::uint8_t out[8];
  for (std::uint64_t round = 0; round < 50; ++round) {
    REQUIRE(c.cache.read({0}, out));
    REQUIRE(c.cache.read({(4 * round + 1) * 4096}, out));
  }
  CHECK(c.source->fetched == 51);
}

TEST_CASE("Threads share the cache") {
  Cached c(0);
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (unsigned seed = 0; seed < 4; ++seed) {
    threads.emplace_back([&, seed] {
      std::mt19937 random(seed);
      std::uint8_t out[8];
      for (int i = 0; i < 50000; ++i) {
        const std::uint64_t page = random() % 400;
        const auto got = c.cache.read({page * 4096 + 8}, out);
        if (page % 4 == 3 ? got.has_value() : !got || out[7] != static_cast<std::uint8_t>(page)) ++wrong;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(wrong == 0);
}
