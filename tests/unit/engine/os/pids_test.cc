// The table of process ids: what finds tasks when their list is cut.
#include <catch2/catch.hpp>

#include <algorithm>

#include "engine/os/linux/model.h"
#include "tests/support/pid_table.h"

using namespace kvm;
using kvm::testing::FakeKernel;

namespace {

using kvm::testing::PidTable;

std::vector<std::uint64_t> found(const FakeKernel& kernel) {
  std::vector<std::uint64_t> addresses;
  for (VirtAddr at : os_linux::tasks_by_pid(kernel.view())) addresses.push_back(at.raw);
  return addresses;
}

}  // namespace

TEST_CASE("every id's task, in order", "[linux][pids]") {
  FakeKernel kernel;
  PidTable table(kernel);
  const VirtAddr a = kernel.add_process({1, "a"}), b = kernel.add_process({70, "b"}), c = kernel.add_process({2, "c"});
  table.add(1, a);
  table.add(70, b);
  table.add(2, c);
  table.add(3, {0});  // an id that is only a session's by now
  CHECK(found(kernel) == std::vector<std::uint64_t>{a.raw, c.raw, b.raw});
}

TEST_CASE("a single id is the table", "[linux][pids]") {
  FakeKernel kernel;
  PidTable table(kernel);
  const VirtAddr a = kernel.add_process({1, "a"}), pid = kernel.allocate(0x80);
  kernel.put(pid + 0x10, a.raw + 0x1a0);
  kernel.put(kernel.symbols.find("init_pid_ns")->address + 8, pid.raw);
  CHECK(found(kernel) == std::vector<std::uint64_t>{a.raw});
}

TEST_CASE("a table that leads back into itself ends", "[linux][pids]") {
  FakeKernel kernel;
  PidTable table(kernel);
  const VirtAddr a = kernel.add_process({1, "a"});
  table.add(1, a);
  for (std::uint64_t i = 1; i < 64; ++i) kernel.put(table.slot(table.root(), i), table.root().raw + 2);
  for (std::uint64_t i = 2; i < 64; ++i) kernel.put(table.slot(table.node(0), i), (i & 1 ? table.root() : table.node(0)).raw + 2);
  CHECK(found(kernel) == std::vector<std::uint64_t>{a.raw});
}

TEST_CASE("nodes that are not there or not aligned are passed over", "[linux][pids]") {
  FakeKernel kernel;
  PidTable table(kernel);
  const VirtAddr a = kernel.add_process({1, "a"});
  table.add(1, a);
  kernel.put(table.slot(table.root(), 5), 0x12);                 // a node at 0x10: reserved for internal entries
  kernel.put(table.slot(table.root(), 6), 0xffffc90000000002);   // not mapped
  kernel.put(table.slot(table.node(0), 9), 0x1235);              // a value entry
  kernel.put(table.slot(table.node(0), 10), 0x4000);             // a pid that is not mapped
  CHECK(found(kernel) == std::vector<std::uint64_t>{a.raw});
  kernel.symbols.remove("init_pid_ns");
  CHECK(found(kernel).empty());
}

TEST_CASE("a cut list of tasks is completed by the table", "[linux][pids]") {
  FakeKernel kernel;
  PidTable table(kernel);
  const VirtAddr a = kernel.add_process({1, "a"}), b = kernel.add_process({2, "b"});
  const VirtAddr thread = kernel.add_thread(b, {3, "b-thread"});
  table.add(1, a);
  table.add(2, b);
  table.add(3, thread);
  kernel.put(a + kernel.offset("task_struct", "tasks"), 0xdead000000000100);  // LIST_POISON1
  std::vector<std::string> remarks;
  auto tasks = os_linux::find_tasks(kernel.view(), {}, remarks);
  REQUIRE(tasks);
  std::vector<std::uint64_t> tids;
  for (const Task& task : *tasks) tids.push_back(task.tid);
  std::ranges::sort(tids);
  CHECK(tids == std::vector<std::uint64_t>{1, 2, 3});
  CHECK(!remarks.empty());
}
