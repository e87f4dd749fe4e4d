#include "engine/file.h"

#include <sys/stat.h>

#include <catch2/catch.hpp>

#include "engine/integers.h"
#include "tests/support/dump_writer.h"

using namespace kvm;
using namespace kvm::testing;
using Catch::Matchers::Contains;

TEST_CASE("Opening what is no file says so and names it") {
  const TempDir dir;
  CHECK_THAT(to_string(File::open(dir.path()).error()), Contains(dir.path() + ": is a directory"));
  CHECK_THAT(to_string(File::open(dir.path() + "/none").error()), Contains("/none: No such file"));
  CHECK_THAT(to_string(File::open(dir.write("empty", {})).error()), Contains("/empty: is empty"));
  const std::string fifo = dir.path() + "/fifo";
  REQUIRE(::mkfifo(fifo.c_str(), 0600) == 0);
  CHECK_THAT(to_string(File::open(fifo).error()), Contains("/fifo: is neither"));
  CHECK_THAT(to_string(File::open("/dev/null").error()), Contains("/dev/null: is neither"));
}

TEST_CASE("A mapped file and bytes in memory read alike") {
  const Buffer bytes = page_of(5, 10000);
  const TempFile temp(bytes);
  auto mapped = File::open(temp.path());
  REQUIRE(mapped);
  CHECK(mapped->descriptor() >= 0);
  const File in_memory = File::from_bytes(bytes, "name");
  CHECK(in_memory.path() == "name");
  CHECK(in_memory.descriptor() == -1);
  for (const File* file : {const_cast<const File*>(&*mapped), &in_memory}) {
    CHECK(file->size() == 10000);
    CHECK(file->view(9990).size() == 10);
    CHECK(file->view(10000).empty());
    CHECK(file->view(~std::uint64_t{0}).empty());
    CHECK(file->view(5, 3).size() == 3);
    Buffer out(20);
    CHECK(file->read(9990, out) == 10);
    CHECK(file->scan(9990, out) == 10);
    CHECK(std::equal(out.begin(), out.begin() + 10, bytes.begin() + 9990));
    CHECK(*file->bytes(100, 200) == Buffer(bytes.begin() + 100, bytes.begin() + 300));
    CHECK(file->bytes(9990, 11).error().code == Errc::lost);
    CHECK(file->bytes(0, ~std::uint64_t{0}).error().code == Errc::lost);
    CHECK(file->bytes(~std::uint64_t{0}, 2).error().code == Errc::lost);
    CHECK(*file->at<le32>(0) == load<std::uint32_t>(bytes.data(), std::endian::little));
    CHECK(file->at<le64>(9993).error().code == Errc::lost);
    CHECK(file->at<le64>(9993).error().addr == 9993);
    CHECK(file->stored_at(77) == 77u);
    CHECK_FALSE(file->stored_at(10000));
  }
}

TEST_CASE("A rearranged view shows pieces where they belong") {
  for (const Gaps gaps : {Gaps::absent, Gaps::zero}) {
    Buffer bytes;
    for (int i = 0; i < 100; ++i) bytes.push_back(static_cast<std::uint8_t>(i));
    const File file = File::from_bytes(bytes, "x").rearranged({{10, 20, 50}, {30, 10, 0}, {200000, 5, 90}}, gaps);
    CHECK(file.size() == 200005);
    CHECK(file.stored_size() == 100);
    CHECK(file.view(10).size() == 20);
    CHECK(file.view(12)[0] == 52);
    Buffer out(30);
    CHECK(file.read(10, out) == 30);
    CHECK(out[19] == 69);
    CHECK(out[20] == 0);
    CHECK(file.stored_at(35) == 5u);
    CHECK_FALSE(file.stored_at(45));
    CHECK_FALSE(file.stored_at(3));
    CHECK(file.read(200003, out) == 2);
    if (gaps == Gaps::absent) {
      CHECK(file.view(0).empty());
      CHECK(file.bytes(35, 10).error().code == Errc::lost);
    } else {
      CHECK(file.view(0).size() == 10);
      Buffer long_gap(50, 7);
      CHECK(file.read(35, long_gap) == 50);
      CHECK(long_gap[4] == 9);
      CHECK(long_gap[5] == 0);
      CHECK(long_gap[49] == 0);
      Buffer all(200005, 7);
      CHECK(file.scan(0, all) == 200005);
      CHECK(all[100000] == 0);
      CHECK(all[200004] == 94);
    }
  }
}

TEST_CASE("Errors read as one line") {
  CHECK(to_string(Error{Errc::not_mapped, 0x1000}) == "0x1000: not mapped");
  CHECK(to_string(Error{Errc::not_in_dump, 0x1000}) == "0x1000: not in the dump (the page was excluded when the dump was made)");
  CHECK(to_string(Error{Errc::lost, 0x1000}) == "0x1000: lost (the dump is incomplete or truncated there)");
  CHECK(to_string(Error{Errc::lost, 0x1000, "the note"}) == "the note");
  CHECK(to_string(Error{Errc::unsupported}) == "unsupported");
}
