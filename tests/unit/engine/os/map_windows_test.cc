// Kernels whose image no page table shows: in a window that needs none (MIPS), or in locked entries of the TLB (SPARC).
#include <catch2/catch.hpp>

#include "engine/os/linux/map.h"
#include "tests/support/fake_memory.h"
#include "tests/support/fake_symbols.h"

using namespace kvm;
using kvm::testing::FakeMemory;
using kvm::testing::FakeSymbols;

namespace {

// An image in memory from `image` on, as it was linked: banner at +0x2000, root table at +0x4000.
struct Machine {
  const arch::Arch& arch;
  std::uint64_t text;  // link address
  FakeMemory memory;
  FakeSymbols symbols;

  Machine(std::string_view name, std::uint64_t linked, std::uint64_t ram) : arch(*arch::find(name)), text(linked) {
    memory.ram(ram, 64 << 20);
    symbols.add("_text", {text});
    symbols.add("linux_banner", {text + 0x2000});
    symbols.add("swapper_pg_dir", {text + 0x4000}, 0x2000);
    symbols.add("_end", {text + 0x100000});
  }
  void put(std::uint64_t at, std::uint64_t value) { memory.put_number({at}, value, 8, arch.entry_order); }
  void put_banner(std::uint64_t image) { memory.put({image + 0x2000}, std::string_view("Linux version 6.1.0-fake (somebody) #1\n\0", 40)); }

  Result<KernelMap> map() const {
    Dump dump;
    dump.arch = &arch;
    dump.memory = std::make_unique<FakeMemory>(memory);
    return os_linux::map_kernel({dump, arch, &symbols, {}, {}});
  }
  std::uint64_t phys(const KernelMap& map, std::uint64_t virt) const {
    return AddressSpace(memory, map.mappings).translate({virt}).value_or(PhysAddr{~0ull}).raw;
  }
};

// Malta's kernel is linked at 0xffffffff80100000 in CKSEG0, and moves itself; what it moved away from stays in memory.
Machine mips(std::uint64_t image) {
  Machine machine("mips64el", 0xffffffff80100000, 0);
  machine.put_banner(0x100000);
  machine.put_banner(image);
  machine.symbols.add("invalid_pmd_table", {machine.text + 0x6000}, 0x1000);
  machine.symbols.add("invalid_pte_table", {machine.text + 0x7000}, 0x1000);
  const std::uint64_t window = 0xffffffff80000000;
  for (std::uint64_t i = 0; i < 1024; ++i) machine.put(image + 0x4000 + 8 * i, window + image + 0x6000);
  for (std::uint64_t i = 0; i < 512; ++i) machine.put(image + 0x8000 + 8 * i, window + image + 0x7000);
  machine.put(image + 0x4000, 0x9800000000000000 + image + 0x8000);  // PGD[0] -> PMD
  machine.put(image + 0x8000, 0x9800000000000000 + image + 0x9000);  // PMD[0] -> PTEs
  machine.put(image + 0x9020, 0x48d1f0f);                            // PTE[4]: 0x1234000; P W A M G V D C=3
  return machine;
}

}  // namespace

TEST_CASE("a MIPS kernel that moved itself", "[linux][map]") {
  for (const std::uint64_t image : {0x100000u, 0x500000u}) {
    const Machine machine = mips(image);
    const auto map = machine.map();
    REQUIRE(map);
    CHECK(map->mode == "4k-40");
    CHECK(map->slide == image - 0x100000);
    CHECK(map->release == "6.1.0-fake");
    CHECK(machine.phys(*map, 0xffffffff80000000 + image + 0x2000) == image + 0x2000);
    CHECK(machine.phys(*map, 0x9800000000001000) == 0x1000);
    CHECK(machine.phys(*map, 0xc000000000004abc) == 0x1234abc);
    // Empty entries are holes of their own size, although a table lies behind each.
    const AddressSpace space(machine.memory, map->mappings);
    const auto hole = space.extent_at({0xc000000040000000});
    REQUIRE(hole);
    CHECK(!hole->phys);
    CHECK(hole->last.raw == 0xc00000007fffffff);
  }
}

TEST_CASE("a MIPS kernel whose tables are of another shape, or lead elsewhere, is none", "[linux][map]") {
  Machine machine = mips(0x500000);
  for (std::uint64_t i = 0; i < 1024; ++i) machine.put(0x504000 + 8 * i, 0xffffffff80106000);  // leads to the place it moved from
  CHECK(!machine.map());
}

TEST_CASE("a SPARC kernel in locked entries", "[linux][map]") {
  // The linear map's entry for the first 8 GiB: V and huge, sizes, CP CV P W, as sun4v and sun4u have them.
  for (const auto& [mode, linear] : {std::pair{"sun4v", 0x8100000000000746ull}, std::pair{"sun4u", 0xe100000000000036ull}}) {
    INFO(mode);
    Machine machine("sparc64", 0x400000, 0x40000000);
    const std::uint64_t image = 0x40c00000;
    machine.put_banner(image);
    machine.symbols.add("PAGE_OFFSET", {machine.text + 0x8000}, 8);
    machine.put(image + 0x8000, 0xfffff80000000000);
    machine.put(image + 0x4000 + 8 * 1023, image + 0x10000);  // PGD[1023] -> PUD
    machine.put(image + 0x10000, linear);
    const auto map = machine.map();
    REQUIRE(map);
    CHECK(map->mode == mode);
    CHECK(map->slide == 0);
    CHECK(map->phys_base == image);
    CHECK(machine.phys(*map, 0x402000) == image + 0x2000);
    CHECK(machine.phys(*map, 0xfffff80040123456) == 0x40123456);
    CHECK(machine.phys(*map, 0x100000000) == ~0ull);
    // Without the linear map nothing tells that these are the tables.
    machine.put(image + 0x10000, 0);
    CHECK(!machine.map());
  }
}
