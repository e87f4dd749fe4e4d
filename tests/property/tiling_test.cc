// Extents tile the address space: from 0 on, each begins where the one before it ended, and every address inside an
// extent is answered with that same extent.
#include <catch2/catch.hpp>

#include <algorithm>
#include <bit>
#include <random>

#include "tests/support/page_tables.h"
#include "tests/support/tiling.h"
#include "tests/support/walk_file.h"

using namespace kvm;
using kvm::testing::FakeMemory;
using kvm::testing::same;
using kvm::testing::tiling_problem;
using kvm::testing::X86Tables;

namespace {

constexpr VirtAddr top = kvm::testing::top_address;

PageTable table_at(const arch::PagingMode& mode, std::uint64_t root) { return {&mode, {root}, {root}, 0, std::endian::little}; }

// A few random pages of every size, gathered so that tables are shared and pages are neighbours.
void fill(X86Tables& tables, std::mt19937_64& random, unsigned va_bits) {
  for (int i = 0; i < 24; ++i) {
    std::uint64_t address = (random() & 3) << 39 | (random() & 3) << 30 | (random() & 7) << 21 | (random() & 7) << 12;
    if (random() & 1) address |= ~0ull << (va_bits - 1);  // the upper half
    const std::uint64_t size = i % 3 == 0 ? 0x1000 : i % 3 == 1 ? 0x200000 : 0x40000000;
    // A large page over a table of smaller ones, and the reverse: whatever comes last holds.
    if (size == 0x1000 || random() % 4 == 0) tables.map({address & ~(size - 1)}, {(random() & 0xffff) * size}, size, random() & 0x8000000000000067);
  }
}

// Tables of any mode: each has a few entries that lead on or are pages, with random attributes; the others are empty.
class AnyTables {
 public:
  AnyTables(FakeMemory& memory, const arch::Arch& arch, const arch::PagingMode& mode, std::mt19937_64& random)
      : memory_(memory), order_(arch.entry_order), mode_(mode), random_(random) {}

  std::uint64_t make(std::size_t depth = 0) {
    const arch::Level& level = mode_.levels[depth];
    const std::uint64_t entries = 1ull << level.bits, size = std::bit_ceil(std::max<std::uint64_t>(entries * mode_.entry_bytes, 0x10000));
    const std::uint64_t at = next_ = (next_ + size - 1) & ~(size - 1);
    next_ += size;
    // The bits that make an entry valid, turned round.
    for (std::uint64_t i = 0; i < entries; ++i) put(at, i, level.valid.value ^ level.valid.mask);
    const bool pages_only = depth + 1 == mode_.levels.size(), tables_only = !pages_only && level.table.mask == 0;
    for (int i = 0; i < 4; ++i)
      if (i & 1 || !tables_only) put(at, random_() % entries, pages_only || (i & 1 && !tables_only) ? page(level) : table(level, depth));
    return at;
  }

 private:
  void put(std::uint64_t table, std::uint64_t index, std::uint64_t entry) {
    memory_.put_number({table + index * mode_.entry_bytes}, entry, mode_.entry_bytes, order_);
  }
  std::uint64_t page(const arch::Level& level) {
    for (;;) {
      const std::uint64_t random = random_() & ~level.valid.mask;
      // Without the bits that make it a table: those turned round that tell one.
      const std::uint64_t entry = ((random & ~level.table.mask) | (level.table.value ^ level.table.mask) & ~level.valid.mask) | level.valid.value;
      // Pages of several entries that must be alike: tiling_modes_test.cc.
      if (!mode_.page_shift || mode_.page_shift(entry, level) == level.shift) return entry;
    }
  }
  std::uint64_t table(const arch::Level& level, std::size_t depth) {
    const std::uint64_t next = make(depth + 1), kept = level.valid.mask | level.table.mask;
    const std::uint64_t low = random_() & 0xff & ~kept, tells = level.valid.value | level.table.value;
    return mode_.frame ? next | low | tells : (next >> mode_.frame_shift & mode_.frame_mask) | (low & ~mode_.frame_mask) | tells;
  }

