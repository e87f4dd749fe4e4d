// A crash of which there is only the kernel that FreeBSD boots: its types are in CTF.
#include <catch2/catch.hpp>

#include "engine/kernel.h"
#include "tests/unit/engine/os/freebsd/crash_files.h"

using namespace kvm;
using namespace kvm::test;
using kvm::testing::FakeFreebsd;
using kvm::testing::TempDir;

namespace {

Result<Kernel> open(const TempDir& folder, const FakeFreebsd& fake, const testing::Buffer& ctf) {
  OpenOptions options;
  options.dump = folder.write("vmcore.0", minidump_of(fake));
  options.vmlinux = folder.write("kernel", kernel_file(fake, ctf));
  return Kernel::open(options);
}

const Task& task_of(const Kernel& kernel, std::uint64_t pid) {
  const auto& tasks = kernel.tasks();
  REQUIRE(tasks);
  for (const Task& task : *tasks)
    if (task.pid == pid) return task;
  FAIL("no process " << pid);
  return tasks->front();
}

bool has_remark(const Kernel& kernel, std::string_view text) {
  for (const std::string& remark : kernel.remarks())
    if (remark.find(text) != remark.npos) return true;
  return false;
}

}  // namespace

TEST_CASE("states, parents, users and times by CTF alone", "[freebsd][ctf]") {
  const TempDir folder;
  FakeFreebsd fake;
  populate(fake);
  const auto ctf = kernel_types(GENERATE(2, 3)).bytes(GENERATE(false, true));
  const auto kernel = open(folder, fake, ctf);
  REQUIRE(kernel);
  CHECK_FALSE(has_remark(*kernel, "no debug information"));
  CHECK(kernel->tasks()->size() == 3);
  const Task& shell = task_of(*kernel, 806);
  CHECK(shell.state == 'S');
  CHECK(shell.ppid == 1u);
  CHECK(shell.uid == 1001);
  CHECK(task_of(*kernel, 1).state == 'D');
  CHECK(task_of(*kernel, 900).state == 'R');
  REQUIRE(kernel->os().statistics());
  const auto details = kernel->os().statistics()->details(shell);
  REQUIRE(details);
  CHECK(details->run_time == 2'500'000);
  CHECK(details->user_time == 1'500'000);
}

TEST_CASE("without CTF, or with CTF that is damaged, there are no states, and a remark", "[freebsd][ctf]") {
  const TempDir folder;
  FakeFreebsd fake;
  populate(fake);
  auto ctf = kernel_types(3).bytes(true);
  ctf.resize(ctf.size() / 2);
  if (GENERATE(false, true)) ctf.clear();
  const auto kernel = open(folder, fake, ctf);
  REQUIRE(kernel);
  CHECK(has_remark(*kernel, "no debug information"));
  CHECK(task_of(*kernel, 806).state == '?');
  CHECK_FALSE(task_of(*kernel, 806).ppid);
  CHECK(task_of(*kernel, 900).state == 'R');
}

TEST_CASE("a minidump tells its log without any kernel", "[freebsd][log]") {
  const TempDir folder;
  FakeFreebsd fake;
  const std::string ring = "newest\ncut line\npanic: no way\nrest: ";
  testing::Buffer state = testing::number_row({0xfffff80000001000}, 8);  // msg_ptr, msg_magic, msg_size, msg_wseq
  const bool known = GENERATE(true, false);
  for (const std::uint64_t number : {std::uint64_t{0x063062}, std::uint64_t{ring.size()}, std::uint64_t{7 + ring.size()}}) {
    const auto bytes = testing::number_row({known ? number : 0}, 4);
    state.insert(state.end(), bytes.begin(), bytes.end());
  }
  OpenOptions options;
  options.dump = folder.write("vmcore.0", minidump_of(fake, {ring.begin(), ring.end()}, state));
  options.debug_files = false;
  const auto kernel = Kernel::open(options);
  REQUIRE(kernel);
  const auto log = kernel->os().log();
  REQUIRE(log);
  std::vector<std::string> texts;
  for (const LogLine& line : *log) texts.push_back(line.text);
  if (known) CHECK(texts == std::vector<std::string>{"panic: no way", "rest: newest"});
  else CHECK(texts == std::vector<std::string>{"newest", "cut line", "panic: no way", "rest: "});
  CHECK(kernel->os().panic_message() == "no way");
  CHECK(kernel->cpus().empty());
  CHECK(has_remark(*kernel, "CPUs and tasks are not known"));
}
