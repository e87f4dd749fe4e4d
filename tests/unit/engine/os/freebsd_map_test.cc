// Finding a FreeBSD kernel in a full dump: by its header, by symbols, and by looking for it.
#include "engine/os/freebsd/map.h"

#include "tests/support/fake_memory.h"
#include "tests/support/fake_symbols.h"
#include "tests/support/freebsd_writer.h"
#include "tests/support/page_tables.h"
#include "tests/unit/engine/dump/reading.h"

using namespace kvm;
using namespace kvm::testing;

namespace {

Dump dump_of(FakeMemory memory) {
  Dump dump;
  dump.system = "ELF standalone";
  dump.memory = std::make_unique<FakeMemory>(std::move(memory));
  return dump;
}

OsInput input_of(const Dump& dump, std::string_view arch, const Symbols& symbols) { return {dump, *arch::find(arch), &symbols, {}, {}}; }

// What is mapped at `virt`, if anything.
std::optional<std::uint64_t> translated(const Dump& dump, const KernelMap& map, std::uint64_t virt) {
  const auto phys = AddressSpace(*dump.memory, map.mappings).translate({virt});
  return phys ? std::optional(phys->raw) : std::nullopt;
}

// An amd64 kernel linked at 0xffffffff80200000 whose image lies at `place` + 2 MiB.
struct Amd64 {
  Amd64(std::uint64_t place, unsigned levels) {
    memory.ram(0x100000, 0x8000000);
    X86Tables tables(memory, {0x700000}, levels, {0x701000});
    for (std::uint64_t at = 0x200000; at < 0x800000; at += 0x200000) tables.map({0xffffffff80000000 + at}, {place + at}, 0x200000);
    tables.map({0xfffffe0000001000}, {0x123000}, 0x1000);
    memory.put_number({place + 0x301000}, levels == 4 ? 0x700000 : 0);
    symbols.add("kernbase", {0xffffffff80000000});
    symbols.add("KPML4phys", {0xffffffff80301000});
    if (levels == 5) {
      symbols.add("KPML5phys", {0xffffffff80301008});
      memory.put_number({place + 0x301008}, 0x700000);
    }
  }
  FakeMemory memory;
  FakeSymbols symbols;
};

}  // namespace

TEST_CASE("an amd64 kernel lies at its base, where the header says, or where it is found", "[freebsd][map]") {
  for (const unsigned levels : {4u, 5u})
    for (const std::uint64_t place : {0ull, 0x3e00000ull})
      for (const bool header : {false, true}) {
        Amd64 kernel(place, levels);
        Dump dump = dump_of(kernel.memory);
        if (header) dump.image = SegmentHint{{0xffffffff80200000}, {place + 0x200000}, 0};
        const OsInput input = input_of(dump, "x86_64", kernel.symbols);
        CHECK(os_freebsd::is_freebsd(input));
        const auto map = os_freebsd::map_kernel(input);
        INFO((map ? map->source : to_string(map.error())));
        REQUIRE(map);
        CHECK(map->mode == (levels == 4 ? "4-level" : "5-level"));
        CHECK(map->source == (levels == 4 ? "KPML4phys" : "KPML5phys"));
        CHECK(map->phys_base == place);
        CHECK(map->slide == 0);
        CHECK(translated(dump, *map, 0xffffffff80301008) == place + 0x301008);
        CHECK(translated(dump, *map, 0xfffffe0000001010) == 0x123010);
        CHECK(translated(dump, *map, 0xfffffe0000002000) == std::nullopt);
      }
}

TEST_CASE("a kernel of another build is not believed", "[freebsd][map]") {
  Amd64 kernel(0, 4);
  kernel.symbols.add("KPML4phys", {0xffffffff80301800});
  const Dump dump = dump_of(kernel.memory);
  const auto map = os_freebsd::map_kernel(input_of(dump, "x86_64", kernel.symbols));
  REQUIRE_FALSE(map);
  CHECK(to_string(map.error()).find("is the file of another build?") != std::string::npos);
  const auto nameless = os_freebsd::map_kernel({dump, *arch::find("x86_64"), nullptr, {}, {}});
  REQUIRE_FALSE(nameless);
  CHECK(to_string(nameless.error()).find("name the kernel file after the dump") != std::string::npos);
}

