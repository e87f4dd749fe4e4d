// The registers of CPUs, as per-CPU ELF notes keep them.
#pragma once

#include <vector>

#include "engine/dump.h"
#include "engine/registers.h"

namespace kvm {

struct CpuState {
  RegisterFile registers;
  std::uint64_t pid = 0;  // the process id in the note: a hint; QEMU writes the CPU's number plus one
};

// One entry per CPU note, in file order.  Notes of several owners about the same CPU are merged: the n-th of each.
std::vector<CpuState> cpu_states(const std::vector<Note>& notes, const arch::Arch& arch);

// Of the rows of one machine that differ in byte order, the one that the CPUs' registers show (arch::OrderSign), else `row`.
const arch::Arch* row_in_kernel_order(const std::vector<Note>& notes, const arch::Arch* row);

}  // namespace kvm
