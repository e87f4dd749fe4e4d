// Call-frame information (DWARF 5, section 6.4) made of a kernel's own unwind tables.
#pragma once

#include "arch/arch.h"
#include "engine/pieces.h"

namespace kvm {

// The contents of a `.debug_frame` section for all pieces; empty when none has unwind rows.  User code gets a frame too,
// the outermost one, so that a debugger stops there and does not guess.
std::vector<std::uint8_t> make_debug_frame(const arch::Arch& arch, const Pieces& pieces);

}  // namespace kvm
