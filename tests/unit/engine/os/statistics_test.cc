// What ps and its kind ask of Linux, on structures that the test writes down.
#include "engine/os/linux/statistics.h"

#include <catch2/catch.hpp>

#include "tests/support/kernel_fixture.h"

using namespace kvm;
using kvm::testing::FakeKernel;

namespace {

struct Machine {
  FakeKernel kernel;
  VirtAddr task;
  Task row;

  Machine() {
    auto& t = kernel.types;
    t.define("mm_struct", 0x100, "pgd 0 *; total_vm 8 u8; data_vm 0x10 u8; stack_vm 0x18 u8; start_code 0x20 u8; end_code 0x28 u8; "
                                 "arg_start 0x30 *; arg_end 0x38 *; env_start 0x40 *; env_end 0x48 *; rss_stat[0].count 0x50 u8; "
                                 "rss_stat[1].count 0x58 u8; rss_stat[3].count 0x60 u8; exe_file 0x68 *");
    t.enumerator("MM_FILEPAGES", 0);
    t.enumerator("MM_ANONPAGES", 1);
    t.enumerator("MM_SHMEMPAGES", 3);
    task = kernel.add_process({77, "worker"});
    row.pid = row.tid = 77;
    row.comm = "worker";
    row.handle = task;
  }
  const KernelView& view() {
    if (!view_) view_.emplace(kernel.view());
    return *view_;
  }

  Dump dump;
  KernelMap map;
  std::optional<KernelView> view_;
};

const OsKind& linux_kind() {
  for (const OsKind* kind : os_kinds())
    if (kind->name == "linux") return *kind;
  throw std::runtime_error("no such row");
}

std::unique_ptr<OsModel> model_of(Machine& m) {
  m.dump = m.kernel.dump();
  auto model = linux_kind().open(m.view(), m.dump, m.map);
  REQUIRE(model);
  return std::move(*model);
}

}  // namespace

TEST_CASE("load averages are fractions of 2048", "[statistics]") {
  Machine m;
  const VirtAddr at = m.kernel.variable("avenrun", 24);
  m.kernel.put(at, 2048 * 3 / 2);
  m.kernel.put(at + 8, 2048);
  m.kernel.put(at + 16, 512);
  const auto model = model_of(m);
  const auto loads = model->statistics()->load_average();
  REQUIRE(loads);
  CHECK(*loads == std::array<double, 3>{1.5, 1.0, 0.25});
}

TEST_CASE("without their variables there are no load averages and times", "[statistics]") {
  Machine m;
  const auto model = model_of(m);
  CHECK(model->statistics()->load_average().error().code == Errc::not_found);
  CHECK(model->statistics()->cpu_times().error().code == Errc::not_found);
  CHECK(model->statistics()->swap_devices()->empty());  // CONFIG_SWAP=n
}

