// ELF notes: where dumps keep CPU registers and VMCOREINFO.  A note area is a row of {name size, description size,
// type, name, description}, each part padded to four bytes (System V ABI, "Note Section"; the kernel keeps four
// even in 64-bit files).
#pragma once

#include <bit>
#include <string>
#include <string_view>
#include <vector>

#include "engine/dump.h"

namespace kvm {

// The notes of an area, as far as they make sense: a note that runs over the end, and all after it, are left out.
std::vector<Note> parse_notes(Bytes area, std::endian order);

// The same for an area inside a file, cut at the file's end.  What is wrong with it becomes a remark.
std::vector<Note> read_notes(const File& file, std::uint64_t offset, std::uint64_t size, std::endian order,
                             std::vector<std::string>& remarks);

// The text of the VMCOREINFO note; empty when there is none.
std::string vmcoreinfo_text(const std::vector<Note>& notes);

// A blob as text: up to the first NUL.
std::string text_of(Bytes blob);

}  // namespace kvm
