// The walker: golden walks for every architecture, and what no real architecture of ours shows yet.
#include "engine/walk.h"

#include <catch2/catch.hpp>

#include <filesystem>
#include <set>

#include "tests/support/page_tables.h"
#include "tests/support/walk_file.h"

using namespace kvm;
using kvm::testing::FakeMemory;

namespace {

const arch::PagingMode* mode_named(const arch::Arch& arch, std::string_view name) {
  for (const arch::PagingMode& mode : arch.paging)
    if (mode.name == name) return &mode;
  return nullptr;
}

std::filesystem::path walks() { return std::filesystem::path(TEST_DATA) / "golden/walks"; }

void check_walk(const FakeMemory& memory, const PageTable& table, const kvm::testing::WalkCheck& check) {
  INFO(check.where);
  const auto extent = walk(memory, table, check.virt);
  if (check.error) {
    REQUIRE(!extent);
    CHECK(extent.error().code == *check.error);
    CHECK(extent.error().addr == check.virt.raw);
    return;
  }
  REQUIRE(extent);
  CHECK(extent->first.raw == check.extent.first.raw);
  CHECK(extent->last.raw == check.extent.last.raw);
  REQUIRE(extent->phys.has_value() == check.phys.has_value());
  if (!check.phys) return;
  CHECK(extent->phys->raw == check.extent.phys->raw);
  CHECK(extent->at(check.virt).raw == check.phys->raw);
  CHECK(extent->access.write == check.extent.access.write);
  CHECK(extent->access.execute == check.extent.access.execute);
  CHECK(extent->access.user == check.extent.access.user);
}

}  // namespace

TEST_CASE("golden walks hold", "[walk][golden]") {
  for (const auto& entry : std::filesystem::directory_iterator(walks())) {
    INFO(entry.path());
    const arch::Arch* arch = arch::find(entry.path().stem().string());
    REQUIRE(arch);
    for (const auto& golden : kvm::testing::read_walk_file(entry.path().string())) {
      const arch::PagingMode* mode = mode_named(*arch, golden.mode);
      INFO(golden.mode);
      REQUIRE(mode);
      const PageTable table{mode, golden.low, golden.high, golden.clear, golden.order, golden.empty};
      for (const auto& check : golden.checks) check_walk(golden.memory, table, check);
    }
  }
}

TEST_CASE("every paging mode of every architecture has golden walks", "[walk][golden]") {
  for (const arch::Arch* arch : arch::arches()) {
    const auto path = walks() / (std::string(arch->name) + ".txt");
    INFO(path);
    REQUIRE(std::filesystem::exists(path));
    std::set<std::string, std::less<>> used;
    for (const auto& golden : kvm::testing::read_walk_file(path.string())) used.insert(golden.mode);
    for (const arch::PagingMode& mode : arch->paging) CHECK(used.contains(mode.name));
  }
}

TEST_CASE("a walk leaves a trace that ends where it ends", "[walk]") {
  FakeMemory memory;
  kvm::testing::X86Tables tables(memory, {0x1000}, 4, {0x2000});
  tables.map({0xffffffff81000000}, {0x1000000}, 0x200000);
  const PageTable table{&arch::find("x86_64")->paging[0], {0x1000}, {0x1000}, 0, std::endian::little};
  std::vector<WalkStep> trace;
  REQUIRE(walk(memory, table, {0xffffffff81000123}, &trace));
  REQUIRE(trace.size() == 3);
  CHECK(trace[0].level == 4);
  CHECK(trace[0].entry_at.raw == 0x1ff8);
  CHECK(trace[0].entry == 0x2067);
  CHECK(trace[2].level == 2);
  CHECK(trace[2].entry_at.raw == 0x3040);
  CHECK(trace[2].entry == 0x10000e3);

  trace.clear();
  REQUIRE(walk(memory, table, {0x1000}, &trace));  // a hole at the root
  CHECK(trace.size() == 1);
  trace.clear();
  REQUIRE(walk(memory, table, {0x800000000000}, &trace));  // not canonical: no table is asked
  CHECK(trace.empty());
}

