// Section tables of both classes and byte orders, and of files that lie.
#include "engine/symbols/elf_file.h"

#include <catch2/catch.hpp>

#include "tests/unit/engine/symbols/elf_image.h"

using namespace kvm;
using test::ElfImage;

namespace {

Result<ElfFile> open(std::vector<std::uint8_t> bytes) { return ElfFile::open(File::from_bytes(std::move(bytes), "test")); }

ElfImage sample(bool is_64, std::endian order) {
  ElfImage image(is_64, order);
  image.add({.name = ".text", .flags = 6, .addr = 0x81000000, .bytes = {1, 2, 3}});
  image.add_build_id({0x3b, 0x43, 0xfa});
  image.add({.name = ".bss", .type = 8, .flags = 3, .addr = 0x82000000, .size = 0x1000});
  return image;
}

}  // namespace

TEST_CASE("ELF sections are read in both classes and byte orders") {
  const bool is_64 = GENERATE(true, false);
  const auto order = GENERATE(std::endian::little, std::endian::big);
  const bool extended = GENERATE(false, true);
  const auto file = open(sample(is_64, order).bytes(extended));
  REQUIRE(file);
  CHECK(file->is_64() == is_64);
  CHECK(file->order() == order);
  CHECK(file->type() == 2);
  CHECK(file->machine() == (is_64 ? 62 : 40));
  REQUIRE(file->sections().size() == 5);
  const ElfSection* text = file->section(".text");
  REQUIRE(text);
  CHECK(text->addr == 0x81000000);
  CHECK(text->flags == 6);
  CHECK(file->contents(*text).size() == 3);
  CHECK(file->contents(*text)[2] == 3);
  CHECK(file->section(".bss")->size == 0x1000);
  CHECK(file->contents(*file->section(".bss")).empty());
  CHECK(file->build_id() == "3b43fa");
  CHECK_FALSE(file->section(".data"));
}

TEST_CASE("A build id is found among other notes of a section of any name") {
  ElfImage image;
  // A Xen note (name of 4, description of 8 bytes) before GNU's, as in the kernel's .notes.
  std::vector<std::uint8_t> notes{4, 0, 0, 0, 8, 0, 0, 0, 6, 0, 0, 0, 'X', 'e', 'n', 0, 1, 2, 3, 4, 5, 6, 7, 8};
  const std::vector<std::uint8_t> gnu{4, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 'G', 'N', 'U', 0, 0xab, 0xcd};
  notes.insert(notes.end(), gnu.begin(), gnu.end());
  image.add({.name = ".notes", .type = 7, .bytes = notes, .align = 4});
  CHECK(open(image.bytes())->build_id() == "abcd");
  CHECK(open(ElfImage().bytes())->build_id().empty());
}

TEST_CASE("Section contents never reach outside the file") {
  ElfImage image;
  image.add({.name = ".big", .bytes = {1}, .size = ~std::uint64_t{0}});
  const auto file = open(image.bytes());
  REQUIRE(file);
  CHECK(file->contents(*file->section(".big")).empty());
}

TEST_CASE("What is not a sound ELF file is refused") {
  CHECK(open({1, 2, 3}).error().code == Errc::bad_data);
  const auto whole = sample(true, std::endian::little).bytes();
  for (std::size_t size = 1; size < whole.size(); ++size) {
    INFO(size);
    CHECK_FALSE(open({whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size)}));
  }
}
