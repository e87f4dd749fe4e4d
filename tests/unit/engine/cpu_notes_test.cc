// Registers out of per-CPU notes.
#include "engine/cpu_notes.h"

#include <catch2/catch.hpp>

#include "tests/support/kernel_fixture.h"

using namespace kvm;
using kvm::testing::FakeKernel;

namespace {

const arch::Arch& x86_64() { return *arch::find("x86_64"); }

}  // namespace

TEST_CASE("a NT_PRSTATUS note per CPU", "[cpu_notes]") {
  FakeKernel kernel;
  kernel.add_prstatus(42, 0xffffc90000003f00, 0, 0xffffffff81000777);
  kernel.add_prstatus(0, 0xffffffff82003e80);
  const auto states = cpu_states(kernel.notes, x86_64());
  REQUIRE(states.size() == 2);
  CHECK(states[0].pid == 42);
  CHECK(states[0].registers.get("rsp") == 0xffffc90000003f00u);
  CHECK(states[0].registers.get("rip") == 0xffffffff81000777u);
  CHECK(states[0].registers.get("rax") == 0u);
  CHECK(!states[0].registers.get("cr3"));
  CHECK(!states[0].registers.get("st0"));
  CHECK(states[1].pid == 0);
}

TEST_CASE("notes of two owners about one CPU become one state", "[cpu_notes]") {
  FakeKernel kernel;
  kernel.add_prstatus(1, 0x1111);
  kernel.add_prstatus(2, 0x2222);
  kernel.notes.push_back({"VMCOREINFO", 0, {'x'}});
  kernel.add_qemu_note(0x1112, 0xffff888000100000);
  kernel.add_qemu_note(0x2223, 0xffff888000200000);
  const auto states = cpu_states(kernel.notes, x86_64());
  REQUIRE(states.size() == 2);
  CHECK(states[0].pid == 1);
  CHECK(states[1].pid == 2);
  CHECK(states[1].registers.get("gs_base") == 0xffff888000200000u);
  CHECK(states[1].registers.get("cr4") == 0xef0u);
  CHECK(states[1].registers.get("cr3") == (kernel.root().raw | 1));
}

TEST_CASE("foreign, short and empty notes say nothing", "[cpu_notes]") {
  FakeKernel kernel;
  kernel.add_prstatus(1, 0x1111);
  kernel.notes[0].desc.resize(327);
  kernel.notes.push_back({"CORE", 3, std::vector<std::uint8_t>(400)});   // NT_PRPSINFO
  kernel.notes.push_back({"LINUX", 1, std::vector<std::uint8_t>(400)});
  kernel.notes.push_back({"QEMU", 0, {}});
  CHECK(cpu_states(kernel.notes, x86_64()).empty());
  CHECK(cpu_states({}, x86_64()).empty());
  kernel.notes[0].desc.resize(328);
  CHECK(cpu_states(kernel.notes, x86_64()).size() == 1);
}

TEST_CASE("numbers in a note are in the writer's order; the kernel's is what a register shows", "[cpu_notes]") {
  const arch::Arch* big = arch::find("ppc64");
  const arch::Arch* little = arch::find("ppc64le");
  REQUIRE((big && little));
  Note note{"CORE", 1, std::vector<std::uint8_t>(504), std::endian::big};
  note.desc[112 + 8 * 32 + 7] = 0x78;   // nip, word 32 of pt_regs
  note.desc[112 + 8 * 33 + 0] = 0x80;   // msr, word 33: SF ...
  CHECK(cpu_states({note}, *big)[0].registers.get("pc") == 0x78u);
  CHECK(cpu_states({note}, *little)[0].registers.get("pc") == 0x78u);
  CHECK(row_in_kernel_order({note}, little) == big);
  note.desc[112 + 8 * 33 + 7] = 0x01;   // ... and LE
  CHECK(row_in_kernel_order({note}, big) == little);
  CHECK(row_in_kernel_order({}, big) == big);
  CHECK(row_in_kernel_order({note}, &x86_64()) == &x86_64());
  CHECK(row_in_kernel_order({note}, nullptr) == nullptr);
}
