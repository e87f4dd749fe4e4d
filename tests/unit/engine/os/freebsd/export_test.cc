// A FreeBSD crash that was exported as an ELF core, and opened again: the same machine.
#include <catch2/catch.hpp>

#include "engine/export/elf_core.h"
#include "tests/unit/engine/os/freebsd/crash_files.h"

using namespace kvm;
using namespace kvm::test;
using kvm::testing::FakeFreebsd;
using kvm::testing::TempDir;

namespace {

Kernel open(const std::string& dump, const std::string& file) {
  OpenOptions options;
  options.dump = dump;
  options.vmlinux = file;
  options.debug_files = !file.empty();
  auto kernel = Kernel::open(options);
  REQUIRE(kernel);
  return std::move(*kernel);
}

std::string exported(const TempDir& folder, const Kernel& kernel) {
  const auto plan = plan_core(kernel);
  REQUIRE(plan);
  testing::Buffer bytes(plan->size);
  const auto sink = [&](std::uint64_t offset, Bytes part) -> Result<void> {
    REQUIRE(offset + part.size() <= bytes.size());
    std::ranges::copy(part, bytes.begin() + static_cast<std::ptrdiff_t>(offset));
    return {};
  };
  REQUIRE(write_core(kernel, *plan, sink, {}));
  return folder.write("exported.elf", bytes);
}

std::string lines_of(const Kernel& kernel) {
  std::string text(kernel.system());
  text += " " + kernel.os().release() + ", " + std::to_string(kernel.cpus().size()) + " CPUs, " + kernel.os().panic_message();
  if (const auto log = kernel.os().log())
    for (const LogLine& line : *log) text += "\n" + line.text;
  if (!kernel.os_missing().empty() || !kernel.tasks()) return text;
  for (const Task& task : *kernel.tasks()) {
    const auto registers = kernel.registers(task);
    text += "\n" + std::to_string(task.pid) + " " + std::to_string(task.tid) + " " + task.state + std::to_string(task.uid) + " " + task.shown_name() +
            (task.crashed ? " crashed " : " ") + (registers ? std::to_string(registers->get("rip").value_or(0)) : "none");
  }
  return text;
}

}  // namespace

TEST_CASE("a FreeBSD core that was exported is what it was", "[freebsd][export]") {
  const TempDir folder;
  FakeFreebsd fake;
  populate(fake);
  fake.put_text(fake.variable("osrelease", 32), "15.1-RELEASE");
  fake.variable("pcb_size", 4, 0x140);
  fake.variable("dumptid", 4, 100900);
  fake.put(fake.variable("dumppcb", 0x140) + 0x38, 0x1111, 8);
  fake.variable("stoppcbs", 2 * 0x140);
  fake.put(fake.variable("all_cpus", 128), 0b11, 8);
  fake.variable("mp_maxid", 4, 1);
  const std::string log = "FreeBSD 15.1-RELEASE GENERIC\npanic: no way\n";
  const std::string file = folder.write("kernel", kernel_file(fake, kernel_types(3).bytes(true)));
  const std::string dump = folder.write("vmcore.0", minidump_of(fake, {log.begin(), log.end()}));
  const Kernel first = open(dump, file);
  const std::string core = exported(folder, first);
  const Kernel again = open(core, file);
  CHECK(again.system() == "FreeBSD");
  CHECK(again.tasks()->size() == 3);
  CHECK(lines_of(again) == lines_of(first));
  CHECK(again.map().slide == first.map().slide);
  CHECK(again.dump().notes.size() == first.cpus().size() + 1);  // registers of CPUs, and lldb's

  // Without the kernel's file the core tells what the dump does, and has CPUs' registers.
  const Kernel alone = open(core, "");
  CHECK(alone.system() == "FreeBSD");
  CHECK(alone.os().release() == "15.1-RELEASE");
  CHECK(alone.os().panic_message() == "no way");
  CHECK(alone.os().log()->size() == 2);
  CHECK(alone.cpus().size() == 2);
}
