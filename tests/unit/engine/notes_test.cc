#include "engine/notes.h"

#include <catch2/catch.hpp>

#include "tests/support/dump_writer.h"

using namespace kvm;
using namespace kvm::testing;

TEST_CASE("Notes of both byte orders, with padding between their parts") {
  for (const bool big : {false, true}) {
    const Buffer area = note_area({{"CORE", 1, {1, 2, 3}}, {"", 7, {}}, {"VMCOREINFO", 0, {'A', '\n', 0, 'x'}}}, big);
    const auto notes = parse_notes(area, big ? std::endian::big : std::endian::little);
    REQUIRE(notes.size() == 3);
    CHECK(notes[0].owner == "CORE");
    CHECK(notes[0].desc == Buffer{1, 2, 3});
    CHECK(notes[1].type == 7);
    CHECK(vmcoreinfo_text(notes) == "A\n");
  }
  CHECK(vmcoreinfo_text({}).empty());
}

TEST_CASE("A note that runs over the end is left out, whatever its sizes") {
  const Buffer whole = note_area({{"CORE", 1, {1, 2, 3, 4}}, {"QEMU", 0, {5, 6, 7, 8}}});
  for (std::size_t size = 0; size < whole.size(); ++size) {
    const auto notes = parse_notes(Bytes{whole}.first(size), std::endian::little);
    CHECK(notes.size() == (size < 24 ? 0u : 1u));
  }
  for (const std::size_t field : {0, 4}) {
    Buffer wild = whole;
    std::fill_n(wild.begin() + static_cast<std::ptrdiff_t>(field), 4, std::uint8_t{0xff});
    CHECK(parse_notes(wild, std::endian::little).empty());
  }
}

TEST_CASE("The last note's padding may be missing, and zeros between notes are skipped") {
  Buffer area = note_area({{"CORE", 1, {1, 2, 3, 4, 5}}});
  area.resize(area.size() - 3);
  CHECK(parse_notes(area, std::endian::little).size() == 1);
  Buffer two = note_area({{"CORE", 1, {1}}});
  two.resize(two.size() + 24);
  const Buffer more = note_area({{"CORE", 1, {2}}});
  two.insert(two.end(), more.begin(), more.end());
  CHECK(parse_notes(two, std::endian::little).size() == 2);
}

TEST_CASE("Notes in a file that is cut") {
  const File file = File::from_bytes(note_area({{"CORE", 1, {1, 2, 3, 4}}, {"QEMU", 0, {5}}}), "x");
  std::vector<std::string> remarks;
  CHECK(read_notes(file, 0, file.size(), std::endian::little, remarks).size() == 2);
  CHECK(remarks.empty());
  CHECK(read_notes(file, 0, file.size() + 10, std::endian::little, remarks).size() == 2);
  CHECK(remarks.size() == 1);
  CHECK(read_notes(file, ~std::uint64_t{0}, ~std::uint64_t{0}, std::endian::little, remarks).empty());
  CHECK(read_notes(file, 0, 40, std::endian::little, remarks).size() == 1);
  CHECK(remarks.size() == 3);
}