TEST_CASE("i386 kernels, with PAE and without, at their base and where addresses are equal", "[freebsd][map]") {
  for (const bool pae : {false, true})
    for (const std::uint64_t base : {0xc0000000ull, 0x800000ull}) {
      // Since 12.0 the kernel lies at equal addresses below the user's.
      const std::uint64_t distance = base == 0xc0000000 ? base : 0, virt = base + 0x400000, phys = virt - distance;
      FakeMemory memory;
      memory.ram(0, 0x8000000);
      if (pae) {
        for (std::uint64_t i = 0; i < 4; ++i) memory.put_number({0x7000 + 8 * i}, 0x8000 + 0x1000 * i | 0x1, 8);
        memory.put_number({0x8000 + (virt >> 30) * 0x1000 + (virt >> 21 & 511) * 8}, (phys & ~0x1fffffull) | 0x83, 8);
      } else {
        memory.put_number({0x7000 + (virt >> 22) * 4}, (phys & ~0x3fffffull) | 0x83, 4);
      }
      FakeSymbols symbols;
      symbols.add("kernbase", {base});
      symbols.add("IdlePDPT", {virt + 0x100});  // the kernel has both, and uses one
      symbols.add("IdlePTD_nopae", {virt + 0x104});
      memory.put_number({phys + (pae ? 0x100 : 0x104)}, 0x7000, 4);
      const Dump dump = dump_of(memory);
      const auto map = os_freebsd::map_kernel(input_of(dump, "i386", symbols));
      INFO((map ? map->source : to_string(map.error())));
      REQUIRE(map);
      CHECK(map->mode == (pae ? "pae" : "2-level"));
      CHECK(translated(dump, *map, virt + 0x10000) == phys + 0x10000);
      CHECK(translated(dump, *map, virt + 0x10000000) == std::nullopt);
    }
}

TEST_CASE("an arm64 kernel's root table is a symbol, and its place is looked for", "[freebsd][map]") {
  FakeMemory memory;
  memory.ram(0x40000000, 0x10000000);
  const std::uint64_t place = 0x44200000;
  // Linked at 0xffff000000000000: the tables of all levels follow each other in the image; one block of 2 MiB.
  memory.put_number({place + 0x3000 + 0}, (place + 0x4000) | 0x3);
  memory.put_number({place + 0x4000 + 0}, (place + 0x5000) | 0x3);
  memory.put_number({place + 0x5000 + 0}, place | 0x701);
  FakeSymbols symbols;
  symbols.add("kernbase", {0xffff000000000000});
  symbols.add("pagetable_l0_ttbr1", {0xffff000000003000});
  const Dump dump = dump_of(memory);
  const auto map = os_freebsd::map_kernel(input_of(dump, "aarch64", symbols));
  REQUIRE(map);
  CHECK(map->mode == "4k-48");
  CHECK(map->phys_base == place);
  CHECK(translated(dump, *map, 0xffff000000001234) == place + 0x1234);
  CHECK(translated(dump, *map, 0x1234) == std::nullopt);  // the lower half is not the kernel's
}

TEST_CASE("full dumps as kernels write them", "[freebsd][elf]") {
  FullDumpSpec spec;
  spec.memory = {{0x1000, join(page_of(1), page_of(2))}, {0x100000, page_of(3)}};
  spec.delta_virt = 0xffffffff80000000;
  spec.delta_phys = 0x3e00000;
  const Dump dump = opened(write_full_dump(spec));
  CHECK(dump.system == "ELF standalone");
  CHECK(dump.kernel_map.empty());
  REQUIRE(dump.image);
  CHECK(dump.image->virt.raw == 0xffffffff80000000);
  CHECK(dump.image->phys.raw == 0x3e00000);
  CHECK(bytes_at(dump, 0x2000) == page_of(2));
  CHECK(bytes_at(dump, 0x100000) == page_of(3));
  CHECK(error_at(dump, 0x3000) == Errc::not_in_dump);
  KernelDumpHeaderSpec header;
  header.length = header.extent = write_full_dump(spec).size();
  CHECK(bytes_at(opened(join(kernel_dump_header(header), write_full_dump(spec))), 0x100000) == page_of(3));
}

TEST_CASE("Power's full dumps may hold virtual addresses alone", "[freebsd][elf]") {
  for (const int bits : {32, 64}) {
    FullDumpSpec spec;
    spec.bits = bits;
    spec.big_endian = true;
    spec.machine = bits == 32 ? 20 : 21;
    spec.is_virtual = true;
    const std::uint64_t base = bits == 32 ? 0xd0000000 : 0xe000000000000000;
    spec.memory = {{base, page_of(1)}, {base + 0x5000, page_of(2)}};
    const Dump dump = opened(write_full_dump(spec));
    CHECK(has_remark(dump, "memory is stored by virtual address"));
    const AddressSpace space(*dump.memory, dump.kernel_map);
    Buffer out(4096);
    REQUIRE(space.read({base + 0x5000}, out) == 4096);
    CHECK(out == page_of(2));
    CHECK(space.read({base + 0x1000}, out).error().code == Errc::not_mapped);
  }
}

