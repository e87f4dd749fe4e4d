// 32-bit Arm against literal offsets of the kernel's struct elf_prstatus and struct cpu_context_save.
#include <catch2/catch.hpp>

#include "engine/cpu_notes.h"
#include "engine/os/linux/model.h"
#include "tests/support/kernel_fixture.h"

using namespace kvm;
using kvm::testing::FakeKernel;

namespace {

const arch::Arch& arm() { return *arch::find("arm"); }

KernelView as_arm(const FakeKernel& kernel) { return {arm(), kernel.space(), kernel.symbols, kernel.types}; }

}  // namespace

TEST_CASE("Arm: a CPU's note", "[arch][arm]") {
  std::vector<std::uint8_t> desc(148);  // 72 bytes, r0 to r15, cpsr, orig_r0, pr_fpvalid
  desc[24] = 7;
  for (std::size_t i = 0; i < 18; ++i) desc[72 + 4 * i] = static_cast<std::uint8_t>(0x40 + i);
  const auto states = cpu_states({{"CORE", 1, desc}, {"LINUX", 0x400, std::vector<std::uint8_t>(260)}}, arm());
  REQUIRE(states.size() == 1);
  CHECK(states[0].pid == 7);
  CHECK(states[0].registers.get("r0") == 0x40u);
  CHECK(states[0].registers.get("r12") == 0x4cu);
  CHECK(states[0].registers.get("sp") == 0x4du);
  CHECK(states[0].registers.get("lr") == 0x4eu);
  CHECK(states[0].registers.get("pc") == 0x4fu);
  CHECK(states[0].registers.get("cpsr") == 0x50u);
}

TEST_CASE("Arm: a sleeping task's registers are in the task, before 5.16 on its stack", "[arch][arm]") {
  FakeKernel kernel;
  constexpr std::string_view in_task = "stack 0 *; thread_info.cpu_context.r4 16 u4; thread_info.cpu_context.fp 44 u4; "
                                       "thread_info.cpu_context.sp 48 u4; thread_info.cpu_context.pc 52 u4";
  constexpr std::string_view on_stack = "cpu_context.r4 28 u4; cpu_context.sl 52 u4; cpu_context.sp 60 u4; cpu_context.pc 64 u4";
  const VirtAddr task = kernel.allocate(64), stack = kernel.allocate(128);
  kernel.put(task, stack.raw);
  for (std::uint64_t i = 0; i < 10; ++i) kernel.put(task + 16 + 4 * i, 0x100 + i, 4), kernel.put(stack + 28 + 4 * i, 0x200 + i, 4);

  kernel.types.define("task_struct", 64, in_task);
  kernel.types.define("thread_info", 128, on_stack);
  auto registers = os_linux::saved_registers(as_arm(kernel), task);
  REQUIRE(registers);
  CHECK(registers->get("r4") == 0x100u);
  CHECK(registers->get("r11") == 0x107u);
  CHECK(registers->get("sp") == 0x108u);
  CHECK(registers->get("pc") == 0x109u);
  CHECK(!registers->get("r0"));

  kernel.types.define("task_struct", 64, "stack 0 *");
  registers = os_linux::saved_registers(as_arm(kernel), task);
  REQUIRE(registers);
  CHECK(registers->get("r4") == 0x200u);
  CHECK(registers->get("r10") == 0x206u);
  CHECK(registers->get("sp") == 0x208u);
  CHECK(registers->get("pc") == 0x209u);

  kernel.types.remove("thread_info");
  CHECK(!os_linux::saved_registers(as_arm(kernel), task));
}
