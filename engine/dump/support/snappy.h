// Decompresses snappy's raw format, as in makedumpfile -p.  Written from google/snappy, format_description.txt, because
// pages are small: the library's own start-up and its long copies cost as much as the page.
#pragma once

#include "engine/types.h"

namespace kvm {

// True when `in` is one whole stream that yields exactly `out.size()` bytes.  Never reads or writes outside the two.
bool decompress_snappy(Bytes in, MutableBytes out);

}  // namespace kvm
