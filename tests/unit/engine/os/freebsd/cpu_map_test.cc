// A dump that QEMU made of a FreeBSD guest: no system's name, CPUs' registers.
#include <catch2/catch.hpp>

#include "engine/integers.h"
#include "engine/os/freebsd/model.h"
#include "tests/support/fake_memory.h"
#include "tests/support/kernel_fixture.h"

namespace kvm {
extern const OsKind freebsd_os;
}

using namespace kvm;
using kvm::testing::FakeKernel;
using kvm::testing::FakeSymbols;

namespace {

constexpr std::string_view version = "FreeBSD 15.1-RELEASE releng/15.1 GENERIC\n";

// x86-64 page tables and QEMU's notes are the same whoever runs.
VirtAddr add_version(FakeKernel& kernel) {
  const VirtAddr sccs = kernel.variable("sccs", 256);
  kernel.put_text(sccs, "@(#)" + std::string(version));
  return sccs + 4;
}

}  // namespace

TEST_CASE("a CPU's page tables, with the kernel's symbols", "[freebsd][map]") {
  FakeKernel kernel({.five_level = GENERATE(false, true)});
  FakeSymbols symbols;
  symbols.add("version", add_version(kernel));
  kernel.add_qemu_note(0x1111, 0x10);
  const Dump dump = kernel.dump();
  const auto map = freebsd_os.map(kernel.input(dump, &symbols));
  REQUIRE(map);
  CHECK(map->source == "a CPU's cr3");
  const AddressSpace space(*dump.memory, map->mappings);
  std::string text(7, '\0');
  REQUIRE(space.read(symbols.find("version")->address, {reinterpret_cast<std::uint8_t*>(text.data()), text.size()}) == 7u);
  CHECK(text == "FreeBSD");
}

TEST_CASE("a root table may lie at any page", "[freebsd][map]") {
  FakeKernel kernel;
  FakeSymbols symbols;
  symbols.add("version", add_version(kernel));
  std::vector<std::uint8_t> table(4096);
  REQUIRE(kernel.memory.read(kernel.root(), table) == table.size());
  const PhysAddr odd{0x301000};
  kernel.memory.put(odd, table);
  kernel.add_qemu_note(0x1111, 0x10);
  Dump dump = kernel.dump();
  store<std::uint64_t>(dump.notes.back().desc.data() + 416, odd.raw | 1, std::endian::little);  // cr3
  kernel.memory.put(kernel.root(), std::vector<std::uint8_t>(4096));
  dump.memory = std::make_unique<kvm::testing::FakeMemory>(kernel.memory);
  REQUIRE(os_freebsd::map_by_cpus(kernel.input(dump, &symbols)));
}

TEST_CASE("without symbols the version's text is looked for in memory", "[freebsd][map]") {
  FakeKernel kernel;
  kernel.add_qemu_note(0x1111, 0x10);
  const Dump other = kernel.dump();
  CHECK_FALSE(freebsd_os.map(kernel.input(other)));
  add_version(kernel);
  const Dump dump = kernel.dump();
  const auto map = freebsd_os.map(kernel.input(dump));
  REQUIRE(map);
  CHECK(map->release == "15.1-RELEASE");
}

TEST_CASE("tables that do not lead to the kernel are no kernel's", "[freebsd][map]") {
  FakeKernel kernel;
  FakeSymbols symbols;
  symbols.add("version", kernel.image() + 0x300000);
  kernel.add_qemu_note(0x1111, 0x10);
  const Dump dump = kernel.dump();
  CHECK_FALSE(os_freebsd::map_by_cpus(kernel.input(dump, &symbols)));
}

TEST_CASE("a text that crosses from one piece of memory into the next", "[freebsd][map]") {
  FakeKernel kernel;
  kernel.memory.put({0x100000 - 6}, "@(#)" + std::string(version));
  CHECK(os_freebsd::find_release(kernel.memory) == "15.1-RELEASE");
}
