// Ways to the page tables on processors whose roots and tables tell their kind themselves.
#include "engine/os/linux/anchor.h"

#include <catch2/catch.hpp>

#include "engine/os/linux/map.h"
#include "tests/support/fake_memory.h"
#include "tests/support/fake_symbols.h"

using namespace kvm;
using kvm::testing::FakeMemory;
using kvm::testing::FakeSymbols;

namespace {

struct Machine {
  explicit Machine(std::string_view name) : arch(*arch::find(name)) { memory.ram(0, 0x100000); }
  void entry(std::uint64_t at, std::uint64_t value) { memory.put_number({at}, value, 8, std::endian::big); }
  void variable(const std::string& name, std::uint64_t virt, std::uint64_t phys, std::uint64_t value) {
    symbols.add(name, {virt}, 8);
    memory.put_number({phys}, value, 8, arch.endian);
  }
  Result<KernelMap> map(std::string vmcoreinfo = {}) {
    dump.memory = std::make_unique<FakeMemory>(memory);
    dump.vmcoreinfo = std::move(vmcoreinfo);
    return os_linux::map_kernel({dump, arch, &symbols, {}, {}});
  }

  const arch::Arch& arch;
  FakeMemory memory;
  FakeSymbols symbols;
  Dump dump;
};

std::optional<std::uint64_t> phys(const Machine& machine, const KernelMap& map, std::uint64_t virt) {
  auto at = AddressSpace(*machine.dump.memory, map.mappings).translate({virt});
  return at ? std::optional(at->raw) : std::nullopt;
}

// A Power kernel at physical 0, whose tables have index bits of these sizes, smallest page first.
void power_kernel(Machine& machine, const std::array<unsigned, 4>& index_bits) {
  constexpr std::uint64_t linear = 0xc000000000000000;
  machine.memory.put({0x8000}, std::string_view("Linux version 6.1.0-power (me)"));
  machine.symbols.add("_text", {linear});
  machine.symbols.add("_end", {linear + 0x40000});
  machine.symbols.add("linux_banner", {linear + 0x8000});
  machine.symbols.add("swapper_pg_dir", {linear + 0x30000});
  const char* names[] = {"__pte_index_size", "__pmd_index_size", "__pud_index_size", "__pgd_index_size"};
  for (std::uint64_t i = 0; i < 4; ++i) machine.variable(names[i], linear + 0x9000 + 8 * i, 0x9000 + 8 * i, index_bits[i]);
}

}  // namespace

// arch/s390/boot/startup.c since v6.10: the image anywhere in virtual and in physical memory; KERNELOFFSET is its address.
TEST_CASE("s390: the image's place by VMCOREINFO, the levels by the root's first entry", "[linux][map]") {
  Machine machine("s390x");
  machine.symbols.add("_stext", {0x100000});
  for (std::uint64_t at = 0x30000; at < 0x34000; at += 8) machine.entry(at, 0x24);  // invalid, of a region-third table
  machine.entry(0x33ff8, 0x34007);                                                  // RTX 2047 -> segment table
  for (std::uint64_t at = 0x34000; at < 0x38000; at += 8) machine.entry(at, 0x20);
  machine.entry(0x37000, 0x38000);                                                  // SX 1536 -> page table
  machine.entry(0x38000, 0x20215);                                                  // PX 0: the image's first page
  const auto map = machine.map("OSRELEASE=6.12.0-s390\nPAGESIZE=4096\nSYMBOL(swapper_pg_dir)=3ffe0010000\nSYMBOL(_stext)=3ffe0000000\n"
                               "KERNELOFFSET=3ffe0000000\nKERNELOFFPHYS=20000\n");
  REQUIRE(map);
  CHECK(map->mode == "3-level");
  CHECK(map->slide == 0x3ffe0000000 - 0x100000);
  CHECK(phys(machine, *map, 0x3ffe0000010) == 0x20010u);
  const auto lowcore = AddressSpace(*machine.dump.memory, map->mappings).extent_at({0x1ff8});  // every CPU's own
  REQUIRE(lowcore);
  CHECK(!lowcore->phys);
  CHECK(lowcore->last.raw == 0x1fff);
}

TEST_CASE("Power: the kernel's own variables tell the shape of its tables", "[linux][map]") {
  for (const auto& [bits, mode] : {std::pair{std::array{8u, 10u, 10u, 8u}, "hash-64k"}, std::pair{std::array{8u, 10u, 7u, 8u}, "hash-64k-49"},
                                   std::pair{std::array{9u, 7u, 9u, 9u}, "hash-4k"}}) {
    Machine machine("ppc64le");
    power_kernel(machine, bits);
    const auto map = machine.map();
    REQUIRE(map);
    CHECK(map->mode == mode);
    CHECK(map->release == "6.1.0-power");
    CHECK(phys(machine, *map, 0xc000000000001234) == 0x1234u);  // the linear map, without tables
    CHECK(!phys(machine, *map, 0x1234));                        // a process's half
  }
  Machine machine("ppc64le");
  power_kernel(machine, {5, 9, 9, 13});
  const auto map = machine.map();  // radix tables that do not have the image are not believed
  CHECK((!map || map->mode != "radix-64k"));
  machine.entry(0x30000, 0x8000000000040009);  // PGD 0
  machine.entry(0x40000, 0xc00000000000018e);  // PUD 0: 1 GiB at 0
  const auto radix = machine.map();
  REQUIRE(radix);
  CHECK(radix->mode == "radix-64k");
  CHECK(phys(machine, *radix, 0xc000000000001234) == 0x1234u);
  CHECK(!phys(machine, *radix, 0x1234));
}

// arch/arm64/kernel/vmlinux.lds.S: _text at KIMAGE_VADDR, which is MODULES_END; behind the head, a segment's alignment on, _stext.
TEST_CASE("arm64: where the image begins, of a kernel that does not name _text", "[linux][map]") {
  Machine machine("aarch64");
  machine.memory.ram(0x40000000, 64 << 20);
  const auto entry = [&](std::uint64_t at, std::uint64_t value) { machine.memory.put_number({at}, value, 8, std::endian::little); };
  entry(0x42000000 + 8 * 256, 0x42001003);  // PGD -> PUD
  entry(0x42001000, 0x42002003);            // PUD -> PMD
  entry(0x42002000 + 8 * 0x9f, 0x40000041000711);  // 2 MiB from 0x41000000, UXN, AF
  const std::string text = "OSRELEASE=6.1.0-arm\nPAGESIZE=4096\nSYMBOL(swapper_pg_dir)=ffff800014e00000\nSYMBOL(_stext)=ffff800013e00000\n"
                           "NUMBER(VA_BITS)=48\nNUMBER(kimage_voffset)=0xffff7fffd2e00000\n";
  for (const std::string more : {"NUMBER(MODULES_END)=0xffff800010000000\nKERNELOFFSET=3df0000\n", "KERNELOFFSET=3df0000\n", ""}) {
    const auto map = machine.map(text + more);
    REQUIRE(map);
    CHECK(map->mode == "4k-48");
    REQUIRE(map->first);
    CHECK(map->first->raw == 0xffff800013df0000);
    CHECK(map->phys_base == 0x40ff0000);
    CHECK(phys(machine, *map, 0xffff800013e01234) == 0x41001234u);
  }
}
