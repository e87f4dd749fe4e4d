// Files that appear whole or not at all.
#include "engine/export/output_file.h"

#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "tests/support/dump_writer.h"

using namespace kvm;
using kvm::testing::TempDir;
using Catch::Matchers::Contains;

namespace {

std::string contents(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}
std::size_t files_in(const std::string& folder) {
  return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator(folder), {}));
}
const std::vector<std::uint8_t> abc{'a', 'b', 'c'};

}  // namespace

TEST_CASE("a file is there after commit, and not before", "[export]") {
  TempDir folder;
  const std::string path = folder.path() + "/out";
  {
    auto file = OutputFile::create(path, {});
    REQUIRE(file);
    REQUIRE(file->write(4, abc));
    CHECK(!std::filesystem::exists(path));
    REQUIRE(file->commit(10));
  }
  CHECK(contents(path) == std::string("\0\0\0\0abc\0\0\0", 10));
  CHECK(files_in(folder.path()) == 1);
}

TEST_CASE("without commit the old file stays and nothing is left", "[export]") {
  TempDir folder;
  const std::string path = folder.write("out", {'o', 'l', 'd'});
  {
    auto file = OutputFile::create(path, {});
    REQUIRE(file);
    REQUIRE(file->write(0, abc));
  }
  CHECK(contents(path) == "old");
  CHECK(files_in(folder.path()) == 1);
  auto file = OutputFile::create(path, {});
  REQUIRE(file);
  REQUIRE(file->write(0, abc));
  REQUIRE(file->commit(3));
  CHECK(contents(path) == "abc");
}

TEST_CASE("an input is not replaced, by whatever name", "[export]") {
  TempDir folder;
  const std::string input = folder.write("dump", {'d'}), link = folder.path() + "/link", hard = folder.path() + "/hard";
  REQUIRE(symlink(input.c_str(), link.c_str()) == 0);
  REQUIRE(::link(input.c_str(), hard.c_str()) == 0);
  for (const std::string& path : {input, link, hard}) {
    const auto file = OutputFile::create(path, {"/nonexistent", input});
    REQUIRE(!file);
    CHECK_THAT(file.error().note, Contains("is what is being read"));
  }
}

TEST_CASE("what is no regular file, or has no folder, is not written", "[export]") {
  CHECK_THAT(OutputFile::create("/dev/null", {}).error().note, Contains("not a regular file"));
  CHECK_THAT(OutputFile::create("/tmp", {}).error().note, Contains("not a regular file"));
  CHECK_THAT(OutputFile::create("/nonexistent/out", {}).error().note, Contains("/nonexistent/out: cannot be written: No such file"));
}
