// What a memory says it stores is what it can be read: for every format, whole, rearranged and cut.
#include <catch2/catch.hpp>

#include "tests/support/fake_memory.h"
#include "tests/unit/engine/dump/reading.h"

using namespace kvm;
using namespace kvm::testing;

namespace {

constexpr std::uint64_t page = 4096;

std::vector<std::uint64_t> readable(const PhysicalMemory& memory, std::uint64_t end) {
  std::vector<std::uint64_t> pages;
  std::uint8_t byte;
  for (std::uint64_t at = 0; at < end; at += page)
    if (memory.read({at}, {&byte, 1})) pages.push_back(at);
  return pages;
}

std::vector<std::uint64_t> stored(const PhysicalMemory& memory) {
  std::vector<std::uint64_t> pages;
  std::uint64_t from = 0;
  while (const auto run = memory.next_stored({from})) {
    REQUIRE(run->size > 0);
    REQUIRE(run->first.raw >= from);
    for (std::uint64_t at = run->first.raw; at < run->first.raw + run->size; at += page) pages.push_back(at);
    from = run->first.raw + run->size;
  }
  return pages;
}

void check(const PhysicalMemory& memory, std::uint64_t end = 128 * page) {
  CHECK(stored(memory) == readable(memory, end));
  // From the middle of a page on, the rest of it.
  if (const auto run = memory.next_stored({0})) {
    const auto rest = memory.next_stored(run->first + 100);
    REQUIRE(rest);
    CHECK(rest->first == run->first + 100);
  }
}

ElfSpec elf() {
  ElfSpec spec;
  spec.loads.push_back({.paddr = 0x2000, .data = Buffer(3 * page, 'a'), .memsz = 5 * page});
  spec.loads.push_back({.paddr = 0x10000, .data = Buffer(2 * page, 'b')});
  spec.loads.push_back({.paddr = 0x20000, .data = {}, .memsz = page});
  spec.loads.push_back({.paddr = 0x30000, .data = Buffer(page, 'c')});
  return spec;
}

KdumpSpec kdump(Packing packing) {
  KdumpSpec spec;
  spec.packing = packing;
  for (std::uint64_t pfn : {1, 2, 3, 7, 40, 41, 63}) spec.pages[pfn] = page_of(pfn);
  spec.excluded = {4, 5, 42};
  spec.unwritten = {};
  return spec;
}

}  // namespace

TEST_CASE("an ELF core stores what can be read of it", "[property]") {
  const Buffer whole = write_elf(elf());
  check(*opened(whole).memory);
  for (std::size_t less : {std::size_t{1}, std::size_t{page}, std::size_t{page + 1}, std::size_t{3 * page}}) check(*opened(cut(whole, whole.size() - less)).memory);
  check(*opened(flatten(whole, 1000)).memory);
  const Buffer flat = flatten(whole, 1000, false);
  check(*opened(cut(flat, flat.size() / 2)).memory);
}

TEST_CASE("a kdump file stores what can be read of it", "[property]") {
  for (const Packing packing : {Packing::none, Packing::zlib, Packing::zstd}) {
    const Buffer whole = write_kdump(kdump(packing));
    check(*opened(whole).memory);
    check(*opened(cut(whole, whole.size() - 10)).memory);
    check(*opened(flatten(whole, 1000)).memory);
  }
  KdumpSpec lacking = kdump(Packing::none);
  lacking.unwritten = {40, 63};
  check(*opened(write_kdump(lacking)).memory);
}

TEST_CASE("LiME and raw files store what can be read of them", "[property]") {
  check(*opened(write_lime({{0x1000, Buffer(2 * page, 'x')}, {0x9000, Buffer(page, 'y')}})).memory);
  check(*opened(Buffer(5 * page, 'r'), "raw").memory, 5 * page);
}

TEST_CASE("a memory that can only be tried stores what can be read of it", "[property]") {
  FakeMemory memory;
  memory.ram(0, 16 * page).ram(0x20000, 4 * page);
  memory.put({0x3000}, "x");
  memory.exclude({0x3000});
  memory.put({0x5000}, "x");
  memory.lose({0x5000});
  check(memory);
}
