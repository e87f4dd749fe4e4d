// makedumpfile -F and QEMU write dumps to pipes, where seeking is impossible: the file is then a row of records
// {offset, size, bytes}.  It is read in place, through a File whose pieces are the records.
#pragma once

#include <string>
#include <vector>

#include "engine/file.h"

namespace kvm {

bool is_flattened(const File& file);

// The file as it would be after `makedumpfile -R`.  Reads the records' headers only.  When the end record is missing
// the file was cut: `remarks` says so, and what did not arrive is absent.
Result<File> unflattened(File file, std::vector<std::string>& remarks);

}  // namespace kvm
