// s390 since v6.10: virtual addresses are not physical ones, and os_info tells how they lie.  Offsets and numbers are literals of
// arch/s390/include/asm/os_info.h and lowcore.h, table entries of the Principles of Operation; the sum is made in another way.
#include <catch2/catch.hpp>

#include "engine/os/linux/map.h"
#include "engine/os/linux/os_info.h"
#include "tests/support/fake_memory.h"
#include "tests/support/fake_symbols.h"

using namespace kvm;
using kvm::testing::FakeMemory;
using kvm::testing::FakeSymbols;

namespace {

constexpr std::uint64_t os_info_at = 0x7000, text_at = 0x9000, note_at = 0xa000;
constexpr std::uint64_t offset_virt = 0x3ff80000000, offset_phys = 0x2000000;  // __kaslr_offset, __kaslr_offset_phys
constexpr std::uint64_t image_virt = offset_virt + 0x100000, image_phys = offset_phys + 0x100000;
constexpr std::uint64_t linked = 0x3ffe0100000;
constexpr std::uint64_t identity = 0x10000000000, vmemmap = 0x20000000000;

// Ones' complement addition of 32-bit words is a remainder.
std::uint32_t sum_of(std::string text) {
  text.resize((text.size() + 3) / 4 * 4);
  std::uint64_t total = 0;
  for (std::size_t at = 0; at < text.size(); ++at) total += std::uint64_t{static_cast<std::uint8_t>(text[at])} << (24 - 8 * (at % 4));
  const std::uint64_t rest = total % 0xffffffff;
  return static_cast<std::uint32_t>(rest || !total ? rest : 0xffffffff);
}

std::string big(std::uint64_t value, unsigned bytes) {
  std::string text;
  while (bytes--) text += bytes < sizeof value ? static_cast<char>(value >> (8 * bytes)) : char{0};
  return text;
}

// 1 MiB of image in one large page; banner at +0x2000, root table (region third) at +0x4000, a segment table at +0x8000.
struct Machine {
  const arch::Arch& arch = *arch::find("s390x");
  FakeMemory memory;
  FakeSymbols symbols;
  std::string vmcoreinfo = "OSRELEASE=6.12.0-fake\nPAGESIZE=4096\nSYMBOL(swapper_pg_dir)=3ff80104000\nSYMBOL(_stext)=3ff80100000\n";
  std::string entries = std::string(13 * 20, '\0');

  Machine() {
    memory.ram(0, 64 << 20);
    for (std::uint64_t i = 0; i < 2048; ++i) put(image_phys + 0x4000 + 8 * i, 0x24);           // invalid, region third
    put(image_phys + 0x4000 + 8 * (image_virt >> 31), (image_phys + 0x8000) | 0x4 | 0x3);     // the whole segment table
    for (std::uint64_t i = 0; i < 2048; ++i) put(image_phys + 0x8000 + 8 * i, 0x20);           // invalid
    put(image_phys + 0x8000 + 8 * ((image_virt >> 20) & 0x7ff), image_phys | 0x400);           // FC
    memory.put({image_phys + 0x2000}, std::string_view("Linux version 6.12.0-fake (somebody) #1\n\0", 41));
    symbols.add("_text", {linked});
    symbols.add("_stext", {linked});
    symbols.add("linux_banner", {linked + 0x2000});
    symbols.add("swapper_pg_dir", {linked + 0x4000}, 0x4000);
    symbols.add("_end", {linked + 0x100000});
    const std::pair<unsigned, std::uint64_t> values[] = {{4, identity}, {5, offset_virt}, {6, offset_phys}, {7, vmemmap}, {8, 0x3000}, {9, 0x6000},
                                                         {10, image_virt}, {11, image_virt + 0x100000}, {12, image_phys}};
    for (auto [number, value] : values) entry(number, value, 0, 0);
  }

  void put(std::uint64_t at, std::uint64_t value) { memory.put_number({at}, value, 8, std::endian::big); }
  void entry(unsigned number, std::uint64_t value, std::uint64_t size, std::uint32_t sum) {
    entries.replace(number * 20, 20, big(value, 8) + big(size, 8) + big(sum, 4));
  }
  void point_to_text() {
    memory.put({text_at}, vmcoreinfo);
    entry(0, text_at, vmcoreinfo.size(), sum_of(vmcoreinfo));
  }
  void put_os_info(std::uint32_t wrong = 0, unsigned major = 1) {
    std::string summed = big(major, 2) + big(1, 2) + big(0, 16) + entries;
    summed.resize(4096 - 12);
    memory.put({os_info_at}, "OSINFOSZ" + big(sum_of(summed) ^ wrong, 4) + summed);
    put(0xe18, os_info_at);
  }
  void put_note() {
    std::string text = vmcoreinfo;
    text.resize((text.size() + 3) / 4 * 4);
    memory.put({note_at}, big(11, 4) + big(vmcoreinfo.size(), 4) + big(0, 4) + std::string("VMCOREINFO\0\0", 12) + text);
    put(0xe0c, note_at);
  }

