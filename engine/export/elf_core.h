// Writes the ELF core that a plan describes.
#pragma once

#include <functional>

#include "engine/export/plan.h"

namespace kvm {

// Takes bytes for a place in the file.  Places that are never written are zeros.
using CoreSink = std::function<Result<void>(std::uint64_t offset, Bytes)>;

// ELF header and program headers, and the section header that counts the latter when they are too many for 16 bits.
std::uint64_t core_header_bytes(const arch::Arch& arch, std::size_t segments);

// Streams; pages that cannot be read (the file is cut, a page is damaged) stay zeros.  Answers how many bytes those are.
Result<std::uint64_t> write_core(const Kernel& kernel, const CorePlan& plan, const CoreSink& sink, const Progress& progress);

}  // namespace kvm
