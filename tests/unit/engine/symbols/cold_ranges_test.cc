// Range lists typed from the DWARF manuals, in linked and relocatable files, and damaged ones.
#include "engine/symbols/cold_ranges.h"

#include <catch2/catch.hpp>

#include "tests/unit/engine/symbols/elf_image.h"

using namespace kvm;
using test::ElfImage;

namespace {

using Buffer = std::vector<std::uint8_t>;

void put(Buffer& out, std::uint64_t value, int size) {
  for (int i = 0; i < size; ++i) out.push_back(static_cast<std::uint8_t>(value >> 8 * i));
}

// DWARF 5, 7.28: length, version 5, addresses of 8 bytes, no segments, no offset table.
Buffer table(const Buffer& lists) {
  Buffer out;
  put(out, lists.size() + 8, 4), put(out, 5, 2), put(out, 8, 1), put(out, 0, 1), put(out, 0, 4);
  out.insert(out.end(), lists.begin(), lists.end());
  return out;
}
constexpr std::uint64_t header = 12;

// DWARF 5, 7.25: start_length is 7, an address, a length (here below 128); base_address 5; offset_pair 4; end 0.
Buffer start_length(std::uint64_t address, std::uint8_t length) {
  Buffer out{7};
  put(out, address, 8);
  out.push_back(length);
  return out;
}
Buffer operator+(Buffer left, const Buffer& right) {
  left.insert(left.end(), right.begin(), right.end());
  return left;
}
const Buffer end{0};

// A hot function of 0x40 bytes at 0x81000000, its cold half of 0x10 bytes at 0x81300000.
constexpr std::uint64_t hot = 0x81000000, cold = 0x81300000;

ElfImage linked() {
  ElfImage image;
  image.add_symbols({{"f", hot, 0x40, 2, 1}, {"f.cold", cold, 0x10, 2, 1}, {"odd.cold", 0x81300010, 0, 2, 1}});
  return image;
}

std::vector<std::uint64_t> blanks(const ElfImage& image, std::string_view section, std::uint64_t size) {
  const auto file = ElfFile::open(File::from_bytes(image.bytes(), "test"));
  REQUIRE(file);
  std::vector<std::uint64_t> offsets;
  for (const Blank& blank : cold_ranges(*file)) {
    CHECK(blank.size == size);
    offsets.push_back(blank.offset - file->section(section)->offset);
  }
  return offsets;
}

std::vector<std::uint64_t> blanks_of_lists(const Buffer& lists) {
  ElfImage image = linked();
  image.add({.name = ".debug_rnglists", .bytes = table(lists)});
  return blanks(image, ".debug_rnglists", 1);
}

using Offsets = std::vector<std::uint64_t>;

}  // namespace

TEST_CASE("the cold range of a list is its new end") {
  const Buffer split = start_length(hot, 0x40) + start_length(cold, 0x10) + end;
  CHECK(blanks_of_lists(split) == Offsets{header + 10});
  CHECK(blanks_of_lists(start_length(hot, 0x40) + end + split) == Offsets{header + 11 + 10});

  Buffer based{5};
  put(based, hot, 8);
  based = based + Buffer{4, 0x00, 0x40} + Buffer{4, 0x80, 0x80, 0xc0, 0x01, 0x90, 0x80, 0xc0, 0x01} + end;  // 0x300000, 0x300010
  CHECK(blanks_of_lists(based) == Offsets{header + 12});

  Buffer start_end{6};
  put(start_end, cold, 8), put(start_end, cold + 0x10, 8);
  CHECK(blanks_of_lists(start_length(hot, 0x40) + start_end + end) == Offsets{header + 10});
}

TEST_CASE("other lists stay as they are") {
  CHECK(blanks_of_lists(start_length(cold, 0x10) + end).empty());                              // the cold half alone
  CHECK(blanks_of_lists(start_length(cold, 0x10) + start_length(hot, 0x40) + end).empty());   // it comes first
  CHECK(blanks_of_lists(start_length(hot, 0x40) + start_length(cold, 0x0f) + end).empty());   // a part of it
  CHECK(blanks_of_lists(start_length(hot, 0x40) + start_length(0x81300010, 0) + end).empty());
  CHECK(blanks_of_lists(start_length(hot, 0x40) + Buffer{3, 0, 0x10} + end).empty());         // split DWARF
  CHECK(blanks_of_lists(start_length(hot, 0x40) + start_length(cold, 0x10)).empty());         // cut
  CHECK(blanks_of_lists(start_length(hot, 0x40) + start_length(cold, 0x10) + Buffer{0x55} + end).empty());
}

TEST_CASE("several tables, one of another version") {
  const Buffer split = start_length(hot, 0x40) + start_length(cold, 0x10) + end;
  Buffer other = table(split);
  other[4] = 6;
  ElfImage image = linked();
  image.add({.name = ".debug_rnglists", .bytes = other + table(split)});
  CHECK(blanks(image, ".debug_rnglists", 1) == Offsets{other.size() + header + 10});
}

TEST_CASE("in a module addresses come from relocations") {
  ElfImage image(true, std::endian::little, 1);
  const std::uint32_t text = image.add({.name = ".text", .flags = 6, .bytes = Buffer(0x40)});
  const std::uint32_t unlikely = image.add({.name = ".text.unlikely", .flags = 6, .bytes = Buffer(0x20)});
  const Buffer lists = start_length(0, 0x40) + start_length(0, 0x10) + end;
  const std::uint32_t section = image.add({.name = ".debug_rnglists", .bytes = table(lists)});
  // Symbols 1 and 2 are the sections; f.cold lies 8 bytes into its own.
  image.add_symbols({{"", 0, 0, 3, std::uint16_t(text)}, {"", 0, 0, 3, std::uint16_t(unlikely)},
                     {"f", 0, 0x40, 2, std::uint16_t(text)}, {"f.cold", 8, 0x10, 2, std::uint16_t(unlikely)}});
  const auto relocations = [&](std::uint64_t addend) {
    Buffer out;
    constexpr std::uint64_t r_x86_64_64 = 1;
    for (auto [offset, symbol, add] : {std::tuple{header + 1, 1, std::uint64_t{0}}, {header + 11, 2, addend}})
      put(out, offset, 8), put(out, std::uint64_t(symbol) << 32 | r_x86_64_64, 8), put(out, add, 8);
    return out;
  };
  ElfImage elsewhere = image;
  image.add({.name = ".rela.debug_rnglists", .type = 4, .bytes = relocations(8), .info = section});
  elsewhere.add({.name = ".rela.debug_rnglists", .type = 4, .bytes = relocations(0), .info = section});
  CHECK(blanks(image, ".debug_rnglists", 1) == Offsets{header + 10});
  CHECK(blanks(elsewhere, ".debug_rnglists", 1).empty());
}

TEST_CASE("DWARF 4 has pairs of addresses") {
  Buffer pairs;
  for (std::uint64_t number : {hot, hot + 0x40, cold, cold + 0x10, std::uint64_t{0}, std::uint64_t{0},  //
                               ~std::uint64_t{0}, hot, std::uint64_t{0}, std::uint64_t{0x40}, cold - hot, cold - hot + 0x10, std::uint64_t{0}, std::uint64_t{0},
                               cold, cold + 0x10, std::uint64_t{0}, std::uint64_t{0}})
    put(pairs, number, 8);
  ElfImage image = linked();
  image.add({.name = ".debug_ranges", .bytes = pairs});
  CHECK(blanks(image, ".debug_ranges", 16) == Offsets{16, 80});
}
