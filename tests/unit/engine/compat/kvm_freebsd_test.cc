// libkvm on a FreeBSD crash with nothing but the kernel that is booted: types are its CTF, and no plugin is asked.
#include <fcntl.h>

#include <catch2/catch.hpp>
#include <map>

#include "engine/compat/kvm.h"
#include "tests/unit/engine/os/freebsd/crash_files.h"

using namespace kvm::test;
using kvm::testing::FakeFreebsd;
using kvm::testing::TempDir;

TEST_CASE("kvm_getprocs by CTF", "[libkvm][ctf]") {
  const TempDir folder;
  FakeFreebsd fake;
  populate(fake);
  const std::string core = folder.write("vmcore.0", minidump_of(fake)), exec = folder.write("kernel", kernel_file(fake, kernel_types(GENERATE(2, 3)).bytes(true)));
  char why[2048] = "";
  kvm_t* kd = kvm_open2(exec.c_str(), core.c_str(), O_RDONLY, why, nullptr);
  INFO(why);
  REQUIRE(kd);
  int count = 0;
  const struct kinfo_proc* procs = kvm_getprocs(kd, KERN_PROC_PROC, 0, &count);
  INFO(kvm_geterr(kd));
  REQUIRE(procs);
  REQUIRE(count == 3);
  std::map<pid_t, const struct kinfo_proc*> by_pid;
  for (int i = 0; i < count; ++i) by_pid[procs[i].ki_pid] = &procs[i];
  REQUIRE(by_pid.count(806));
  CHECK(by_pid[806]->ki_ppid == 1);
  CHECK(by_pid[806]->ki_uid == 1001);
  CHECK(by_pid[806]->ki_runtime == 2'500'000);
  CHECK(by_pid[806]->ki_stat == SSLEEP);
  CHECK(by_pid[900]->ki_stat == SRUN);
  kvm_close(kd);
}
