// Exported cores, read back field by field (System V ABI, "Object Files") and by our own reader of dumps.
#include "engine/export/elf_core.h"

#include <catch2/catch.hpp>

#include <cstring>

#include "engine/integers.h"
#include "tests/support/kernel_fixture.h"

using namespace kvm;
using kvm::testing::FakeKernel;
using kvm::testing::FakeMemory;
using Catch::Matchers::Contains;

namespace {

Kernel kernel_of(const FakeKernel& fake, const FakeMemory& memory, std::vector<Mapping> mappings, std::string_view arch = "x86_64") {
  KernelParts parts;
  parts.path = "fake.dump";
  parts.dump = fake.dump({}, memory);
  parts.arch = arch::find(arch);
  parts.map.mappings = std::move(mappings);
  parts.map.vmcoreinfo = "OSRELEASE=6.1\n";
  auto opened = Kernel::from_parts(std::move(parts));
  REQUIRE(opened);
  return std::move(*opened);
}

struct Exported {
  CorePlan plan;
  std::vector<std::uint8_t> bytes;
  std::uint64_t written = 0, lost = 0;

  std::uint64_t number(std::size_t at, std::size_t size, std::endian order = std::endian::little) const {
    return load_unsigned(Bytes(bytes).subspan(at, size), order);
  }
};

Exported export_of(const Kernel& kernel) {
  Exported out;
  auto plan = plan_core(kernel);
  REQUIRE(plan);
  out.plan = std::move(*plan);
  out.bytes.resize(out.plan.size);
  const auto sink = [&](std::uint64_t offset, Bytes bytes) -> Result<void> {
    if (offset + bytes.size() > out.bytes.size()) return fail(Errc::io, "beyond the end");
    std::copy(bytes.begin(), bytes.end(), out.bytes.begin() + static_cast<std::ptrdiff_t>(offset));
    out.written += bytes.size();
    return {};
  };
  auto lost = write_core(kernel, out.plan, sink, {});
  REQUIRE(lost);
  out.lost = *lost;
  return out;
}

constexpr std::uint64_t window = 0xffff888000000000;

}  // namespace

TEST_CASE("a core has its pages at the kernel's addresses", "[export]") {
  FakeKernel fake;
  fake.add_prstatus(300, 0x1111, 0, 0xffffffff81234567);
  FakeMemory memory;
  memory.ram(0, 1 << 20);
  memory.put({0x5000}, std::string(4096, 'a'));
  memory.put({0x6000}, std::string(4096, 'b'));
  memory.put({0x9000}, "c");
  memory.exclude({0x7000});
  const Kernel kernel = kernel_of(fake, memory, {{{window + 0x5000}, {window + 0x9fff}, Linear{{0x5000}}, "w"},
                                                 {{0xffffffff81000000}, {0xffffffff81000fff}, Linear{{0x6000}}, "image"}});
  const Exported core = export_of(kernel);
  CHECK(core.lost == 0);
  CHECK(std::memcmp(core.bytes.data(), "\x7f" "ELF\2\1\1", 7) == 0);
  CHECK(core.number(16, 2) == 4);   // ET_CORE
  CHECK(core.number(18, 2) == 62);  // EM_X86_64
  const std::uint64_t count = core.number(56, 2);
  REQUIRE(count == 4);  // PT_NOTE; the window's two pieces; the image
  struct Row {
    std::uint64_t type, offset, virt, phys, size;
  };
  std::vector<Row> rows;
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t at = 64 + i * 56;
    rows.push_back({core.number(at, 4), core.number(at + 8, 8), core.number(at + 16, 8), core.number(at + 24, 8), core.number(at + 32, 8)});
    CHECK(core.number(at + 40, 8) == rows.back().size);
  }
  CHECK(rows[0].type == 4);
  CHECK(rows[1].virt == window + 0x5000);
  CHECK(rows[1].size == 0x2000);
  CHECK(rows[2].virt == window + 0x8000);
  CHECK(rows[3].virt == 0xffffffff81000000);
  CHECK(rows[3].phys == 0x6000);
  CHECK(rows[3].offset == rows[1].offset + 0x1000);  // the same page, stored once
  CHECK(rows[1].offset % 4096 == 0);
  CHECK(core.bytes[rows[1].offset] == 'a');
  CHECK(core.bytes[rows[3].offset + 4095] == 'b');
  CHECK(core.bytes[rows[2].offset + 0x1000] == 'c');
  CHECK(core.written < core.bytes.size());  // pages of zeros are holes
  // NT_PRSTATUS: 336 bytes, pr_pid at 32, rip at 240 and rsp at 264 (<sys/procfs.h> and <sys/user.h> of x86-64).
  const std::size_t note = rows[0].offset;
  CHECK(core.number(note, 4) == 5);
  CHECK(core.number(note + 4, 4) == 336);
  CHECK(core.number(note + 8, 4) == 1);
  CHECK(std::memcmp(&core.bytes[note + 12], "CORE", 5) == 0);
  CHECK(core.number(note + 20 + 32, 4) == 1);
  CHECK(core.number(note + 20 + 240, 8) == 0xffffffff81234567);
  CHECK(core.number(note + 20 + 264, 8) == 0x1111);
  const std::string text(core.bytes.begin() + static_cast<std::ptrdiff_t>(note), core.bytes.begin() + static_cast<std::ptrdiff_t>(note + rows[0].size));
  CHECK_THAT(text, Contains("VMCOREINFO") && Contains("OSRELEASE=6.1\n"));
}