  FakeMemory& memory_;
  std::endian order_;
  const arch::PagingMode& mode_;
  std::mt19937_64& random_;
  std::uint64_t next_ = 0x10000;
};

}  // namespace

TEST_CASE("extents tile the address space of random page tables", "[property][space]") {
  for (std::uint64_t seed = 0; seed < 6; ++seed) {
    std::mt19937_64 random(seed);
    INFO("seed " << seed);
    const bool five = seed & 1;
    const arch::PagingMode& mode = arch::find("x86_64")->paging[five];
    FakeMemory memory;
    X86Tables tables(memory, {0x1000}, five ? 5 : 4, {0x2000});
    fill(tables, random, mode.va_bits);
    memory.ram(0, 1ull << 40);  // pages taken for tables read as empty ones
    CHECK(tiling_problem(AddressSpace(memory, {{{0}, top, table_at(mode, 0x1000), "page tables"}}), random) == "");
  }
}

TEST_CASE("extents tile with every paging mode of every processor", "[property][space]") {
  for (const arch::Arch* arch : arch::arches())
    for (const arch::PagingMode& mode : arch->paging) {
      INFO(arch->name << " " << mode.name);
      std::mt19937_64 random(mode.va_bits);
      FakeMemory memory;
      memory.ram(0, 1ull << 40);
      const PhysAddr low{AnyTables(memory, *arch, mode, random).make()};
      const PageTable table{&mode, low, low, 0, arch->entry_order};
      CHECK(tiling_problem(AddressSpace(memory, {{{0}, top, table, "page tables"}}), random) == "");
    }
}

TEST_CASE("extents tile when mappings overlap and others stand in for missing tables", "[property][space]") {
  for (std::uint64_t seed = 0; seed < 6; ++seed) {
    std::mt19937_64 random(seed);
    INFO("seed " << seed);
    const arch::PagingMode& mode = arch::find("x86_64")->paging[0];
    FakeMemory memory;
    X86Tables first(memory, {0x1000}, 4, {0x2000});
    fill(first, random, 48);
    X86Tables second(memory, {0x100000}, 4, {0x101000});
    fill(second, random, 48);
    // Page tables of the last level are missing, so that what stands in does so for 2 MiB at most.
    for (int i = 0; i < 3; ++i) {
      const VirtAddr lost{(random() & 3) << 39 | (random() & 3) << 30 | (random() & 7) << 21};
      first.map(lost, {0}, 0x1000);
      const std::uint64_t table = first.entry_at(lost, 1).raw & ~0xfffull;
      if (table > 0x2000 && table < first.spare().raw) memory.exclude({table});
    }
    memory.ram(0, 1ull << 40);
    std::vector<Mapping> mappings{{{0x40000000}, {0x40000000 + (random() & 0xfffff)}, Linear{{0x7000}}, "a window"},
                                  {{0}, top, table_at(mode, 0x1000), "page tables"},
                                  {{random() & 0xfffff000}, {0x7fffffffffff}, table_at(mode, 0x100000), "other tables"},
                                  {{0x1000}, {0xffffffffff}, Linear{{0x5000}}, "stand-in"},
                                  {{0}, top, Linear{{0}}, "identity"}};
    CHECK(tiling_problem(AddressSpace(memory, mappings), random) == "");
  }
}

TEST_CASE("windows of linear mappings tile with the holes between them", "[property][space]") {
  FakeMemory memory;
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    std::mt19937_64 random(seed);
    INFO("seed " << seed);
    std::vector<Mapping> mappings;
    for (int i = 0; i < 12; ++i) {
      const std::uint64_t a = random() >> (random() % 64), b = random() >> (random() % 64);
      mappings.push_back({{std::min(a, b)}, {std::max(a, b)}, Linear{{random()}}, ""});
    }
    CHECK(tiling_problem(AddressSpace(memory, mappings), random) == "");
  }
}

