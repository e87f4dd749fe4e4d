// Three ways to the same bytes: one read, a read per byte, and translation followed by a read of physical memory.
#include <catch2/catch.hpp>

#include <random>

#include "engine/space.h"
#include "tests/support/page_tables.h"

using namespace kvm;
using kvm::testing::FakeMemory;
using kvm::testing::X86Tables;

namespace {

struct Outcome {
  std::vector<std::uint8_t> bytes;
  std::optional<Errc> error;  // of the byte after them
  friend bool operator==(const Outcome&, const Outcome&) = default;
};

// A short read does not say why; the next byte does.
Outcome at_once(const AddressSpace& space, VirtAddr at, std::size_t size) {
  Outcome out{std::vector<std::uint8_t>(size), {}};
  auto got = space.read(at, out.bytes);
  out.bytes.resize(got.value_or(0));
  if (!got) out.error = got.error().code;
  if (!got || *got == size) return out;
  std::uint8_t next[1];
  auto after = space.read(at + *got, next);
  REQUIRE(!after);
  out.error = after.error().code;
  return out;
}

Outcome byte_by_byte(const AddressSpace& space, VirtAddr at, std::size_t size) {
  Outcome out;
  for (std::size_t i = 0; i < size; ++i) {
    std::uint8_t byte[1];
    auto got = space.read(at + i, byte);
    if (!got) {
      CHECK(got.error().addr == (at + i).raw);
      out.error = got.error().code;
      return out;
    }
    out.bytes.push_back(byte[0]);
  }
  return out;
}

Outcome by_translation(const AddressSpace& space, VirtAddr at, std::size_t size) {
  Outcome out;
  for (std::size_t i = 0; i < size; ++i) {
    std::uint8_t byte[1];
    auto phys = space.translate(at + i);
    auto got = phys ? space.memory().read(*phys, byte) : tl::unexpected(phys.error());
    if (!got) {
      out.error = got.error().code;
      return out;
    }
    out.bytes.push_back(byte[0]);
  }
  return out;
}

}  // namespace

TEST_CASE("read equals byte-wise read equals translation", "[property][space]") {
  constexpr std::uint64_t window = 0x400000, pages = 64, ram = 0x100000;
  for (std::uint64_t seed = 0; seed < 4; ++seed) {
    std::mt19937_64 random(seed);
    INFO("seed " << seed);
    FakeMemory memory;
    for (std::uint64_t at = 0; at < 0x40000; at += 8) memory.put_number({ram + at}, random());
    for (int i = 0; i < 4; ++i) memory.exclude({ram + (random() & 0x3f) * 0x1000});
    for (int i = 0; i < 4; ++i) memory.lose({ram + (random() & 0x3f) * 0x1000});
    X86Tables tables(memory, {0x1000}, 4, {0x2000});
    for (std::uint64_t page = 0; page < pages; ++page)
      if (random() % 8) tables.map({window + page * 0x1000}, {ram + (random() & 0x3f) * 0x1000}, 0x1000);
    tables.map({0x600000}, {0x0}, 0x200000);  // a large page over all of it
    tables.map({0x800000}, {ram}, 0x1000);
    memory.lose({tables.entry_at({0x800000}, 1).raw & ~0xfffull});  // and a window whose table is lost
    const PageTable table{&arch::find("x86_64")->paging[0], {0x1000}, {0x1000}, 0, std::endian::little};
    std::vector<Mapping> mappings{{{0}, {~0ull}, table, "page tables"}};
    if (seed & 1) mappings.push_back({{0x800000}, {0x81ffff}, Linear{{ram}}, "stand-in"});
    const AddressSpace space(memory, mappings);

    for (int i = 0; i < 40; ++i) {
      const VirtAddr base{i % 4 == 0 ? 0x600000 + ram : i % 4 == 1 ? 0x800000 : window};
      const VirtAddr at = base + random() % (pages * 0x1000);
      const std::size_t size = 1 + random() % (i % 8 ? 200 : 9000);
      INFO(std::hex << at.raw << " " << size);
      const Outcome whole = at_once(space, at, size);
      CHECK(whole == byte_by_byte(space, at, size));
      CHECK(whole == by_translation(space, at, size));
    }
  }
}
