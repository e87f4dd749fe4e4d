// The extents of a minidump's kernel map tile the address space: rows of entries, of one level or with tables below, and hashed
// tables; with random entries, and where tables are missing.
#include <catch2/catch.hpp>

#include <random>

#include "tests/support/freebsd_writer.h"
#include "tests/unit/engine/dump/reading.h"

using namespace kvm;
using namespace kvm::testing;

namespace {

bool same(const Result<Extent>& a, const Extent& b) { return a && a->first == b.first && a->last == b.last && a->phys == b.phys && a->access == b.access; }

// Where a table is missing there is no extent; the walk goes on behind the page.
std::string tiling_problem(const AddressSpace& space, std::mt19937_64& random) {
  VirtAddr next{0};
  for (int extents = 0; extents < 100000; ++extents) {
    const auto extent = space.extent_at(next);
    const std::string at = "at " + std::to_string(next.raw);
    if (!extent && extent.error().addr != next.raw) return at + ": an error of another place";
    if (extent && extent->first != next) return at + ": begins at " + std::to_string(extent->first.raw);
    const VirtAddr last = extent ? extent->last : VirtAddr{next.raw | 0xfff};
    if (last < next) return at + ": ends at " + std::to_string(last.raw);
    if (extent)
      for (const VirtAddr inside : {last, next + (last == next ? 0 : random() % (last - next))})
        if (!same(space.extent_at(inside), *extent)) return at + ": another extent at " + std::to_string(inside.raw);
    if (last.raw == ~0ull) return {};
    next = last + 1;
  }
  return "too many extents: the walk does not get ahead";
}

std::vector<std::uint64_t> random_entries(std::mt19937_64& random, std::size_t count, std::uint64_t valid) {
  std::vector<std::uint64_t> entries(count);
  for (std::uint64_t& entry : entries)
    if (random() & 1) entry = (random() & 0x7f000) | (random() & 0xf80) | valid;
  return entries;
}

std::string problem_of(const MinidumpSpec& spec, std::mt19937_64& random) {
  const Dump dump = opened(write_minidump(spec));
  return tiling_problem(AddressSpace(*dump.memory, dump.kernel_map), random);
}

}  // namespace

TEST_CASE("extents of minidumps tile the address space", "[property][minidump]") {
  for (std::uint64_t seed = 0; seed < 8; ++seed) {
    std::mt19937_64 random(seed);
    INFO("seed " << seed);
    MinidumpSpec spec;
    spec.kernbase = 0xfffffe0000000000;
    spec.dmapbase = 0xfffff80000000000;
    spec.dmapend = 0xfffff80000100000;
    spec.available = {{0, 0x40000}, {0x50000, 0x80000}};
    for (int i = 0; i < 40; ++i) {
      const std::uint64_t page = random() % 0x80 * 0x1000;
      if (page < 0x40000 || page >= 0x50000) spec.pages[page] = number_row(random_entries(random, 512, 0x3), 8);
    }
    spec.entries = number_row(random_entries(random, 40, 0x3), 8);  // bit 7: 2 MiB pages; others lead to tables, dumped or not
    CHECK(problem_of(spec, random) == "");
    spec.version = 1;
    spec.available.clear();
    CHECK(problem_of(spec, random) == "");
    spec.kernbase = ~0ull - 40 * 4096 + 1;  // up to the very end
    CHECK(problem_of(spec, random) == "");

    spec = {};
    spec.machine = "arm";
    spec.version = 2;
    spec.kernbase = 0xc0000000;
    spec.bitmap_word = 4;
    std::vector<std::uint64_t> entries;
    for (int i = 0; i < 8; ++i) {
      const std::uint64_t large = (random() & 0xf0000) | 0x1;
      for (int j = 0; j < 16; ++j) entries.push_back(i % 2 ? large : random() & 1 ? (random() & 0xff000) | 0x2 : 0);
    }
    spec.entries = number_row(entries, 4);
    spec.pages[0x1000] = page_of(1);
    CHECK(problem_of(spec, random) == "");

    spec = {};
    spec.machine = "powerpc64";
    spec.version = 2;
    spec.mmu_name = "mmu_g5";
    spec.kernbase = 0xe000000000000000;
    spec.kernend = 0xe000000000ffffff;
    spec.dmapbase = 0xc000000000000000;
    spec.dmapend = 0xc0000000ffffffff;
    spec.entries = number_row(random_entries(random, 512, 0x1), 8, true);
    spec.pages[0x1000] = page_of(1);
    CHECK(problem_of(spec, random) == "");
  }
}
