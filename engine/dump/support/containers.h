// What may lie around a dump: compression, encryption, the headers of the device that the kernel wrote it to.  Each is taken off
// by a view of the file; nothing is unpacked to disk.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "engine/file.h"

namespace kvm {

struct Wrapping {
  std::vector<std::string> names;    // outermost first: "gzip", "encrypted (AES-256-CBC)"
  std::vector<std::string> remarks;
  std::string release;               // what a kernel dump header says of the kernel
};

// `known` tells whether a file is a dump as it is; `private_key` may be empty.  A file without a container comes back as it was.
Result<File> unwrapped(File file, const std::string& private_key, const std::function<bool(const File&)>& known, Wrapping& found);

}  // namespace kvm