namespace {

// Every mode of every processor, with the tables of its golden walks: bits that mean something there.
void for_each_mode(auto check) {
  for (const arch::Arch* arch : arch::arches())
    for (auto& golden : kvm::testing::read_walk_file(std::string(TEST_DATA) + "/golden/walks/" + std::string(arch->name) + ".txt"))
      for (const arch::PagingMode& mode : arch->paging)
        if (mode.name == golden.mode && !golden.entries.empty() && !golden.checks.empty()) {
          INFO(arch->name << " " << mode.name);
          check(PageTable{&mode, golden.low, golden.high, golden.clear, golden.order, golden.empty}, golden);
        }
}

// As the kernel's map is made: windows, tables, and something that stands in for missing ones.
std::vector<Mapping> mappings_with(const PageTable& table) {
  std::vector<Mapping> mappings;
  for (const arch::Window& window : table.mode->windows) mappings.push_back({{window.first}, {window.last}, Linear{{window.phys}}, "window"});
  mappings.push_back({{0}, top, table, "page tables"});
  mappings.push_back({{0}, top, Linear{{0}}, "identity"});
  return mappings;
}

// Addresses where something is: near those that the golden file asks for, at the edges of everything, and anywhere.
VirtAddr some_address(const kvm::testing::WalkCase& golden, std::mt19937_64& random) {
  const std::uint64_t any = random();
  if (any % 4 == 0) return {random()};
  if (any % 4 == 1) return {random() % 2 ? ~0ull >> random() % 64 : ~0ull << random() % 64};
  const std::uint64_t near = golden.checks[random() % golden.checks.size()].virt.raw;
  return {near ^ (random() & ~0ull >> (64 - random() % 40 - 1))};
}

// What is wrong with the extent at an address and with its neighbours.
std::string neighbour_problem(const AddressSpace& space, VirtAddr at) {
  const auto extent = space.extent_at(at);
  if (!extent) return to_string(extent.error());
  if (extent->first > at || extent->last < at) return "the extent is elsewhere";
  if (!same(space.extent_at(extent->first), *extent) || !same(space.extent_at(extent->last), *extent)) return "not one extent";
  if (extent->last != top) {
    const auto next = space.extent_at(extent->last + 1);
    if (!next || next->first != extent->last + 1) return "the next one does not begin behind it";
  }
  if (extent->first.raw) {
    const auto before = space.extent_at(extent->first - 1);
    if (!before || before->last != extent->first - 1) return "the one before does not end before it";
  }
  return {};
}

}  // namespace

TEST_CASE("extents tile in every paging mode", "[property][space]") {
  std::mt19937_64 random(1);
  for_each_mode([&](const PageTable& table, kvm::testing::WalkCase& golden) {
    if (table.mode->page_shift) return;  // a page of several entries is typed only once
    const AddressSpace space(golden.memory, mappings_with(table));
    for (int i = 0; i < 1000; ++i) {
      const VirtAddr at = some_address(golden, random);
      if (const std::string problem = neighbour_problem(space, at); !problem.empty()) FAIL_CHECK("at " << std::hex << at.raw << ": " << problem);
    }
  });
}

TEST_CASE("page tables of garbage and loops end in bounded time", "[property][space]") {
  std::mt19937_64 random(1);
  for_each_mode([&](const PageTable& table, kvm::testing::WalkCase& golden) {
    // Where the tables were, now a third of all entries is any bits, and a third leads somewhere among the tables, roots included.
    constexpr std::uint64_t size = 0x40000;
    golden.memory.ram(0, size);
    for (std::uint64_t at = 0; at < size; at += golden.entry_bytes) {
      const std::uint64_t known = golden.entries[random() % golden.entries.size()].second;
      const std::uint64_t looping = known ^ (random() & 0x3f000) * (random() & 1);
      golden.memory.put_number({at}, random() % 3 == 0 ? random() : random() % 2 ? looping : 0, golden.entry_bytes, golden.order);
    }
    const AddressSpace space(golden.memory, mappings_with(table));
    for (int i = 0; i < 2000; ++i) {
      const VirtAddr at = some_address(golden, random);
      std::vector<WalkStep> trace;
      (void)walk(golden.memory, table, at, &trace);
      const auto extent = space.extent_at(at);
      const bool bounded = trace.size() <= table.mode->levels.size();
      const bool sane = extent && extent->first <= at && at <= extent->last;
      if (!bounded || !sane) FAIL_CHECK("at " << std::hex << at.raw);
    }
  });
}
