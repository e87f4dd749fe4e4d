// A full dump of a 32-bit Power machine: memory is stored by virtual address, and nothing needs to be walked (FreeBSD,
// lib/libkvm/kvm_powerpc.c; offsets of struct pcb from sys/powerpc/include/pcb.h, counted in words).
#include <catch2/catch.hpp>

#include "engine/kernel.h"
#include "tests/unit/engine/os/freebsd/crash_files.h"

using namespace kvm;
using namespace kvm::test;
using kvm::testing::FakeFreebsd;
using kvm::testing::TempDir;

namespace {

constexpr std::uint64_t image = 0xc0000000, image_phys = 16u << 20, image_bytes = 1u << 20, direct = 0x80000000;

testing::Buffer dump_of(const FakeFreebsd& kernel) {
  testing::FullDumpSpec spec;
  spec.bits = 32;
  spec.big_endian = true;
  spec.machine = 20;  // EM_PPC
  spec.is_virtual = true;
  for (const PhysAddr page : kernel.memory.pages()) {
    testing::Buffer bytes(4096);
    const bool inside = page.raw >= image_phys && page.raw < image_phys + image_bytes;
    if (kernel.memory.read(page, bytes)) spec.memory[inside ? image + (page.raw - image_phys) : direct + page.raw] = std::move(bytes);
  }
  return testing::write_full_dump(spec);
}

testing::Buffer file_of(const FakeFreebsd& kernel) {
  ElfImage file(false, std::endian::big, 3);  // ET_DYN
  file.set_machine(20);
  const auto data = file.add({.name = ".data", .type = 8, .flags = 3, .addr = image, .size = image_bytes});
  std::vector<ImageSymbol> symbols;
  for (const Symbol& symbol : kernel.symbols.all())
    symbols.push_back({std::string(symbol.name), symbol.address.raw, symbol.size, 0x11, static_cast<std::uint16_t>(data)});
  file.add_symbols(symbols);
  return file.bytes();
}

}  // namespace

TEST_CASE("a dump of 32-bit Power", "[freebsd][ppc]") {
  const TempDir folder;
  FakeFreebsd fake("ppc");
  const VirtAddr process = fake.add_process(7, "seven"), pcb = fake.allocate(0x400);
  const VirtAddr thread = fake.add_thread(process, {.tid = 100007, .name = "worker"});
  fake.put_pointer(thread + fake.offset("thread", "td_pcb"), pcb);
  for (std::uint64_t word = 0; word < 24; ++word) fake.put(pcb + 4 * word, 0x1000 + word, 4);
  fake.put_text(fake.variable("osrelease", 32), "13.2-RELEASE");
  OpenOptions options;
  options.dump = folder.write("vmcore.0", dump_of(fake));
  options.vmlinux = folder.write("kernel", file_of(fake));
  const auto kernel = Kernel::open(options);
  REQUIRE(kernel);
  CHECK(kernel->arch().name == "ppc");
  CHECK(kernel->system() == "FreeBSD");
  CHECK(kernel->os().release() == "13.2-RELEASE");
  REQUIRE(kernel->tasks());
  REQUIRE(kernel->tasks()->size() == 1);
  const auto registers = kernel->registers(kernel->tasks()->front());
  REQUIRE(registers);
  CHECK(registers->get("r12") == 0x1000);
  CHECK(registers->get("r31") == 0x1013);
  CHECK(registers->get("cr") == 0x1014);
  CHECK(registers->get("r1") == 0x1015);
  CHECK(registers->get("lr") == 0x1017);
  CHECK(registers->get("pc") == 0x1017);
  CHECK_FALSE(registers->get("r2"));
}
