// Unwind information out of the code itself, for kernels that keep no unwind tables: what each instruction does to the frame
// (arch::FrameCode) is followed along all ways through a function.
#pragma once

#include <vector>

#include "arch/arch.h"
#include "engine/pieces.h"

namespace kvm {

struct CodeFunction {
  VirtAddr address;           // it ends where the next one begins
  bool called = false;        // where it saves what it interrupted: that made a system call
};

// Rows by address for the functions, which are in the order of addresses, in a section that begins at `start`.  A processor whose
// frames are not known has no rows.
std::vector<UnwindRow> frames_of_code(const arch::Arch& arch, VirtAddr start, Bytes code, const std::vector<CodeFunction>& functions);

}  // namespace kvm
