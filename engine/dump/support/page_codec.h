// Decompressing one page.  A page is an independent stream, and its size is known before.
#pragma once

#include <string>

#include "engine/result.h"
#include "engine/types.h"

namespace kvm {

// Bits of a page descriptor's and a header's flags (makedumpfile, diskdump_mod.h).
enum PageFlags : std::uint32_t { page_zlib = 0x1, page_lzo = 0x2, page_snappy = 0x4, page_zstd = 0x20 };

// Fills `out` from a page stored as `flags` say; no flag means as it was.  The error carries no address:
// bad_data when the bytes do not yield exactly a page, unsupported for a method we do not know.
Result<void> decompress(std::uint32_t flags, Bytes stored, MutableBytes out);

// "zlib", "LZO"; "uncompressed" for no flag.
std::string codec_name(std::uint32_t flags);

}  // namespace kvm
