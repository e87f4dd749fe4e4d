// The list of all that is mapped, on page tables written bit by bit.
#include "engine/mapped.h"

#include <catch2/catch.hpp>

#include "tests/support/kernel_fixture.h"

using namespace kvm;
using kvm::testing::FakeKernel;
using kvm::testing::FakeMemory;

namespace {

const arch::PagingMode& four_level() { return arch::find("x86_64")->paging[0]; }

// Intel SDM volume 3, "4-Level Paging": bit 0 present, 1 writable, 2 user, 7 page size; 63 execute disable.
constexpr std::uint64_t present = 0x3, user = 0x4, no_execute = std::uint64_t{1} << 63;

struct Tables {
  FakeMemory memory;
  Tables() { memory.ram(0, 16 << 20); }
  void entry(std::uint64_t table, std::uint64_t index, std::uint64_t value) { memory.put_number({table + index * 8}, value); }
  AddressSpace space() { return AddressSpace(memory, {{{0}, {~std::uint64_t{0}}, PageTable{&four_level(), {0x1000}, {0x1000}}, "page tables"}}); }
  // 0xffffffff80000000: entries 511, 510, and so on.
  void path() {
    entry(0x1000, 511, 0x2000 | present);
    entry(0x2000, 510, 0x3000 | present);
    entry(0x3000, 0, 0x4000 | present);
  }
};
constexpr std::uint64_t base = 0xffffffff80000000;

}  // namespace

TEST_CASE("neighbours in both memories are one run", "[mapped]") {
  Tables t;
  t.path();
  for (std::uint64_t i = 0; i < 4; ++i) t.entry(0x4000, i, (0x100000 + i * 4096) | present);
  t.entry(0x4000, 4, 0x200000 | present);               // elsewhere
  t.entry(0x4000, 5, 0x201000 | present | no_execute);  // other rights
  t.entry(0x4000, 7, 0x202000 | present);               // behind a hole
  const MappedRuns all = mapped_runs(t.space());
  REQUIRE(all.runs.size() == 4);
  CHECK(all.runs[0].first == VirtAddr{base});
  CHECK(all.runs[0].last == VirtAddr{base + 0x3fff});
  CHECK(all.runs[0].phys == PhysAddr{0x100000});
  CHECK(all.runs[1].first == VirtAddr{base + 0x4000});
  CHECK(!all.runs[2].access.execute);
  CHECK(all.runs[3].first == VirtAddr{base + 0x7000});
  CHECK(all.unknown == 0);
  CHECK(!all.cut);
}

TEST_CASE("a process's pages are not the kernel's", "[mapped]") {
  Tables t;
  t.path();
  t.entry(0x4000, 0, 0x100000 | present);
  t.entry(0x1000, 0, 0x5000 | present | user);
  t.entry(0x5000, 0, 0x6000 | present | user);
  t.entry(0x6000, 0, 0x7000 | present | user);
  t.entry(0x7000, 1, 0x300000 | present | user);
  const MappedRuns all = mapped_runs(t.space());
  REQUIRE(all.runs.size() == 1);
  CHECK(all.runs[0].first == VirtAddr{base});
}

TEST_CASE("a missing table is one gap, however much it would map", "[mapped]") {
  Tables t;
  t.path();
  t.entry(0x4000, 0, 0x100000 | present);
  t.entry(0x1000, 256, 0x8000 | present);  // half a terabyte
  t.memory.put({0x8000}, "x");
  t.memory.exclude({0x8000});
  const MappedRuns all = mapped_runs(t.space());
  CHECK(all.unknown == 1);
  REQUIRE(all.runs.size() == 1);
}

TEST_CASE("terabytes of one page are passed over", "[mapped]") {
  Tables t;
  t.path();
  t.entry(0x4000, 0, 0x100000 | present);
  // KASAN's zero shadow: every entry of every level leads to the same page.
  for (std::uint64_t i = 0; i < 512; ++i) {
    t.entry(0xb000, i, 0xc000 | present);
    t.entry(0xa000, i, 0xb000 | present);
    t.entry(0x9000, i, 0xa000 | present);
  }
  for (std::uint64_t i = 472; i < 504; ++i) t.entry(0x1000, i, 0x9000 | present);
  const MappedRuns all = mapped_runs(t.space());
  CHECK(!all.cut);
  CHECK(all.runs.size() < 100);
  CHECK(all.runs.back().first == VirtAddr{base});
}

TEST_CASE("tables that lead into themselves end", "[mapped]") {
  Tables t;
  for (std::uint64_t i = 0; i < 512; ++i) t.entry(0x1000, i, 0x1000 | i << 12 | present);
  const MappedRuns all = mapped_runs(t.space(), 10000);
  CHECK(all.cut);
  CHECK(all.runs.size() <= 10000);
}

TEST_CASE("linear mappings are runs, too", "[mapped]") {
  FakeMemory memory;
  memory.ram(0, 1 << 20);
  const AddressSpace space(memory, {{{0x1000}, {0x2fff}, Linear{{0x5000}}, "a"}, {{~std::uint64_t{0} - 0xfff}, {~std::uint64_t{0}}, Linear{{0}}, "b"}});
  const MappedRuns all = mapped_runs(space);
  REQUIRE(all.runs.size() == 2);
  CHECK(all.runs[0].phys == PhysAddr{0x5000});
  CHECK(all.runs[1].last.raw == ~std::uint64_t{0});
}
