// Types from CTF: what a FreeBSD kernel knows of its own types when it has no debug file (engine/symbols/ctf_entries.h).
#pragma once

#include <memory>

#include "engine/symbols.h"

namespace kvm {

// `section` outlives the result, which is all that there is of a child, too: types of its parent are not known then.
Result<std::unique_ptr<Types>> open_ctf(Bytes section, std::uint8_t pointer_bytes);
// A module's that was made against its kernel's; a type's name means its own one first.
Result<std::unique_ptr<Types>> open_child_ctf(Bytes section, Bytes parent, std::uint8_t pointer_bytes);

}  // namespace kvm
