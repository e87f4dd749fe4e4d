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

// What `inquest export` adds to a core, by this owner's name: a text of KEY=VALUE lines (SYSTEM, RELEASE, SLIDE), and where the kernel's
// log lay apart, its ring and what was behind it.  Types that no other owner's notes have: debuggers go by them alone.
inline constexpr std::string_view origin_owner = "INQUEST";
inline constexpr std::uint32_t origin_text = 0, origin_message_buffer = 0x494e0001, origin_message_state = 0x494e0002;

// The text of the VMCOREINFO note; empty when there is none.
std::string vmcoreinfo_text(const std::vector<Note>& notes);

// A blob as text: up to the first NUL.
std::string text_of(Bytes blob);

}  // namespace kvm
