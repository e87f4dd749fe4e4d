// Mappings in order of trust, and reading through them.
#include "engine/space.h"

#include <catch2/catch.hpp>

#include "tests/support/page_tables.h"

using namespace kvm;
using kvm::testing::FakeMemory;
using kvm::testing::X86Tables;

namespace {

constexpr VirtAddr top{~0ull};

PageTable table_at(std::uint64_t root) {
  return {&arch::find("x86_64")->paging[0], {root}, {root}, 0, std::endian::little};
}

std::string read_text(const AddressSpace& space, VirtAddr at, std::size_t size) {
  std::string text(size, '?');
  auto got = space.read(at, {reinterpret_cast<std::uint8_t*>(text.data()), size});
  return got ? text.substr(0, *got) : std::string(name(got.error().code));
}

}  // namespace

TEST_CASE("a space without mappings is one hole", "[space]") {
  FakeMemory memory;
  const AddressSpace space(memory, {});
  auto extent = space.extent_at({0x1234});
  REQUIRE(extent);
  CHECK(!extent->phys);
  CHECK(extent->first.raw == 0);
  CHECK(extent->last == top);
  CHECK(space.translate({0x1234}).error().code == Errc::not_mapped);
  CHECK(space.translate({0x1234}).error().addr == 0x1234);
}

TEST_CASE("holes between linear mappings end where a mapping begins", "[space]") {
  FakeMemory memory;
  const AddressSpace space(memory, {{{0x5000}, {0x5fff}, Linear{{0x100}}, "b"}, {{0x2000}, {0x2fff}, Linear{{0}}, "a"}});
  auto extent = space.extent_at({0x3000});
  REQUIRE(extent);
  CHECK(extent->first.raw == 0x3000);
  CHECK(extent->last.raw == 0x4fff);
  extent = space.extent_at({0x5432});
  REQUIRE(extent);
  CHECK(extent->at({0x5432}).raw == 0x532);
  CHECK(extent->first.raw == 0x5000);
  CHECK(extent->last.raw == 0x5fff);
  CHECK(space.extent_at({0})->last.raw == 0x1fff);
  CHECK(space.extent_at(top)->first.raw == 0x6000);
}

TEST_CASE("an earlier mapping goes before a later one that overlaps it", "[space]") {
  FakeMemory memory;
  const AddressSpace space(memory, {{{0x3000}, {0x3fff}, Linear{{0x10000}}, "inner"}, {{0x1000}, {0x7fff}, Linear{{0x20000}}, "outer"}});
  CHECK(space.translate({0x3000})->raw == 0x10000);
  CHECK(space.translate({0x2fff})->raw == 0x21fff);
  CHECK(space.translate({0x4000})->raw == 0x23000);
  CHECK(space.extent_at({0x2000})->last.raw == 0x2fff);
  auto above = space.extent_at({0x5000});
  CHECK(above->first.raw == 0x4000);
  CHECK(above->phys->raw == 0x23000);
}

TEST_CASE("a page table answers before the mapping that stands in for it", "[space]") {
  FakeMemory memory;
  X86Tables tables(memory, {0x1000}, 4, {0x2000});
  tables.map({0x400000}, {0x9000}, 0x1000);
  tables.map({0x600000}, {0xa000}, 0x1000);
  memory.exclude({tables.entry_at({0x600000}, 1).raw & ~0xfffull});  // the second page table is not in the dump
  const AddressSpace space(memory, {{{0}, top, table_at(0x1000), "page tables"}, {{0x400000}, {0xffffff}, Linear{{0x80000}}, "stand-in"}});

  CHECK(space.translate({0x400123})->raw == 0x9123);
  CHECK(space.translate({0x401000}).error().code == Errc::not_mapped);  // the tables say no: that is final
  // Without its table a page is found by the stand-in, and only that page: the neighbour's table may be there.
  auto extent = space.extent_at({0x601234});
  REQUIRE(extent);
  CHECK(extent->at({0x601234}).raw == 0x80000 + 0x201234);
  CHECK(extent->first.raw == 0x601000);
  CHECK(extent->last.raw == 0x601fff);
}

TEST_CASE("a second page table stands in page by page", "[space]") {
  FakeMemory memory;
  X86Tables first(memory, {0x1000}, 4, {0x2000});
  first.map({0x40000000}, {0x9000}, 0x1000);
  first.map({0x40200000}, {0xa000}, 0x1000);
  memory.exclude({first.entry_at({0x40000000}, 1).raw & ~0xfffull});
  X86Tables second(memory, {0x10000}, 4, {0x11000});
  second.map({0x40000000}, {0}, 0x40000000);  // one page of 1 GiB
  const AddressSpace space(memory, {{{0}, top, table_at(0x1000), "first"}, {{0}, top, table_at(0x10000), "second"}});
  auto extent = space.extent_at({0x40001234});
  REQUIRE(extent);
  REQUIRE(extent->phys);
  CHECK(extent->at({0x40001234}).raw == 0x1234);
  CHECK(extent->last.raw == 0x40001fff);
  CHECK(space.translate({0x40200000})->raw == 0xa000);
}

TEST_CASE("a missing table is neither a hole nor a translation", "[space]") {
  FakeMemory memory;
  X86Tables tables(memory, {0x1000}, 4, {0x2000});
  tables.map({0x400000}, {0x9000}, 0x1000);
  const PhysAddr table{tables.entry_at({0x400000}, 1).raw & ~0xfffull};
  const AddressSpace space(memory, {{{0}, top, table_at(0x1000), "page tables"}});
  memory.exclude(table);
  CHECK(space.extent_at({0x400000}).error().code == Errc::not_in_dump);
  CHECK(space.translate({0x400000}).error().addr == 0x400000);
  memory.lose(table);
  CHECK(read_text(space, {0x400000}, 4) == "lost");
}

TEST_CASE("a read crosses pages and ends where memory does", "[space]") {
  FakeMemory memory;
  X86Tables tables(memory, {0x1000}, 4, {0x2000});
  tables.map({0x400000}, {0x9000}, 0x1000);
  tables.map({0x401000}, {0x7000}, 0x1000);  // neighbours in one space, strangers in the other
  tables.map({0x402000}, {0x8000}, 0x1000);
  memory.put({0x9ffc}, "abcd");
  memory.put({0x7000}, "efgh");
  memory.put({0x7ffe}, "yz");
  memory.exclude({0x8000});
  const AddressSpace space(memory, {{{0}, top, table_at(0x1000), "page tables"}});

  CHECK(read_text(space, {0x400ffc}, 8) == "abcdefgh");
  CHECK(read_text(space, {0x401ffe}, 8) == "yz");  // a short read is a count
  CHECK(read_text(space, {0x402000}, 8) == "not in the dump");
  CHECK(read_text(space, {0x3ffffc}, 8) == "not mapped");
  CHECK(space.read({0x402004}, {}) == 0u);  // nothing asked, nothing wrong
  std::uint8_t byte[1];
  auto missing = space.read({0x402004}, byte);
  REQUIRE(!missing);
  CHECK(missing.error().addr == 0x402004);  // the virtual address, not the physical one
}

TEST_CASE("a read does not run over the end of the address space", "[space]") {
  FakeMemory memory;
  memory.ram(0, 0x10000);
  const AddressSpace space(memory, {{{0}, {0xfff}, Linear{{0}}, "bottom"}, {{0xfffffffffffff000}, top, Linear{{0x1000}}, "top"}});
  std::uint8_t bytes[32];
  CHECK(space.read({0xfffffffffffffff0}, bytes) == 16u);
}
