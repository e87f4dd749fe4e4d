// An ELF file, made in memory of what the kernel in a dump tells of itself, that debuggers open as if it were the vmlinux:
// sections at their run-time addresses (without contents: those are in the dump), symbols, DWARF types, prototypes and typed
// variables.  docs/image.md explains the design.
#pragma once

#include <string>
#include <vector>

#include "arch/arch.h"
#include "engine/pieces.h"
#include "engine/result.h"

namespace kvm {

struct ImageOptions {
  std::string build_id;   // what the file's own begins with, hex; the rest tells its contents from any other's
  std::string producer;   // "inquest 1.0"
  Bytes debug_frame;      // contents of .debug_frame; empty: none
};

struct Image {
  std::vector<std::uint8_t> file;
  std::vector<std::string> remarks;  // what of the pieces could not be used, one line each
};

// Whatever the pieces hold, the result is a valid file, and in size a small multiple of theirs.
Result<Image> make_image(const arch::Arch& arch, const Pieces& pieces, const ImageOptions& options);

}  // namespace kvm