TEST_CASE("an arm kernel's root is in a variable, and its physical base a symbol or in the header", "[freebsd][map]") {
  for (const bool header : {false, true}) {
    FakeMemory memory;
    memory.ram(0x10000000, 0x4000000);
    // Linked at 0xc0000000, at 0x10000000: a section of 1 MiB, and a table with a large and a small page.
    memory.put_number({0x10004000 + 0xc00 * 4}, 0x10000000 | 0xc0e, 4);
    memory.put_number({0x10004000 + 0xc01 * 4}, 0x10008400 | 0x1, 4);
    for (std::uint64_t i = 0; i < 16; ++i) memory.put_number({0x10008400 + i * 4}, 0x10120001, 4);
    memory.put_number({0x10008400 + 16 * 4}, 0x10133002, 4);
    // Linux would keep a page of its own behind the empty entry that follows.
    memory.put_number({0x10008400 + 17 * 4 - 2048}, 0x10150001 | 0x3, 4);
    memory.put_number({0x10020010}, 0x10004000 | 0x4a, 4);  // with attributes
    FakeSymbols symbols;
    symbols.add("kernel_l1pa", {0xc0020010});
    symbols.add("kernbase", {0xc0000000});
    if (!header) symbols.add("physaddr", {0x10000000});
    Dump dump = dump_of(memory);
    if (header) dump.image = SegmentHint{{0xc0000000}, {0x10000000}, 0};
    const auto map = os_freebsd::map_kernel(input_of(dump, "arm", symbols));
    INFO((map ? map->source : to_string(map.error())));
    REQUIRE(map);
    CHECK(translated(dump, *map, 0xc0054321) == 0x10054321);
    CHECK(translated(dump, *map, 0xc0105678) == 0x10125678);
    CHECK(translated(dump, *map, 0xc0110008) == 0x10133008);
    CHECK(translated(dump, *map, 0xc0111000) == std::nullopt);
  }
}

TEST_CASE("a riscv64 kernel's first-level table is a symbol", "[freebsd][map]") {
  FakeMemory memory;
  memory.ram(0x80000000, 0x8000000);
  const std::uint64_t place = 0x80200000;
  const auto entry = [](std::uint64_t phys, std::uint64_t bits) { return phys >> 12 << 10 | bits; };
  // Linked at 0xffffffc000000000: entry 256 of 512, then 0.
  memory.put_number({place + 0x3000 + 256 * 8}, entry(place + 0x4000, 0x1));
  memory.put_number({place + 0x4000}, entry(place, 0xcf));
  FakeSymbols symbols;
  symbols.add("kernbase", {0xffffffc000000000});
  symbols.add("pagetable_l1", {0xffffffc000003000});
  const Dump dump = dump_of(memory);
  const auto map = os_freebsd::map_kernel(input_of(dump, "riscv64", symbols));
  INFO((map ? map->source : to_string(map.error())));
  REQUIRE(map);
  CHECK(map->phys_base == place);
  CHECK(translated(dump, *map, 0xffffffc000012345) == place + 0x12345);
}

// struct pmap: a mutex of 32 bytes, two counters, pm_top, pm_satp (sys/riscv/include/pmap.h).
TEST_CASE("a riscv64 kernel's root table is in the kernel's pmap as satp has it, of three levels or four", "[freebsd][map]") {
  const auto entry = [](std::uint64_t phys, std::uint64_t bits) { return phys >> 12 << 10 | bits; };
  for (const int levels : {3, 4}) {
    FakeMemory memory;
    memory.ram(0x80000000, 0x8000000);
    const std::uint64_t place = 0x80200000, tables = 0x81000000;
    const std::uint64_t root = levels == 3 ? tables : tables + 0x2000;
    memory.put_number({tables + 256 * 8}, entry(tables + 0x1000, 0x1));
    memory.put_number({tables + 0x1000}, entry(place, 0xcf));
    memory.put_number({tables + 0x2000 + 511 * 8}, entry(tables, 0x1));
    memory.put_number({place + 0x5000}, 0xffffffc000700000);  // the mutex's name
    memory.put_number({place + 0x5000 + 48}, 0xffffffd000000000 + root);
    memory.put_number({place + 0x5000 + 56}, std::uint64_t{levels == 3 ? 8u : 9u} << 60 | root >> 12);
    FakeSymbols symbols;
    symbols.add("kernbase", {0xffffffc000000000});
    symbols.add("kernel_pmap_store", {0xffffffc000005000});
    const Dump dump = dump_of(memory);
    const auto map = os_freebsd::map_kernel(input_of(dump, "riscv64", symbols));
    INFO((map ? map->source : to_string(map.error())));
    REQUIRE(map);
    CHECK(map->mode == (levels == 3 ? "sv39" : "sv48"));
    CHECK(map->phys_base == place);
    CHECK(translated(dump, *map, 0xffffffc000012345) == place + 0x12345);
    CHECK(translated(dump, *map, 0xffffffc000212345) == std::nullopt);
  }
}
