// Decompresses LZO1X, the format of makedumpfile -l.  Written from the description of the stream in the kernel's
// Documentation/staging/lzo.rst, so that reading such dumps needs no GPL library, and for speed: dumps are read a page at a
// time, and most instructions take one path without branches that depend on the data.
#pragma once

#include "engine/types.h"

namespace kvm {

// True when `in` is one whole stream that yields exactly `out.size()` bytes.  Never reads or writes outside the two.
bool decompress_lzo(Bytes in, MutableBytes out);

}  // namespace kvm
