// Writes small ELF files of any class and byte order for tests: sections in, bytes out (System V gABI, chapter 4).
#pragma once

#include <string>
#include <vector>

#include "engine/integers.h"

namespace kvm::test {

struct ImageSection {
  std::string name;
  std::uint32_t type = 1;
  std::uint64_t flags = 0, addr = 0;
  std::vector<std::uint8_t> bytes = {};
  std::uint32_t link = 0, info = 0;
  std::uint64_t align = 1;
  std::uint64_t size = 0;  // when it is not that of the bytes: SHT_NOBITS
};

struct ImageSymbol {
  std::string name;
  std::uint64_t value = 0, size = 0;
  std::uint8_t info = 0;  // binding << 4 | type
  std::uint16_t section = 0;
};

class ElfImage {
 public:
  explicit ElfImage(bool is_64 = true, std::endian order = std::endian::little, std::uint16_t type = 2)
      : is_64_(is_64), order_(order), type_(type) {}

  void set_machine(std::uint16_t machine) { machine_ = machine; }

  // Section numbers count from 1.
  std::uint32_t add(ImageSection section) {
    sections_.push_back(std::move(section));
    return static_cast<std::uint32_t>(sections_.size());
  }

  void add_symbols(const std::vector<ImageSymbol>& symbols) {
    std::vector<std::uint8_t> strings{0}, table(is_64_ ? 24 : 16);
    for (const ImageSymbol& symbol : symbols) {
      const auto name = static_cast<std::uint32_t>(strings.size());
      strings.insert(strings.end(), symbol.name.begin(), symbol.name.end());
      strings.push_back(0);
      put(table, name, 4);
      if (!is_64_) put(table, symbol.value, 4), put(table, symbol.size, 4);
      put(table, symbol.info, 1), put(table, 0, 1), put(table, symbol.section, 2);
      if (is_64_) put(table, symbol.value, 8), put(table, symbol.size, 8);
    }
    const std::uint32_t link = add({.name = ".strtab", .type = 3, .bytes = strings});
    add({.name = ".symtab", .type = 2, .bytes = table, .link = link, .info = 1, .align = 8});
  }

  void add_build_id(const std::vector<std::uint8_t>& id, const std::string& name = ".note.gnu.build-id") {
    std::vector<std::uint8_t> note;
    put(note, 4, 4), put(note, id.size(), 4), put(note, 3, 4);
    for (const char c : {'G', 'N', 'U', '\0'}) put(note, static_cast<std::uint8_t>(c), 1);
    note.insert(note.end(), id.begin(), id.end());
    add({.name = name, .type = 7, .flags = 2, .bytes = note, .align = 4});
  }

  // With `extended`, counts are where files of more than 65279 sections have them.
  std::vector<std::uint8_t> bytes(bool extended = false) const {
    std::vector<ImageSection> sections{{.name = "", .type = 0}};
    sections.insert(sections.end(), sections_.begin(), sections_.end());
    sections.push_back({.name = ".shstrtab", .type = 3});
    std::vector<std::uint64_t> names;
    std::vector<std::uint8_t> strings;
    for (const auto& section : sections) {
      names.push_back(strings.size());
      strings.insert(strings.end(), section.name.begin(), section.name.end());
      strings.push_back(0);
    }
    sections.back().bytes = strings;

    std::vector<std::uint8_t> body;
    std::vector<std::uint64_t> offsets;
    const std::uint64_t header = is_64_ ? 64 : 52;
    for (const auto& section : sections) {
      offsets.push_back(header + body.size());
      body.insert(body.end(), section.bytes.begin(), section.bytes.end());
    }
    const std::size_t count = sections.size();
    std::vector<std::uint8_t> out{0x7f, 'E', 'L', 'F', std::uint8_t(is_64_ ? 2 : 1), std::uint8_t(order_ == std::endian::big ? 2 : 1), 1};
    out.resize(16);
    put(out, type_, 2), put(out, machine_ ? machine_ : is_64_ ? 62 : 40, 2), put(out, 1, 4);
    word(out, 0), word(out, 0), word(out, header + body.size());
    put(out, 0, 4), put(out, header, 2), put(out, 0, 2), put(out, 0, 2);
    put(out, is_64_ ? 64 : 40, 2), put(out, extended ? 0 : count, 2), put(out, extended ? 0xffff : count - 1, 2);
    out.insert(out.end(), body.begin(), body.end());
    for (std::size_t i = 0; i < count; ++i) {
      const ImageSection& section = sections[i];
      put(out, names[i], 4), put(out, section.type, 4);
      word(out, section.flags), word(out, section.addr), word(out, offsets[i]);
      word(out, i == 0 && extended ? count : section.size ? section.size : section.bytes.size());
      put(out, i == 0 && extended ? count - 1 : section.link, 4), put(out, section.info, 4);
      word(out, section.align), word(out, section.type == 2 ? (is_64_ ? 24 : 16) : 0);
    }
    return out;
  }

 private:
  void put(std::vector<std::uint8_t>& out, std::uint64_t value, int size) const {
    for (int i = 0; i < size; ++i)
      out.push_back(static_cast<std::uint8_t>(value >> 8 * (order_ == std::endian::big ? size - 1 - i : i)));
  }
  void word(std::vector<std::uint8_t>& out, std::uint64_t value) const { put(out, value, is_64_ ? 8 : 4); }

  bool is_64_;
  std::endian order_;
  std::uint16_t type_, machine_ = 0;  // 0: of the class's usual machine
  std::vector<ImageSection> sections_;
};

}  // namespace kvm::test
