// ELF, LiME and the flattened form; kdump is in dump_writer_kdump.cc.
#include "tests/support/dump_writer.h"

#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

namespace kvm::testing {

void Image::put(std::size_t at, std::uint64_t value, int bytes) {
  pad_to(at + static_cast<std::size_t>(bytes));
  for (int i = 0; i < bytes; ++i)
    bytes_[at + static_cast<std::size_t>(big_ ? bytes - 1 - i : i)] = static_cast<std::uint8_t>(value >> (8 * i));
}
void Image::put(std::size_t at, const Buffer& bytes) {
  pad_to(at + bytes.size());
  std::copy(bytes.begin(), bytes.end(), bytes_.begin() + static_cast<std::ptrdiff_t>(at));
}
void Image::put(std::size_t at, const std::string& text) { put(at, Buffer(text.begin(), text.end())); }

Buffer page_of(std::uint64_t number, std::size_t size) {
  Buffer page(size);
  std::uint64_t state = number * 0x9e3779b97f4a7c15 + 1;
  for (std::size_t i = 0; i < size; ++i) {
    if (i % 64 == 0) state = state * 6364136223846793005 + 1442695040888963407;
    page[i] = static_cast<std::uint8_t>(i % 16 < 8 ? state >> (8 * (i % 8)) : i / 256);
  }
  return page;
}

Buffer note_area(const std::vector<NoteSpec>& notes, bool big_endian) {
  Image image(big_endian);
  std::size_t at = 0;
  for (const NoteSpec& note : notes) {
    const std::size_t name = note.owner.size() + 1;
    image.put(at, name, 4);
    image.put(at + 4, note.desc.size(), 4);
    image.put(at + 8, note.type, 4);
    image.put(at + 12, note.owner);
    at += 12 + (name + 3) / 4 * 4;
    image.put(at, note.desc);
    at += (note.desc.size() + 3) / 4 * 4;
    image.pad_to(at);
  }
  return image.take();
}

Buffer write_elf(const ElfSpec& spec) {
  Image image(spec.big_endian);
  const bool wide = spec.bits == 64;
  const int word = wide ? 8 : 4;
  const std::size_t header = wide ? 0x40 : 0x34, entry = wide ? 0x38 : 0x20, section = wide ? 0x40 : 0x28;
  const Buffer notes = note_area(spec.notes, spec.big_endian);
  const std::size_t count = spec.loads.size() + (notes.empty() ? 0 : 1);
  image.put(0, std::string("\x7f") + "ELF");
  image.put(4, wide ? 2 : 1, 1);
  image.put(5, spec.big_endian ? 2 : 1, 1);
  image.put(6, 1, 1);
  image.put(0x10, spec.type, 2);
  image.put(0x12, spec.machine, 2);
  image.put(0x14, 1, 4);
  image.put(wide ? 0x20 : 0x1c, header, word);  // e_phoff
  image.put(wide ? 0x30 : 0x24, spec.flags, 4);
  image.put(wide ? 0x36 : 0x2a, entry, 2);
  image.put(wide ? 0x38 : 0x2c, spec.count_in_section ? 0xffff : count, 2);
  std::size_t data = header + entry * count;
  if (spec.count_in_section) {
    image.put(wide ? 0x28 : 0x20, data, word);         // e_shoff
    image.put(data + (wide ? 0x2c : 0x1c), count, 4);  // sh_info of section 0
    image.pad_to(data + section);
    data += section;
  }
  image.pad_to(data);
  std::size_t at = header;
  const auto program_header = [&](std::uint32_t type, std::uint64_t vaddr, std::uint64_t paddr, std::uint64_t filesz,
                                  std::uint64_t memsz) {
    image.put(at, type, 4);
    image.put(at + (wide ? 8 : 4), data, word);
    image.put(at + (wide ? 16 : 8), vaddr, word);
    image.put(at + (wide ? 24 : 12), paddr, word);
    image.put(at + (wide ? 32 : 16), filesz, word);
    image.put(at + (wide ? 40 : 20), memsz, word);
    at += entry;
  };
  if (!notes.empty()) {
    program_header(4, 0, 0, notes.size(), 0);
    image.put(data, notes);
    data += notes.size();
  }
  for (const LoadSpec& load : spec.loads) {
    const std::uint64_t filesz = load.filesz ? load.filesz : load.data.size();
    program_header(1, load.vaddr, load.paddr, filesz, load.memsz ? load.memsz : filesz);
    image.put(data, load.data);
    data += load.data.size();
  }
  return image.take();
}

Buffer flatten(const Buffer& plain, const std::vector<std::pair<std::uint64_t, std::uint64_t>>& pieces, bool end_record) {
  Image image(true);
  image.put(0, std::string("makedumpfile"));
  image.put(0x10, 1, 8);
  image.put(0x18, 1, 8);
  image.pad_to(0x1000);
  std::size_t at = 0x1000;
  for (const auto& [offset, size] : pieces) {
    image.put(at, offset, 8);
    image.put(at + 8, size, 8);
    image.put(at + 16, Buffer(plain.begin() + static_cast<std::ptrdiff_t>(offset),
                              plain.begin() + static_cast<std::ptrdiff_t>(offset + size)));
    at += 16 + size;
  }
  if (end_record) {
    image.put(at, ~std::uint64_t{0}, 8);
    image.put(at + 8, ~std::uint64_t{0}, 8);
  }
  return image.take();
}

Buffer flatten(const Buffer& plain, std::size_t record_size, bool end_record) {
  std::vector<std::pair<std::uint64_t, std::uint64_t>> pieces;
  for (std::size_t at = 0; at < plain.size(); at += record_size)
    pieces.emplace_back(at, std::min(record_size, plain.size() - at));
  return flatten(plain, pieces, end_record);
}

Buffer write_lime(const std::vector<std::pair<std::uint64_t, Buffer>>& ranges) {
  Image image;
  for (const auto& [first, data] : ranges) {
    const std::size_t at = image.size();
    image.put(at, std::string("EMiL"));
    image.put(at + 4, 1, 4);
    image.put(at + 8, first, 8);
    image.put(at + 16, first + data.size() - 1, 8);
    image.put(at + 24, 0, 8);
    image.put(at + 32, data);
  }
  return image.take();
}

TempFile::TempFile(const Buffer& bytes, const std::string& name) : path_("/tmp/inquest-" + name + "XXXXXX") {
  const int descriptor = ::mkstemp(path_.data());
  ::close(descriptor);
  std::ofstream(path_, std::ios::binary)
      .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
}
TempFile::~TempFile() { ::unlink(path_.c_str()); }

TempDir::TempDir() : path_("/tmp/inquest-XXXXXX") {
  if (!::mkdtemp(path_.data())) ::abort();
}
TempDir::~TempDir() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}
std::string TempDir::write(const std::string& name, const Buffer& bytes) const {
  const std::string path = path_ + "/" + name;
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  return path;
}

}  // namespace kvm::testing
