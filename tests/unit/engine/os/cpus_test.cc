// CPUs, and which note belongs to which.
#include <catch2/catch.hpp>

#include "engine/os/linux/model.h"
#include "tests/support/kernel_fixture.h"

using namespace kvm;
using kvm::testing::FakeKernel;

namespace {

std::vector<os_linux::CpuSlot> find(const FakeKernel& kernel) {
  const KernelView view = kernel.view();
  return os_linux::find_cpus(view, cpu_states(kernel.notes, view.arch));
}

std::uint64_t sp_of(const os_linux::CpuSlot& cpu) { return cpu.registers ? cpu.registers->get("rsp").value_or(1) : 0; }

VirtAddr stack_of(const FakeKernel& kernel, VirtAddr task) {
  const KernelView view = kernel.view();
  return *Record(view, "task_struct", task).pointer("stack");
}

}  // namespace

TEST_CASE("CPUs that are possible, their run queues and whether they are online", "[linux][cpus]") {
  FakeKernel kernel;
  const VirtAddr a = kernel.add_process({1, "a"}), idle = kernel.add_process({0, "swapper/1"});
  const VirtAddr area = kernel.add_cpu(a, kernel.init_task());
  kernel.add_cpu(idle, idle, false);
  kernel.put(kernel.symbols.find("nr_cpu_ids")->address, 8, 4);  // more ids than possible CPUs
  const auto cpus = find(kernel);
  REQUIRE(cpus.size() == 2);
  CHECK(cpus[0].number == 0);
  CHECK(cpus[0].online);
  CHECK(cpus[0].per_cpu.raw == area.raw);
  CHECK(cpus[0].current.raw == a.raw);
  CHECK(cpus[0].idle.raw == kernel.init_task().raw);
  CHECK(!cpus[1].online);
  CHECK(!cpus[0].registers);
}

TEST_CASE("QEMU's notes are matched by the per-CPU base in GS", "[linux][cpus]") {
  FakeKernel kernel;
  const VirtAddr a = kernel.add_process({1, "a"}), b = kernel.add_process({2, "b"});
  const VirtAddr first = kernel.add_cpu(a, kernel.init_task()), second = kernel.add_cpu(b, b);
  kernel.add_qemu_note(0x2000, second.raw);             // not in order
  kernel.add_qemu_note(0x1000, 0x7f0012345678, first.raw);  // in user mode: the base waits in KernelGSbase
  const auto cpus = find(kernel);
  REQUIRE(cpus.size() == 2);
  CHECK(sp_of(cpus[0]) == 0x1000);
  CHECK(sp_of(cpus[1]) == 0x2000);
}

TEST_CASE("notes are matched by the stack of the task that ran", "[linux][cpus]") {
  FakeKernel kernel;
  const VirtAddr a = kernel.add_process({1, "a"}), b = kernel.add_process({2, "b"}), c = kernel.add_process({3, "c"});
  kernel.add_cpu(a, kernel.init_task());
  kernel.add_cpu(b, b);
  kernel.add_cpu(c, c);
  const std::uint64_t sp_a = stack_of(kernel, a).raw + 0x3f00, sp_c = stack_of(kernel, c).raw + 8;
  kernel.add_prstatus(0, sp_c);
  kernel.add_prstatus(0, sp_a);
  kernel.add_prstatus(0, 0x55550000);  // an exception stack: what is left goes to what is left
  const auto cpus = find(kernel);
  REQUIRE(cpus.size() == 3);
  CHECK(sp_of(cpus[0]) == sp_a);
  CHECK(sp_of(cpus[1]) == 0x55550000);
  CHECK(sp_of(cpus[2]) == sp_c);
}

TEST_CASE("notes are matched by process id, except 0", "[linux][cpus]") {
  FakeKernel kernel;
  const VirtAddr a = kernel.add_process({101, "a"}), b = kernel.add_process({102, "b"});
  kernel.add_cpu(a, kernel.init_task());
  kernel.add_cpu(b, b);
  kernel.add_prstatus(102, 0x2222);
  kernel.add_prstatus(101, 0x1111);
  const auto cpus = find(kernel);
  CHECK(sp_of(cpus[0]) == 0x1111);
  CHECK(sp_of(cpus[1]) == 0x2222);
}

TEST_CASE("idle CPUs take notes in order", "[linux][cpus]") {
  FakeKernel kernel;
  const VirtAddr one = kernel.add_process({0, "swapper/1"});
  kernel.add_cpu(kernel.init_task(), kernel.init_task());
  kernel.add_cpu(one, one);
  kernel.add_prstatus(0, 0x1111);
  kernel.add_prstatus(0, 0x2222);
  const auto cpus = find(kernel);
  CHECK(sp_of(cpus[0]) == 0x1111);
  CHECK(sp_of(cpus[1]) == 0x2222);
}

TEST_CASE("an offline CPU takes no note by order, but its own by evidence", "[linux][cpus]") {
  FakeKernel kernel;
  const VirtAddr a = kernel.add_process({0, "swapper/1"}), b = kernel.add_process({0, "swapper/2"});
  kernel.add_cpu(kernel.init_task(), kernel.init_task());
  const VirtAddr stopped = kernel.add_cpu(a, a, false);
  kernel.add_cpu(b, b);
  SECTION("the kernel's own dump: a note for each that was online") {
    kernel.add_prstatus(0, 0x1111);
    kernel.add_prstatus(0, 0x3333);
    const auto cpus = find(kernel);
    CHECK(sp_of(cpus[0]) == 0x1111);
    CHECK(!cpus[1].registers);
    CHECK(sp_of(cpus[2]) == 0x3333);
  }
  SECTION("QEMU: a note for each, also for the one that panic stopped") {
    kernel.add_qemu_note(0x1111, 0x10);
    kernel.add_qemu_note(0x2222, stopped.raw);
    kernel.add_qemu_note(0x3333, 0x10);
    const auto cpus = find(kernel);
    CHECK(sp_of(cpus[0]) == 0x1111);
    CHECK(sp_of(cpus[1]) == 0x2222);
    CHECK(sp_of(cpus[2]) == 0x3333);
  }
}

