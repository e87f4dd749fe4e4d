// The facade over parts that are put together by hand.
#include "engine/kernel.h"

#include <catch2/catch.hpp>

#include "tests/support/kernel_fixture.h"

using namespace kvm;
using kvm::testing::FakeKernel;

namespace {

KernelParts parts_of(const FakeKernel& kernel, bool with_os = true) {
  KernelParts parts;
  parts.path = "fake.dump";
  parts.dump = kernel.dump();
  parts.arch = parts.dump.arch;
  parts.map.mappings = kernel.space().mappings();
  parts.map.release = FakeKernel::release;
  parts.map.build_id = FakeKernel::build_id;
  parts.symbols = std::make_unique<testing::FakeSymbols>(kernel.symbols);
  parts.types = std::make_unique<testing::FakeTypes>(kernel.types);
  for (const OsKind* kind : os_kinds())
    if (with_os && kind->name == "linux") parts.os = kind->open;
  return parts;
}

}  // namespace

TEST_CASE("tasks come in the order that people look at them", "[kernel]") {
  FakeKernel kernel;
  const VirtAddr crashed = kernel.add_process({90, "crashed"});
  kernel.add_process({7, "asleep"});
  const VirtAddr running = kernel.add_process({50, "running"});
  kernel.add_process({3, "asleep"});
  const VirtAddr idle = kernel.allocate(*kernel.types.size_of("task_struct"));
  kernel.add_cpu(running, kernel.init_task());
  kernel.add_cpu(crashed, idle);
  kernel.put(kernel.symbols.find("panic_cpu")->address, 1, 4);
  auto opened = Kernel::from_parts(parts_of(kernel));
  REQUIRE(opened);
  REQUIRE(opened->tasks());
  std::vector<std::uint64_t> tids;
  for (const Task& task : *opened->tasks()) tids.push_back(task.tid);
  CHECK(tids == std::vector<std::uint64_t>{90, 50, 3, 7, 0, 0});
  CHECK(opened->tasks()->front().crashed);
  CHECK(&opened->tasks() == &opened->tasks());
  CHECK(opened->os().name() == "linux");
  CHECK(opened->os_missing().empty());
  CHECK(opened->build_id() == FakeKernel::build_id);
}

TEST_CASE("remarks of the first walk are kept, once", "[kernel]") {
  FakeKernel kernel;
  const VirtAddr task = kernel.add_process({1, "a"});
  kernel.put(task + kernel.offset("task_struct", "tasks"), 0x10);
  auto opened = Kernel::from_parts(parts_of(kernel));
  REQUIRE(opened);
  CHECK(opened->remarks().empty());
  REQUIRE(opened->tasks());
  const auto remarks = opened->remarks();
  CHECK(!remarks.empty());
  REQUIRE(opened->tasks());
  CHECK(opened->remarks() == remarks);
  CHECK(!opened->modules());  // no type "module"
}

TEST_CASE("without an OS model there are CPUs", "[kernel]") {
  FakeKernel kernel;
  kernel.add_prstatus(300, 0x1111);
  kernel.add_prstatus(0, 0x2222);
  auto opened = Kernel::from_parts(parts_of(kernel, false));
  REQUIRE(opened);
  CHECK(opened->os().name() == "bare");
  REQUIRE(opened->tasks());
  REQUIRE(opened->tasks()->size() == 2);
  const Task& cpu = (*opened->tasks())[1];
  CHECK(cpu.comm == "CPU 1");
  CHECK(cpu.on_cpu);
  CHECK(opened->registers(cpu)->get("rsp") == 0x2222u);
  CHECK(opened->modules()->empty());
  CHECK(!opened->os().log());
  CHECK(opened->os().panic_message().empty());
  Task stranger;
  stranger.cpu = 9;
  CHECK(!opened->registers(stranger));
}

TEST_CASE("an OS model that cannot be opened leaves a remark and the CPUs", "[kernel]") {
  FakeKernel kernel;
  kernel.add_prstatus(300, 0x1111);
  kernel.symbols.remove("init_task");
  auto opened = Kernel::from_parts(parts_of(kernel));
  REQUIRE(opened);
  CHECK(opened->os_missing().find("init_task") != std::string::npos);
  REQUIRE(opened->remarks().size() == 1);
  CHECK(opened->remarks()[0].find("only CPUs are shown") != std::string::npos);
  CHECK(opened->tasks()->size() == 1);
}

TEST_CASE("a kernel without symbols, types and notes is still one", "[kernel]") {
  FakeKernel kernel;
  KernelParts parts;
  parts.dump = kernel.dump();
  parts.arch = parts.dump.arch;
  auto opened = Kernel::from_parts(std::move(parts));
  REQUIRE(opened);
  CHECK(opened->tasks()->empty());
  CHECK(!opened->symbols().find("init_task"));
  CHECK(opened->types().size_of("task_struct").error().code == Errc::not_found);
  CHECK(opened->lines_at({0xffffffff81000000}).empty());
  std::uint8_t byte[1];
  CHECK(opened->read({0xffffffff81000000}, byte).error().code == Errc::not_mapped);
}

TEST_CASE("a kernel reads through its map", "[kernel]") {
  FakeKernel kernel;
  auto opened = Kernel::from_parts(parts_of(kernel));
  REQUIRE(opened);
  std::uint8_t text[13];
  REQUIRE(opened->read(kernel.image() + 0x2000, text) == 13u);
  CHECK(std::string(text, text + 13) == "Linux version");
  const Kernel moved = std::move(*opened);
  CHECK(moved.view().address_of("_text")->raw == kernel.image().raw);
}

TEST_CASE("a dump that cannot be opened is one line that names the file", "[kernel]") {
  OpenOptions options;
  options.dump = "/nonexistent/vmcore";
  auto opened = Kernel::open(options);
  REQUIRE(!opened);
  CHECK(to_string(opened.error()).find("/nonexistent/vmcore") != std::string::npos);
}