TEST_CASE("swap devices have names, and counters with a flag in them", "[statistics]") {
  Machine m;
  auto& t = m.kernel.types;
  t.define("swap_info_struct", 0x40, "flags 0 u8; pages 8 u4; inuse_pages.counter 0x10 u8; swap_file 0x18 *file");
  t.define("file", 0x20, "f_path.dentry 0 *dentry; f_inode 8 *inode");
  t.define("dentry", 0x20, "d_parent 0 *dentry; d_name.name 8 *");
  t.define("inode", 0x10, "i_mode 0 u2");
  const auto dentry = [&](VirtAddr parent, const char* name) {
    const VirtAddr at = m.kernel.allocate(0x20);
    m.kernel.put(at, parent.raw ? parent.raw : at.raw);
    m.kernel.put(at + 8, m.kernel.text(name).raw);
    return at;
  };
  const VirtAddr root = dentry({}, "/");
  const auto device = [&](std::uint64_t flags, std::uint64_t pages, std::uint64_t used, VirtAddr entry, std::uint64_t mode) {
    const VirtAddr inode = m.kernel.allocate(0x10), file = m.kernel.allocate(0x20), at = m.kernel.allocate(0x40);
    m.kernel.put(inode, mode, 2);
    m.kernel.put(file, entry.raw);
    m.kernel.put(file + 8, inode.raw);
    m.kernel.put(at, flags);
    m.kernel.put(at + 8, pages, 4);
    m.kernel.put(at + 0x10, used);
    m.kernel.put(at + 0x18, file.raw);
    return at;
  };
  const VirtAddr table = m.kernel.variable("swap_info", 3 * 8);
  m.kernel.variable("nr_swapfiles", 4, 3);
  m.kernel.put(table, device(3, 1000, 10, dentry(root, "sda2"), 0060660).raw);
  m.kernel.put(table + 8, device(0, 5, 5, root, 0).raw);  // no longer in use
  m.kernel.put(table + 16, device(3, 500, (1u << 30) + 20, dentry(dentry(root, "var"), "swapfile"), 0100600).raw);
  const auto model = model_of(m);
  const auto devices = model->statistics()->swap_devices();
  REQUIRE(devices);
  REQUIRE(devices->size() == 2);
  CHECK((*devices)[0].name == "sda2");
  CHECK((*devices)[0].in_dev);
  CHECK((*devices)[0].total == 1000);
  CHECK((*devices)[0].used == 10);
  CHECK((*devices)[1].name == "/var/swapfile");
  CHECK(!(*devices)[1].in_dev);
  CHECK((*devices)[1].used == 20);
}

TEST_CASE("a process's memory and arguments", "[statistics]") {
  Machine m;
  const VirtAddr mm = m.kernel.allocate(0x100);
  m.kernel.put(mm + 8, 10);
  m.kernel.put(mm + 0x50, 3);
  m.kernel.put(mm + 0x58, ~std::uint64_t{4});  // a counter that lags behind is below zero
  m.kernel.put(mm + 0x60, 2);
  m.kernel.put(mm + 0x20, 0x400000);
  m.kernel.put(mm + 0x28, 0x401001);
  m.kernel.set("task_struct", m.task, "mm", mm.raw);
  const auto model = model_of(m);
  const auto details = model->statistics()->details(m.row);
  REQUIRE(details);
  CHECK(details->virtual_bytes == 40960);
  CHECK(details->resident_pages == 5);
  CHECK(details->text_pages == 2);
  CHECK(details->name == "worker");
  CHECK(details->emulation == "Linux");
}

TEST_CASE("per-CPU variables are moved to a CPU's copy, others are none", "[statistics]") {
  Machine m;
  const VirtAddr idle = m.kernel.allocate(*m.kernel.types.size_of("task_struct"));
  m.kernel.add_cpu(m.task, m.kernel.init_task());
  m.kernel.add_cpu(m.task, idle);
  m.kernel.symbols.add("__per_cpu_start", {0x1000});
  m.kernel.symbols.add("__per_cpu_end", {0x3000});
  const auto model = model_of(m);
  const Statistics& known = *model->statistics();
  CHECK(known.cpu_limit() == 2u);
  CHECK(known.cpu_count() == 2u);
  const auto first = known.cpu_variable({0x1010}, 0), second = known.cpu_variable({0x1010}, 1);
  REQUIRE(first);
  REQUIRE(second);
  CHECK(*first != *second);
  CHECK(known.cpu_variable({0x3000}, 0).error().code == Errc::not_found);
  CHECK(known.cpu_object({0x1010}, 1) == *second);
  CHECK(!known.cpu_object({0x1010}, 2));
  const auto area = known.cpu_area(1);
  REQUIRE(area);
  REQUIRE(*area);
  CHECK((*area)->size == 0x2000);
  CHECK((*area)->first.raw + 0x10 == second->raw);
  REQUIRE(known.cpu_area(2));
  CHECK(!*known.cpu_area(2));
  CHECK(known.network_variable({0x1010}).error().code == Errc::not_found);
}
