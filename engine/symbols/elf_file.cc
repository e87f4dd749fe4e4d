// Reads the section table of an ELF file.  The manual is the System V gABI, chapters 4 and 5; both classes order the
// fields of the headers alike and differ only in the width of addresses, so that one cursor reads both.
#include "engine/symbols/elf_file.h"

#include <algorithm>

#include "engine/integers.h"

namespace kvm {
namespace {

constexpr std::uint32_t nt_gnu_build_id = 3;

// Reads one field after the other; past the end everything is 0.
class Cursor {
 public:
  Cursor(Bytes bytes, std::endian order, bool is_64) : bytes_(bytes), order_(order), word_(is_64 ? 8 : 4) {}
  std::uint16_t half() { return static_cast<std::uint16_t>(take(2)); }
  std::uint32_t quad() { return static_cast<std::uint32_t>(take(4)); }
  std::uint64_t word() { return take(word_); }  // an address or a size: 4 or 8 bytes
  void skip(std::size_t count) { bytes_ = bytes_.subspan(std::min(count, bytes_.size())); }

 private:
  std::uint64_t take(std::size_t count) {
    const std::uint64_t value = bytes_.size() < count ? 0 : load_unsigned(bytes_.first(count), order_);
    skip(count);
    return value;
  }

  Bytes bytes_;
  std::endian order_;
  std::size_t word_;
};

// The NUL-terminated string at `offset`; empty when it is not wholly there.
std::string_view string_at(Bytes strings, std::uint64_t offset) {
  if (offset >= strings.size()) return {};
  const Bytes rest = strings.subspan(offset);
  const auto end = std::find(rest.begin(), rest.end(), 0);
  if (end == rest.end()) return {};
  return {reinterpret_cast<const char*>(rest.data()), static_cast<std::size_t>(end - rest.begin())};
}

// Notes are three words, then name and descriptor, each padded to 4 bytes (8 in sections that are aligned so).
std::string build_id_in(Bytes notes, std::endian order, std::uint64_t align) {
  const auto padded = [align](std::uint64_t size) { return align == 8 ? (size + 7) & ~7ULL : (size + 3) & ~3ULL; };
  while (notes.size() >= 12) {
    const std::uint64_t name_size = load<std::uint32_t>(notes.data(), order);
    const std::uint64_t desc_size = load<std::uint32_t>(notes.data() + 4, order);
    const std::uint32_t type = load<std::uint32_t>(notes.data() + 8, order);
    const std::uint64_t desc = padded(12 + name_size);  // the header is part of what is aligned
    if (desc > notes.size() || desc_size > notes.size() - desc) return {};
    const std::string_view owner(reinterpret_cast<const char*>(notes.data()) + 12, name_size);
    if (type == nt_gnu_build_id && owner == std::string_view("GNU\0", 4)) return hex_digits(notes.subspan(desc, desc_size));
    notes = notes.subspan(std::min<std::uint64_t>(padded(desc + desc_size), notes.size()));
  }
  return {};
}

}  // namespace

Result<ElfFile> ElfFile::open(const std::string& path) { return open(TRY(File::open(path))); }

Result<ElfFile> ElfFile::open(File file) {
  const Bytes ident = file.view(0, 16);
  const bool magic = ident.size() == 16 && ident[0] == 0x7f && ident[1] == 'E' && ident[2] == 'L' && ident[3] == 'F';
  if (!magic || ident[4] < 1 || ident[4] > 2 || ident[5] < 1 || ident[5] > 2)
    return fail(Errc::bad_data, file.path() + ": not an ELF file");

  ElfFile elf(std::move(file));
  elf.is_64_ = ident[4] == 2;
  elf.order_ = ident[5] == 2 ? std::endian::big : std::endian::little;
  const std::size_t header_size = elf.is_64_ ? 64 : 52;
  const Bytes header = elf.file_.view(0, header_size);
  if (header.size() < header_size) return fail(Errc::bad_data, elf.file_.path() + ": cut inside the ELF header");

  Cursor cursor(header, elf.order_, elf.is_64_);
  cursor.skip(16);
  elf.type_ = cursor.half();
  elf.machine_ = cursor.half();
  cursor.skip(4);
  cursor.word(), cursor.word();  // entry point, program headers
  const std::uint64_t offset = cursor.word();
  cursor.skip(4 + 2 + 2 + 2);
  const std::uint16_t entry_size = cursor.half(), count = cursor.half(), names = cursor.half();
  if (offset != 0) TRY(elf.read_sections(offset, entry_size, count, names));
  return elf;
}

Result<void> ElfFile::read_sections(std::uint64_t offset, std::uint64_t entry_size, std::uint64_t count, std::uint32_t names) {
  const std::uint64_t least = is_64_ ? 64 : 40;
  if (entry_size < least || offset >= file_.size()) return fail(Errc::bad_data, file_.path() + ": no sound section table");

  std::vector<std::uint32_t> name_offsets;
  for (std::uint64_t i = 0; i == 0 || i < count; ++i) {
    // entry_size is 16 bits wide and i stays below file size / 40: no overflow.
    const Bytes bytes = file_.view(offset + i * entry_size, least);
    if (bytes.size() < least) return fail(Errc::bad_data, file_.path() + ": the section table is cut");
    Cursor cursor(bytes, order_, is_64_);
    name_offsets.push_back(cursor.quad());
    ElfSection section;
    section.header = offset + i * entry_size;
    section.type = cursor.quad();
    section.flags = cursor.word();
    section.addr = cursor.word();
    section.offset = cursor.word();
    section.size = cursor.word();
    section.link = cursor.quad();
    section.info = cursor.quad();
    section.align = cursor.word();
    section.entsize = cursor.word();
    // gABI: numbers that do not fit the file header are in the first section's size and link.
    if (i == 0 && count == 0) count = section.size;
    if (i == 0 && names == elf::shn_xindex) names = section.link;
    sections_.push_back(std::move(section));
  }
  if (names >= sections_.size()) return {};  // nameless, but sound
  const Bytes strings = contents(sections_[names]);
  for (std::size_t i = 0; i < sections_.size(); ++i) sections_[i].name = string_at(strings, name_offsets[i]);
  return {};
}

const ElfSection* ElfFile::section(std::string_view name) const {
  const auto found = std::find_if(sections_.begin(), sections_.end(), [name](const auto& s) { return s.name == name; });
  return found == sections_.end() ? nullptr : &*found;
}

Bytes ElfFile::contents(const ElfSection& section) const {
  if (section.type == 0 || section.type == elf::sht_nobits || section.offset >= file_.size()) return {};
  const Bytes bytes = file_.view(section.offset, section.size);
  return bytes.size() == section.size ? bytes : Bytes{};
}

std::string ElfFile::build_id() const {
  for (const ElfSection& section : sections_) {
    if (section.type != elf::sht_note) continue;
    if (std::string id = build_id_in(contents(section), order_, section.align); !id.empty()) return id;
  }
  return {};
}

}  // namespace kvm