TEST_CASE("more than 65,534 segments are counted in a section", "[export]") {
  FakeKernel fake;
  FakeMemory memory;
  memory.ram(0, 0x20000);
  constexpr std::uint64_t pages = 0xffff;
  const Kernel few = kernel_of(fake, memory, {{{window}, {window + 0xfff}, Linear{{0}}, "w"}});
  CorePlan plan = *plan_core(few);
  plan.segments.resize(pages, plan.segments.front());
  plan.notes_at = core_header_bytes(few.arch(), plan.segments.size());
  std::vector<std::uint8_t> header;
  const auto sink = [&](std::uint64_t offset, Bytes bytes) -> Result<void> {
    if (offset == 0) header.assign(bytes.begin(), bytes.end());
    return {};
  };
  REQUIRE(write_core(few, plan, sink, {}));
  REQUIRE(header.size() == core_header_bytes(few.arch(), pages));
  const auto number = [&](std::size_t at, std::size_t size) { return load_unsigned(Bytes(header).subspan(at, size), std::endian::little); };
  CHECK(number(56, 2) == 0xffff);  // PN_XNUM
  CHECK(number(60, 2) == 1);       // e_shnum
  const std::uint64_t section = number(40, 8);
  CHECK(section == 64 + 56 * (pages + 1));
  REQUIRE(section + 64 == header.size());
  CHECK(number(section + 44, 4) == pages + 1);  // sh_info
  CHECK(number(section + 4, 4) == 0);           // SHT_NULL
}

TEST_CASE("a 32-bit core is a 32-bit file", "[export]") {
  FakeKernel fake;
  FakeMemory memory;
  memory.ram(0, 1 << 20);
  memory.put({0x5000}, "abc");
  const Kernel kernel = kernel_of(fake, memory, {{{0xc0005000}, {0xc0005fff}, Linear{{0x5000}}, "w"}}, "i386");
  const Exported core = export_of(kernel);
  CHECK(core.bytes[4] == 1);         // ELFCLASS32
  CHECK(core.number(18, 2) == 3);    // EM_386
  CHECK(core.number(42, 2) == 32);   // e_phentsize
  CHECK(core.number(44, 2) == 2);
  const std::size_t load = 52 + 32;
  CHECK(core.number(load, 4) == 1);
  CHECK(core.number(load + 8, 4) == 0xc0005000);
  CHECK(core.number(load + 12, 4) == 0x5000);
  CHECK(core.number(load + 16, 4) == 0x1000);
  CHECK(core.bytes[core.number(load + 4, 4)] == 'a');
}

TEST_CASE("a dump that maps nothing cannot be exported", "[export]") {
  FakeKernel fake;
  FakeMemory memory;
  memory.ram(0, 1 << 20);
  CHECK(plan_core(kernel_of(fake, memory, {})).error().code == Errc::not_in_dump);
  CHECK(plan_core(kernel_of(fake, memory, {{{window + (1 << 20)}, {window + (2 << 20)}, Linear{{1 << 20}}, "beyond"}})).error().code == Errc::not_in_dump);
}

TEST_CASE("a sink that fails ends the export with its words", "[export]") {
  FakeKernel fake;
  FakeMemory memory;
  memory.ram(0, 1 << 20);
  memory.put({0}, "x");
  const Kernel kernel = kernel_of(fake, memory, {{{window}, {window + 0xfff}, Linear{{0}}, "w"}});
  const auto plan = plan_core(kernel);
  REQUIRE(plan);
  const auto failed = write_core(kernel, *plan, [](std::uint64_t, Bytes) -> Result<void> { return fail(Errc::io, "No space left on device"); }, {});
  REQUIRE(!failed);
  CHECK(failed.error().note == "No space left on device");
}
