// The table of process ids of a synthetic kernel.
#pragma once

#include "tests/support/kernel_fixture.h"

namespace kvm::testing {

// An XArray of two levels, as lib/xarray.c makes it: 64 slots, nodes marked by 2 in the low bits.
class PidTable {
 public:
  explicit PidTable(FakeKernel& kernel) : kernel_(kernel) {
    kernel.types.define("pid_namespace", 0x100, "idr.idr_rt.xa_head 0x8 *");
    kernel.types.define("xa_node", 0x240, "slots 0x28 a512");
    kernel.types.define("pid", 0x80, "tasks[0].first 0x10 *");
    kernel.types.define("task_struct", 0x200, std::string(task_members));
    head_ = kernel.variable("init_pid_ns", 0x100) + 8;
    root_ = kernel.allocate(0x240);
    kernel.put(head_, root_.raw + 2);
  }

  VirtAddr slot(VirtAddr node, std::uint64_t index) const { return node + 0x28 + index * 8; }
  VirtAddr root() const { return root_; }
  VirtAddr node(std::uint64_t index) {  // the child for 64 ids, made on demand
    const VirtAddr at = slot(root_, index);
    VirtAddr child{kernel_.view().pointer_at(at)->raw & ~3ull};
    if (!child.raw) kernel_.put(at, (child = kernel_.allocate(0x240)).raw + 2);
    return child;
  }
  void add(std::uint64_t number, VirtAddr task) {
    const VirtAddr pid = kernel_.allocate(0x80);
    kernel_.put(pid + 0x10, task.raw ? task.raw + 0x1a0 : 0);
    kernel_.put(slot(node(number / 64), number % 64), pid.raw);
  }

 private:
  static constexpr std::string_view task_members =
      "thread_info.cpu 0x14 u4; __state 0x18 u4; stack 0x20 *; flags 0x2c u4; tasks 0x40 r16:list_head; mm 0x50 *mm_struct;"
      "exit_state 0x60 s4; pid 0x68 s4; tgid 0x6c s4; real_parent 0x70 *task_struct; thread_node 0x80 r16:list_head;"
      "thread_group 0x90 r16:list_head; comm 0xc0 a16; signal 0xd0 *signal_struct; cred 0xb0 *cred; pid_links[0] 0x1a0 r16";
  FakeKernel& kernel_;
  VirtAddr head_, root_;
};

}  // namespace kvm::testing