  os_linux::OsInfo told() const { return os_linux::read_os_info(memory, *arch.linux_layout); }
  Result<KernelMap> map(bool with_symbols = true) const {
    Dump dump;
    dump.arch = &arch;
    dump.memory = std::make_unique<FakeMemory>(memory);
    return os_linux::map_kernel({dump, arch, with_symbols ? &symbols : nullptr, {}, {}});
  }
  std::uint64_t phys(const KernelMap& map, std::uint64_t virt) const {
    return AddressSpace(memory, map.mappings).translate({virt}).value_or(PhysAddr{~0ull}).raw;
  }
};

}  // namespace

TEST_CASE("os_info gives VMCOREINFO and the image's place", "[linux][map]") {
  Machine machine;
  machine.point_to_text();
  machine.put_os_info();
  for (const bool with_symbols : {true, false}) {
    const auto map = machine.map(with_symbols);
    REQUIRE(map);
    CHECK(map->source == "VMCOREINFO that the lowcore points to");
    CHECK(map->vmcoreinfo == machine.vmcoreinfo);
    CHECK(map->mode == "3-level");
    CHECK(map->release == "6.12.0-fake");
    if (with_symbols) CHECK(map->slide == image_virt - linked);
    CHECK(machine.phys(*map, image_virt + 0x2000) == image_phys + 0x2000);
  }
}

TEST_CASE("os_info without VMCOREINFO: a vmlinux, and where the image is", "[linux][map]") {
  Machine machine;
  machine.put_os_info();
  const auto map = machine.map();
  REQUIRE(map);
  CHECK(map->source == "vmlinux, found in memory");
  CHECK(map->slide == image_virt - linked);
  CHECK(map->mode == "3-level");
  CHECK(machine.phys(*map, image_virt + 0x2000) == image_phys + 0x2000);
}

TEST_CASE("where page tables are missing, os_info's distances stand in", "[linux][map]") {
  Machine machine;
  machine.point_to_text();
  machine.put_os_info();
  auto map = machine.map();
  REQUIRE(map);
  for (const std::uint64_t page : {0x4000, 0x5000, 0x6000, 0x7000}) machine.memory.exclude({image_phys + page});  // the root
  CHECK(machine.phys(*map, identity + 0x123456) == 0x123456);
  CHECK(machine.phys(*map, identity + 0x1000) == ~0ull);  // the lowcore: each CPU's own
  CHECK(machine.phys(*map, 0x4321) == 0x4321);
  CHECK(machine.phys(*map, image_virt + 0x2000) == image_phys + 0x2000);
}

TEST_CASE("the lowcore's pointer to the note, where os_info has no VMCOREINFO", "[linux][map]") {
  Machine machine;
  machine.put_note();
  CHECK(machine.told().vmcoreinfo == machine.vmcoreinfo);
  CHECK(machine.told().keys.empty());
  CHECK(!machine.map(false));  // a kernel as new as this one needs os_info's entries, or its own lines
  machine.vmcoreinfo += "KERNELOFFSET=3ff80000000\nKERNELOFFPHYS=2000000\n";
  machine.put_note();
  const auto map = machine.map(false);
  REQUIRE(map);
  CHECK(machine.phys(*map, image_virt + 0x2000) == image_phys + 0x2000);
}

TEST_CASE("an os_info that is older, damaged or from the future", "[linux][map]") {
  const auto mute = [](const Machine& machine) { return machine.told().keys.empty() && machine.told().mappings.empty() && machine.told().vmcoreinfo.empty(); };
  CHECK(mute(Machine()));
  Machine older;
  older.entry(5, 0, 0, 0);
  older.point_to_text();
  older.put_os_info();
  CHECK(older.told().keys.empty());
  CHECK(older.told().mappings.empty());
  CHECK(older.told().vmcoreinfo == older.vmcoreinfo);
  Machine wrong_sum, future, odd, far;
  wrong_sum.put_os_info(1);
  CHECK(mute(wrong_sum));
  future.put_os_info(0, 2);
  CHECK(mute(future));
  odd.put_os_info();
  odd.put(0xe18, os_info_at + 8);
  CHECK(mute(odd));
  far.put_os_info();
  far.put(0xe18, 0xfffffffffffff000);
  far.put(0xe0c, 0xffffffffffffffff);
  CHECK(mute(far));
  Machine text;
  text.entry(0, text_at, 1 << 30, 0);
  text.put_os_info();
  CHECK(text.told().vmcoreinfo.empty());
  text.point_to_text();
  text.memory.put({text_at}, "OSRELEASF");  // not what was summed
  text.put_os_info();
  CHECK(text.told().vmcoreinfo.empty());
}
