// Who called panic(), from the stack alone.  The call: Intel SDM volume 2, "CALL", E8 cd.
#include <catch2/catch.hpp>

#include "engine/os/linux/model.h"
#include "tests/support/kernel_fixture.h"

using namespace kvm;
using kvm::testing::FakeKernel;

namespace {

// A call at `at`; returns where it goes back to.
VirtAddr put_call(FakeKernel& kernel, VirtAddr at, VirtAddr target) {
  kernel.put(at, 0xe8, 1);
  kernel.put(at + 1, target.raw - (at.raw + 5), 4);
  return at + 5;
}

}  // namespace

TEST_CASE("the task that panicked is where it called panic()", "[linux][panic]") {
  FakeKernel kernel;
  const VirtAddr panic = kernel.image() + 0x9000, other = kernel.image() + 0xa000, task = kernel.add_process({1, "init"});
  kernel.symbols.add("panic", panic, 0x100);
  const VirtAddr into_panic = put_call(kernel, panic + 0x20, other), back = put_call(kernel, kernel.image() + 0xb000, panic);
  const VirtAddr stack = *Record(kernel.view(), "task_struct", task).pointer("stack");
  CHECK(!os_linux::panic_caller(kernel.view(), task));
  kernel.put(stack + 0x3000, into_panic.raw);
  CHECK(!os_linux::panic_caller(kernel.view(), task));
  kernel.put(stack + 0x3008, 0x1234);
  kernel.put(stack + 0x3010, back.raw);
  const auto found = os_linux::panic_caller(kernel.view(), task);
  REQUIRE(found);
  CHECK(found->get("rip") == back.raw - 5);
  CHECK(found->get("rsp") == stack.raw + 0x3018);
  CHECK(!found->get("rbp"));
}

TEST_CASE("no panic(), or no stack: no frame", "[linux][panic]") {
  FakeKernel kernel;
  const VirtAddr task = kernel.add_process({1, "init"});
  CHECK(os_linux::panic_caller(kernel.view(), task).error().code == Errc::not_found);
  kernel.set("task_struct", task, "stack", 0);
  CHECK(!os_linux::panic_caller(kernel.view(), task));
}
