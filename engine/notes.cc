// Note areas come from crashed machines and may be half-written, so every size is doubted.
#include "engine/notes.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/integers.h"

namespace kvm {
namespace {

constexpr std::uint64_t header_bytes = 12;
constexpr std::uint64_t largest_area = 64 << 20;  // thousands of CPUs and device dumps (VMCOREDD) fit
constexpr std::size_t most_notes = 1 << 16;

struct Parsed {
  std::vector<Note> notes;
  std::uint64_t bad_at = ~std::uint64_t{0};  // where sense ended
};

constexpr std::uint64_t padded(std::uint64_t size) { return (size + 3) & ~std::uint64_t{3}; }

Parsed parse(Bytes area, std::endian order) {
  Parsed result;
  std::uint64_t at = 0;
  while (area.size() - at >= header_bytes && result.notes.size() < most_notes) {
    const std::uint8_t* header = area.data() + at;
    const std::uint64_t name_size = load<std::uint32_t>(header, order);
    const std::uint64_t desc_size = load<std::uint32_t>(header + 4, order);
    const auto type = load<std::uint32_t>(header + 8, order);
    // All zero: the kernel ends a CPU's area this way, and reserves room after it.
    if (name_size == 0 && desc_size == 0 && type == 0) {
      at += header_bytes;
      continue;
    }
    const std::uint64_t name_at = at + header_bytes, desc_at = name_at + padded(name_size);
    // Sizes are 32 bits and offsets 64, so none of these sums wraps.  The last description may lack its padding.
    if (desc_at + desc_size > area.size()) return {std::move(result.notes), at};
    Note note{text_of(area.subspan(name_at, name_size)), type, {}, order};
    const Bytes desc = area.subspan(desc_at, desc_size);
    note.desc.assign(desc.begin(), desc.end());
    result.notes.push_back(std::move(note));
    at = std::min<std::uint64_t>(desc_at + padded(desc_size), area.size());
  }
  return result;
}

}  // namespace

std::vector<Note> parse_notes(Bytes area, std::endian order) { return parse(area, order).notes; }

std::vector<Note> read_notes(const File& file, std::uint64_t offset, std::uint64_t size, std::endian order,
                             std::vector<std::string>& remarks) {
  const std::uint64_t present = offset < file.size() ? std::min(size, file.size() - offset) : 0;
  if (present < size)
    remarks.push_back(fmt::format("notes at {:#x}: {} of {} bytes lie behind the end of the file", offset, size - present, size));
  auto area = file.bytes(offset, std::min(present, largest_area));
  if (!area) {
    remarks.push_back(fmt::format("notes at {:#x}: {} bytes are not all in the file", offset, present));
    return {};
  }
  Parsed parsed = parse(*area, order);
  if (parsed.bad_at != ~std::uint64_t{0})
    remarks.push_back(fmt::format("notes at {:#x}: the note at {:#x} runs over the area's end", offset, offset + parsed.bad_at));
  return std::move(parsed.notes);
}

std::string vmcoreinfo_text(const std::vector<Note>& notes) {
  const auto found = std::find_if(notes.begin(), notes.end(), [](const Note& note) { return note.owner == "VMCOREINFO"; });
  return found == notes.end() ? std::string{} : text_of(found->desc);
}

std::string text_of(Bytes blob) { return {blob.begin(), std::find(blob.begin(), blob.end(), 0)}; }

}  // namespace kvm