namespace {

// A machine that never was: two levels of 4-byte big-endian entries, two roots, frames shifted as on RISC-V.
constexpr arch::Match bit0{1, 1};
constexpr arch::Level toy_levels[] = {{16, 6, bit0, {2, 2}}, {12, 4, bit0, arch::never}};
constexpr arch::Rights toy_rights{{{4, 4}}, {{8, 8}}, {{16, 16}}};
constexpr arch::PagingMode toy{"toy", 4, 22, arch::Halves::two_roots, 0xffff'fc00, 2, toy_levels, toy_rights, toy_rights};

constexpr arch::PagingMode with_halves(arch::Halves halves) {
  arch::PagingMode mode = toy;
  mode.halves = halves;
  return mode;
}

}  // namespace

TEST_CASE("two roots, narrow big-endian entries, shifted frames", "[walk]") {
  FakeMemory memory;
  memory.ram(0, 0x100000);
  const auto big = std::endian::big;
  // Frame 0x5000 is stored as 0x5000 >> 2.
  memory.put_number({0x1000 + 4 * 1}, 0x1400 | 1 | 2, 4, big);          // low root [1] -> table at 0x5000
  memory.put_number({0x5000 + 4 * 3}, 0x2000 | 1 | 4 | 8, 4, big);      // [3]: page at 0x8000
  memory.put_number({0x2000 + 4 * 63}, 0x20000 | 1, 4, big);            // high root [63]: 64 KiB page at 0x80000
  const PageTable table{&toy, {0x1000}, {0x2000}, 0, big};

  auto low = walk(memory, table, {0x13abc});
  REQUIRE(low);
  REQUIRE(low->phys);
  CHECK(low->at({0x13abc}).raw == 0x8abc);
  auto high = walk(memory, table, {0xffffffffffff0123});
  REQUIRE(high);
  REQUIRE(high->phys);
  CHECK(high->at({0xffffffffffff0123}).raw == 0x80123);
  CHECK(high->first.raw == 0xffffffffffff0000);
  CHECK(high->last.raw == 0xffffffffffffffff);
  // 22 bits on either side, the hole between them.
  auto between = walk(memory, table, {0x400000});
  REQUIRE(between);
  CHECK(!between->phys);
  CHECK(between->first.raw == 0x400000);
  CHECK(between->last.raw == 0xffffffffffbfffff);
}

TEST_CASE("the reach of an unsigned and of a signed half", "[walk]") {
  FakeMemory memory;
  memory.ram(0, 0x10000);
  constexpr arch::PagingMode one = with_halves(arch::Halves::one_root_unsigned), sign = with_halves(arch::Halves::one_root_signed);
  auto above = walk(memory, PageTable{&one, {0x1000}, {0x1000}, 0, std::endian::big}, {0xffffffff00000000});
  REQUIRE(above);
  CHECK(above->first.raw == 0x400000);
  CHECK(above->last.raw == ~0ull);
  auto beyond = walk(memory, PageTable{&sign, {0x1000}, {0x1000}, 0, std::endian::big}, {0x200000});
  REQUIRE(beyond);
  CHECK(beyond->first.raw == 0x200000);
  CHECK(beyond->last.raw == 0xffffffffffdfffff);
}

TEST_CASE("a mode may say where the frame is", "[walk]") {
  FakeMemory memory;
  memory.ram(0, 0x10000);
  arch::PagingMode odd = with_halves(arch::Halves::one_root_unsigned);
  odd.frame = [](std::uint64_t entry, const arch::Level& level) { return (entry >> 8 << 20) + level.shift; };
  memory.put_number({0x1000}, 0x300 | 1, 4, std::endian::big);  // a page at the upper level
  auto extent = walk(memory, PageTable{&odd, {0x1000}, {0x1000}, 0, std::endian::big}, {0x1234});
  REQUIRE(extent);
  REQUIRE(extent->phys);
  CHECK(extent->phys->raw == 0x300000);  // what lies below the page's size is dropped
}

TEST_CASE("an entry of which only half is there is lost", "[walk]") {
  FakeMemory memory;
  memory.put_number({0x1ff8}, 0, 8);
  memory.exclude({0x2000});
  const PageTable table{&arch::find("x86_64")->paging[0], {0x1804}, {0x1804}, 0, std::endian::little};  // a root off its page
  auto extent = walk(memory, table, {0xffull << 39});
  REQUIRE(!extent);
  CHECK(extent.error().code == Errc::lost);
}

TEST_CASE("the first entry of a root may tell its mode", "[walk]") {
  const arch::Arch& s390 = *arch::find("s390x");
  FakeMemory memory;
  memory.put_number({0x4000}, 0x24, 8, std::endian::big);  // an invalid entry of a region-third table
  for (const arch::PagingMode& mode : s390.paging) {
    INFO(mode.name);
    CHECK(fits_root(memory, {&mode, {0x4000}, {0x4000}, 0, std::endian::big}) == (mode.name == "3-level"));
    CHECK(!fits_root(memory, {&mode, {0x80000}, {0x80000}, 0, std::endian::big}));  // not there
  }
  CHECK(fits_root(memory, {&arch::find("x86_64")->paging[0], {0x80000}, {0x80000}, 0, std::endian::little}));
}
