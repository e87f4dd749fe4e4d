// RISC-V against literal offsets of the kernel's struct elf_prstatus and struct thread_struct.
#include <catch2/catch.hpp>

#include "engine/cpu_notes.h"
#include "engine/os/linux/model.h"
#include "tests/support/kernel_fixture.h"

using namespace kvm;
using kvm::testing::FakeKernel;

namespace {

const arch::Arch& riscv64() { return *arch::find("riscv64"); }

KernelView as_riscv64(const FakeKernel& kernel) { return {riscv64(), kernel.space(), kernel.symbols, kernel.types}; }

}  // namespace

TEST_CASE("RISC-V: a CPU's note", "[arch][riscv64]") {
  std::vector<std::uint8_t> desc(376);  // 112 bytes, pc, x1 to x31, pr_fpvalid and padding
  desc[32] = 9;
  for (std::size_t i = 0; i < 32; ++i) desc[112 + 8 * i] = static_cast<std::uint8_t>(0x40 + i);
  const auto states = cpu_states({{"CORE", 1, desc}}, riscv64());
  REQUIRE(states.size() == 1);
  CHECK(states[0].pid == 9);
  constexpr std::string_view names[] = {"pc", "ra", "sp", "gp", "tp", "t0", "t1", "t2", "fp",  "s1",  "a0", "a1", "a2", "a3", "a4", "a5",
                                        "a6", "a7", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11", "t3", "t4", "t5", "t6"};
  for (std::size_t i = 0; i < 32; ++i) CHECK(states[0].registers.get(names[i]) == 0x40 + i);
  CHECK(!states[0].registers.get("zero"));
}

TEST_CASE("RISC-V: a sleeping task's registers, some of them in an array", "[arch][riscv64]") {
  FakeKernel kernel;
  kernel.types.define("task_struct", 256, "stack 0 *; thread.ra 16 u8; thread.sp 24 u8; thread.s 32 a96");
  const VirtAddr task = kernel.allocate(256);
  kernel.put(task, 0xffffffc000010000);
  for (std::uint64_t i = 0; i < 14; ++i) kernel.put(task + 16 + 8 * i, 0x100 + i);
  auto registers = os_linux::saved_registers(as_riscv64(kernel), task);
  REQUIRE(registers);
  CHECK(registers->get("pc") == 0x100u);
  CHECK(registers->get("sp") == 0x101u);
  CHECK(registers->get("fp") == 0x102u);
  CHECK(registers->get("s1") == 0x103u);
  CHECK(registers->get("s11") == 0x10du);
  CHECK(!registers->get("ra"));

  kernel.types.define("task_struct", 256, "stack 0 *; thread.ra 16 u8; thread.s 32 a88");  // an array that ends early
  registers = os_linux::saved_registers(as_riscv64(kernel), task);
  REQUIRE(registers);
  CHECK(registers->get("s10") == 0x10cu);
  CHECK(!registers->get("s11"));
}
