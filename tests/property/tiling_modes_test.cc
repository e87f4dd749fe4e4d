// Extents tile the address space in every paging format whose tables are not as regular as x86's: pages whose entries stand
// several times, frames at odd places, entries of the system's own.  Bits are literals from the manuals, as in tests/golden/walks.
#include <catch2/catch.hpp>

#include <algorithm>
#include <map>
#include <random>

#include "tests/support/fake_memory.h"
#include "tests/support/tiling.h"

using namespace kvm;
using kvm::testing::FakeMemory;

namespace {

struct Page {
  unsigned depth;           // 0: its entry is in the root
  std::uint64_t entry;      // without the frame
  unsigned alike;           // entries
};

struct Format {
  std::string_view arch, mode;
  unsigned entry_bytes, va_bits;
  bool is_signed;
  std::vector<std::pair<unsigned, unsigned>> levels;  // shift, bits
  std::uint64_t table_entry;
  unsigned frame_shift;  // right
  std::vector<Page> pages;
};

const Format formats[] = {
    {"riscv64", "sv39", 8, 39, true, {{30, 9}, {21, 9}, {12, 9}}, 0x1, 2,
     {{0, 0xe7, 1}, {1, 0xeb, 1}, {2, 0x5b, 1}, {2, 0x80000000000020e7, 16}}},
    {"riscv64", "sv48", 8, 48, true, {{39, 9}, {30, 9}, {21, 9}, {12, 9}}, 0x1, 2,
     {{1, 0xe7, 1}, {2, 0xeb, 1}, {3, 0x5b, 1}, {3, 0x80000000000020e7, 16}}},
    {"riscv64", "sv57", 8, 57, true, {{48, 9}, {39, 9}, {30, 9}, {21, 9}, {12, 9}}, 0x1, 2,
     {{2, 0xe7, 1}, {3, 0xeb, 1}, {4, 0x5b, 1}, {4, 0x80000000000020e7, 16}}},
    {"arm", "short", 4, 32, false, {{20, 12}, {12, 8}}, 0x1, 0, {{0, 0x1140e, 1}, {0, 0x5140e, 16}, {1, 0x65f, 1}, {1, 0x141d, 16}}},
    {"arm", "lpae", 8, 32, false, {{30, 2}, {21, 9}, {12, 9}}, 0x3, 0, {{0, 0x71d, 1}, {1, 0x79d, 1}, {2, 0x75f, 1}}},
};

class Tables {
 public:
  Tables(FakeMemory& memory, const Format& format, std::uint64_t root) : memory_(memory), format_(format), root_(root), spare_(root + 0x8000) {}

  void map(std::uint64_t address, const Page& page, std::uint64_t phys) {
    std::uint64_t table = root_;
    for (unsigned depth = 0; depth < page.depth; ++depth) {
      const std::uint64_t at = table + index(address, depth) * format_.entry_bytes;
      std::uint64_t entry = entries_[at];
      if (entry && !tables_.contains(at)) return;  // a large page is there
      if (!entry) put(at, entry = (spare_ += 0x1000) >> format_.frame_shift | format_.table_entry), tables_[at] = spare_;
      table = tables_[at];
    }
    // All of the group or none.
    const std::uint64_t first = index(address, page.depth) & ~std::uint64_t{page.alike - 1};
    const std::uint64_t size = std::uint64_t{page.alike} << format_.levels[page.depth].first;
    for (unsigned i = 0; i < page.alike; ++i)
      if (entries_.contains(table + (first + i) * format_.entry_bytes)) return;
    for (unsigned i = 0; i < page.alike; ++i)
      put(table + (first + i) * format_.entry_bytes, (phys & ~(size - 1)) >> format_.frame_shift | page.entry);
  }

 private:
  std::uint64_t index(std::uint64_t address, unsigned depth) const {
    const auto [shift, bits] = format_.levels[depth];
    return address >> shift & ((std::uint64_t{1} << bits) - 1);
  }
  void put(std::uint64_t at, std::uint64_t entry) { memory_.put_number({at}, entries_[at] = entry, format_.entry_bytes); }

  FakeMemory& memory_;
  const Format& format_;
  std::uint64_t root_, spare_;
  std::map<std::uint64_t, std::uint64_t> entries_, tables_;  // by the place of the entry
};

}  // namespace

TEST_CASE("extents tile the address space in every odd paging format", "[property][space]") {
  for (const Format& format : formats)
    for (std::uint64_t seed = 0; seed < 4; ++seed) {
      INFO(format.mode << ", seed " << seed);
      std::mt19937_64 random(seed);
      FakeMemory memory;
      Tables tables(memory, format, 0x10000);
      for (int i = 0; i < 60; ++i) {
        // Few different indexes, so that tables are shared and pages are neighbours.
        std::uint64_t address = 0;
        for (const auto& [shift, bits] : format.levels) address |= (random() & (bits > 4 ? 0x3f : 0x3)) << shift;
        if (format.is_signed && random() & 1) address |= ~0ull << (format.va_bits - 1);
        tables.map(address, format.pages[random() % format.pages.size()], random() & 0xffff'ffff);
      }
      memory.ram(0, 1ull << 24);  // what is not written reads as an empty entry
      const auto& modes = arch::find(format.arch)->paging;
      const auto mode = std::ranges::find(modes, format.mode, &arch::PagingMode::name);
      REQUIRE(mode != modes.end());
      unsigned mapped = 0;
      const PageTable table{&*mode, {0x10000}, {0x10000}, 0, std::endian::little};
      CHECK(kvm::testing::tiling_problem(AddressSpace(memory, {{{0}, kvm::testing::top_address, table, "page tables"}}), random, &mapped) == "");
      CHECK(mapped > 5);  // else it says little
    }
}
