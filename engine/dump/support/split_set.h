// The other files of a dump that makedumpfile --split wrote: given by name, or found beside the first.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engine/dump/support/kdump_memory.h"

namespace kvm {

// Named parts must be members: anything else is an error.
Result<std::vector<std::unique_ptr<KdumpPart>>> named_parts(const KdumpPart& first, const std::vector<std::string>& paths);

// Members among the regular files in the first part's directory; looks at a bounded number of them.
std::vector<std::unique_ptr<KdumpPart>> neighbouring_parts(const KdumpPart& first);

}  // namespace kvm