TEST_CASE("when counts differ nothing is guessed", "[linux][cpus]") {
  FakeKernel kernel;
  const VirtAddr a = kernel.add_process({101, "a"}), idle = kernel.add_process({0, "swapper/2"});
  kernel.add_cpu(kernel.init_task(), kernel.init_task());
  kernel.add_cpu(a, a);
  kernel.add_cpu(idle, idle);
  kernel.add_prstatus(0, 0x1111);
  kernel.add_prstatus(101, 0x2222);  // one CPU did not answer: whose is the other note?
  const auto cpus = find(kernel);
  CHECK(!cpus[0].registers);
  CHECK(sp_of(cpus[1]) == 0x2222);
  CHECK(!cpus[2].registers);
}

TEST_CASE("one CPU more than fits a word of the mask", "[linux][cpus]") {
  FakeKernel kernel;
  kernel.symbols.remove("__cpu_possible_mask");
  const VirtAddr mask = kernel.variable("__cpu_possible_mask", 16);
  kernel.put(mask, 1);
  kernel.put(mask + 8, 1);
  kernel.put(kernel.symbols.find("nr_cpu_ids")->address, 65, 4);
  const auto cpus = find(kernel);
  REQUIRE(cpus.size() == 2);
  CHECK(cpus[1].number == 64);
}

TEST_CASE("a CPU count that makes no sense is bounded", "[linux][cpus]") {
  FakeKernel kernel;
  kernel.put(kernel.symbols.find("nr_cpu_ids")->address, 0xffffffff, 4);
  kernel.symbols.add("__cpu_possible_mask", kernel.direct_map());  // whatever lies there
  CHECK(find(kernel).size() <= 65536);
}

TEST_CASE("without symbols there is nothing to say", "[linux][cpus]") {
  FakeKernel kernel;
  kernel.add_prstatus(1, 0x1111);
  for (const char* name : {"nr_cpu_ids", "__cpu_possible_mask", "__cpu_online_mask", "__per_cpu_offset", "runqueues"}) kernel.symbols.remove(name);
  CHECK(find(kernel).empty());
  CHECK(!os_linux::panic_cpu(kernel.view(), {}));
}

TEST_CASE("a kernel that hides its run queues: tasks know them", "[linux][cpus]") {
  FakeKernel kernel;
  kernel.types.define("rq", 0x100, "curr 0x20 *task_struct; idle 0x28 *task_struct; cpu 0x30 s4; online 0x34 s4");
  kernel.types.define("cfs_rq", 0x40, "rq 0x10 *rq");
  kernel.types.extend("task_struct", "se.cfs_rq 0x180 *cfs_rq");
  const VirtAddr runs = kernel.add_process({101, "runs"}), sleeps = kernel.add_process({102, "sleeps"}), idle = kernel.allocate(0x200);
  const VirtAddr queue = kernel.allocate(0x100), group = kernel.allocate(0x40);
  kernel.set("rq", queue, "curr", runs.raw);
  kernel.set("rq", queue, "idle", idle.raw);
  kernel.set("rq", queue, "cpu", 3);
  kernel.set("rq", queue, "online", 1);
  kernel.set("cfs_rq", group, "rq", queue.raw);
  for (const VirtAddr task : {runs, sleeps}) kernel.set("task_struct", task, "se.cfs_rq", group.raw);
  for (const char* name : {"nr_cpu_ids", "__cpu_possible_mask", "__cpu_online_mask", "__per_cpu_offset", "runqueues"}) kernel.symbols.remove(name);
  const auto cpus = find(kernel);
  REQUIRE(cpus.size() == 1);
  CHECK(cpus[0].number == 3);
  CHECK(cpus[0].online);
  CHECK(cpus[0].current == runs);
  CHECK(cpus[0].idle == idle);
}

TEST_CASE("a kernel that hides which CPU panicked: the one that is in panic()", "[linux][cpus]") {
  FakeKernel kernel;
  kernel.symbols.remove("panic_cpu");
  kernel.symbols.add("panic", {0xffffffff81001000}, 0x100);
  const VirtAddr stack = kernel.allocate(0x1000), other = kernel.allocate(0x1000);
  kernel.put(other + 0x40, 0xffffffff81001100);  // behind it
  kernel.put(stack + 0x40, 0xa13fffff81001010);  // signed
  std::vector<os_linux::CpuSlot> cpus{{0, true, {}, {}, {}, RegisterFile(kernel.view().arch)}, {1, true, {}, {}, {}, std::nullopt},
                                      {2, true, {}, {}, {}, RegisterFile(kernel.view().arch)}};
  cpus[0].registers->set("rsp", (other + 0x10).raw);
  cpus[2].registers->set("rsp", (stack + 0x10).raw);
  CHECK(os_linux::panic_cpu(kernel.view(), {cpus[0], cpus[1]}) == std::nullopt);
  CHECK(os_linux::panic_cpu(kernel.view(), cpus) == 2u);
}
