// The Linux model as the engine opens it: registers of running and sleeping tasks, user memory, the panic's words.
#include <catch2/catch.hpp>

#include <algorithm>

#include "engine/os.h"
#include "tests/support/printk_ring.h"

using namespace kvm;
using kvm::testing::FakeKernel;

namespace {

const OsKind& linux_kind() {
  for (const OsKind* kind : os_kinds())
    if (kind->name == "linux") return *kind;
  FAIL("no linux row");
  return *os_kinds()[0];
}

// The model borrows the view; both live here.
struct Opened {
  KernelView view;
  Dump dump;
  KernelMap map;
  std::unique_ptr<OsModel> os;

  explicit Opened(const FakeKernel& kernel) : view(kernel.view()), dump(kernel.dump()) {
    map.mappings = view.space.mappings();
    auto model = linux_kind().open(view, dump, map);
    REQUIRE(model);
    os = std::move(*model);
  }
  Task task(std::uint64_t tid) const {
    std::vector<std::string> remarks;
    auto tasks = os->tasks(remarks);
    REQUIRE(tasks);
    auto found = std::ranges::find(*tasks, tid, &Task::tid);
    REQUIRE(found != tasks->end());
    return *found;
  }
};

}  // namespace

TEST_CASE("the row", "[linux]") {
  FakeKernel kernel;
  const Dump dump = kernel.dump();
  CHECK(linux_kind().probe(kernel.input(dump)));
  const KernelView view = kernel.view();
  REQUIRE(linux_kind().open(view, dump, {}));
  kernel.types.remove("task_struct");
  CHECK(linux_kind().open(view, dump, {}).error().code == Errc::not_found);
  kernel.symbols.remove("init_task");
  CHECK(linux_kind().open(view, dump, {}).error().note.find("init_task") != std::string::npos);
}

TEST_CASE("the release comes from the map, else from the kernel itself", "[linux]") {
  FakeKernel kernel;
  const VirtAddr uts = kernel.variable("init_uts_ns", 0x200);
  kernel.set_text("uts_namespace", uts, "name.release", "6.1.0-from-uts");
  const Opened opened(kernel);
  CHECK(opened.os->name() == "linux");
  CHECK(opened.os->release() == "6.1.0-from-uts");
  KernelMap map;
  map.release = "6.1.0-from-map";
  CHECK((*linux_kind().open(opened.view, opened.dump, map))->release() == "6.1.0-from-map");
}

TEST_CASE("whose registers a task has", "[linux]") {
  FakeKernel kernel;
  const VirtAddr running = kernel.add_process({1, "running"}), stopped = kernel.add_process({2, "stopped"});
  const VirtAddr silent = kernel.add_process({3, "silent"}), asleep = kernel.add_process({4, "asleep"});
  kernel.add_process({5, "unreadable"});
  const VirtAddr first = kernel.add_cpu(running, kernel.init_task());
  const VirtAddr second = kernel.add_cpu(stopped, stopped, false);
  kernel.add_cpu(silent, silent);
  kernel.add_qemu_note(0x1111, first.raw);
  kernel.add_qemu_note(0x2222, second.raw);
  const VirtAddr frame = kernel.allocate(0x38);
  kernel.put(frame + 0x30, 0xffffffff81000999);
  for (VirtAddr task : {running, stopped, silent, asleep}) kernel.set("task_struct", task, "thread.sp", frame.raw);

  const Opened opened(kernel);
  CHECK(opened.os->registers(opened.task(1))->get("rsp") == 0x1111u);
  // panic() marks the CPUs that it stopped as offline; what ran there still has the CPU's registers.
  CHECK(opened.os->registers(opened.task(2))->get("rsp") == 0x2222u);
  // A CPU without a note: the saved frame is from an earlier switch and would lie.
  auto none = opened.os->registers(opened.task(3));
  REQUIRE(!none);
  CHECK(none.error().note.find("CPU 2") != std::string::npos);
  CHECK(opened.os->registers(opened.task(4))->get("rip") == 0xffffffff81000999u);
  CHECK(!opened.os->registers(opened.task(5)));
  CHECK(opened.os->cpus().size() == 3);
  CHECK(!opened.os->cpus()[1].online);
}

TEST_CASE("a process's own memory", "[linux]") {
  FakeKernel kernel;
  const VirtAddr process = kernel.add_process({1, "user"});
  kernel.add_process({2, "kthread", 0x402, 0, 0x200000});
  const VirtAddr mm = kernel.allocate(0x40);
  const VirtAddr pgd = kernel.direct_map() + 0x300000;
  testing::X86Tables tables(kernel.memory, {0x300000}, 4, {0x301000});
  tables.map({0x400000}, {0x310000}, 0x1000, 0x67);
  kernel.memory.put({0x310000}, "hello from user space");
  kernel.set("mm_struct", mm, "pgd", pgd.raw);
  kernel.set("task_struct", process, "mm", mm.raw);

  const Opened opened(kernel);
  auto space = opened.os->user_space(opened.task(1));
  REQUIRE(space);
  std::uint8_t text[5];
  CHECK(space->read({0x400000}, text) == 5u);
  CHECK(std::string(text, text + 5) == "hello");
  CHECK(space->extent_at({0x400000})->access.user);
  CHECK(space->translate({0x401000}).error().code == Errc::not_mapped);
  CHECK(opened.os->user_space(opened.task(2)).error().code == Errc::not_found);

  kernel.set("mm_struct", mm, "pgd", 0x10);
  const Opened broken(kernel);
  CHECK(broken.os->user_space(broken.task(1)).error().code == Errc::not_mapped);
}

TEST_CASE("the panic's words are the last that say so", "[linux]") {
  FakeKernel kernel;
  testing::PrintkRing ring(kernel);
  ring.window(0, 2);
  ring.record(0, "BUG: unable to handle page fault");
  ring.record(1, "Oops: 0002 [#1] SMP");
  ring.record(2, "Tainted: G");
  CHECK(Opened(kernel).os->panic_message() == "BUG: unable to handle page fault");
  ring.window(0, 3);
  ring.record(3, "Kernel panic - not syncing: Fatal exception");
  CHECK(Opened(kernel).os->panic_message() == "Kernel panic - not syncing: Fatal exception");
}

TEST_CASE("without a log there is no panic message", "[linux]") {
  FakeKernel kernel;
  CHECK(Opened(kernel).os->panic_message().empty());
}
