#include "tests/unit/engine/dump/reading.h"

using namespace kvm;
using namespace kvm::testing;
using Catch::Matchers::Contains;

namespace {

// One of three parts of a machine with 300 page frames.
KdumpSpec part(int number) {
  KdumpSpec spec;
  spec.max_pfn = 300;
  spec.split = true;
  spec.start_pfn = static_cast<std::uint64_t>(number) * 100;
  spec.end_pfn = spec.start_pfn + 100;
  for (std::uint64_t pfn = 0; pfn < 300; pfn += 3) spec.pages[pfn] = page_of(pfn);
  return spec;
}

Dump opened_file(const std::string& path, const DumpOptions& options = {}) {
  auto dump = open_dump(path, "", options);
  INFO((dump ? std::string() : to_string(dump.error())));
  REQUIRE(dump);
  return std::move(*dump);
}

}  // namespace

TEST_CASE("A split set is found in the directory, whichever part is named") {
  const TempDir dir;
  std::vector<std::string> paths;
  for (const int i : {0, 1, 2}) paths.push_back(dir.write("part" + std::to_string(i), write_kdump(part(i))));
  KdumpSpec stranger = part(1);
  stranger.release = "another";
  stranger.pages[102] = page_of(9999);
  dir.write("a-stranger", write_kdump(stranger));
  dir.write("b-note.txt", {'h', 'i'});
  for (const std::string& path : paths) {
    const Dump dump = opened_file(path);
    for (std::uint64_t pfn = 0; pfn < 300; pfn += 3) CHECK(bytes_at(dump, pfn * 4096) == page_of(pfn));
    CHECK(error_at(dump, 4096) == Errc::not_in_dump);
    CHECK(has_remark(dump, "3 files read"));
    CHECK_FALSE(has_remark(dump, "missing"));
    CHECK(dump.format == "kdump-compressed v6, uncompressed, split");
  }
}

TEST_CASE("A missing part of a split set is lost, and said to be") {
  const TempDir dir;
  const std::string first = dir.write("part0", write_kdump(part(0)));
  dir.write("part2", write_kdump(part(2)));
  const Dump dump = opened_file(first);
  CHECK(bytes_at(dump, 0) == page_of(0));
  CHECK(bytes_at(dump, 201 * 4096) == page_of(201));
  CHECK(error_at(dump, 102 * 4096) == Errc::lost);
  CHECK(error_at(dump, 103 * 4096) == Errc::not_in_dump);
  CHECK(has_remark(dump, "0x64 page frames is missing"));
}

TEST_CASE("Parts of a split set by name") {
  const TempDir dir, elsewhere;
  const std::string first = dir.write("part0", write_kdump(part(0)));
  const std::string second = elsewhere.write("x", write_kdump(part(1))), third = elsewhere.write("y", write_kdump(part(2)));
  const Dump dump = opened_file(first, {nullptr, {third, first, second}});
  CHECK(bytes_at(dump, 102 * 4096) == page_of(102));
  CHECK(bytes_at(dump, 201 * 4096) == page_of(201));

  KdumpSpec stranger = part(1);
  stranger.seconds += 1;
  const std::string other = elsewhere.write("z", write_kdump(stranger));
  const auto refused = open_dump(first, "", {nullptr, {other}});
  REQUIRE_FALSE(refused);
  CHECK_THAT(to_string(refused.error()), Contains(other) && Contains("not of the same split set"));

  KdumpSpec whole = part(0);
  whole.split = false;
  whole.start_pfn = whole.end_pfn = 0;
  const auto alone = open_dump(dir.write("whole", write_kdump(whole)), "", {nullptr, {second}});
  REQUIRE_FALSE(alone);
  CHECK_THAT(to_string(alone.error()), Contains("not part of a split set"));
}

TEST_CASE("A split set may have empty parts") {
  KdumpSpec spec = part(0);
  spec.end_pfn = 300;
  KdumpSpec empty = part(2);
  empty.start_pfn = empty.end_pfn = 300;
  const TempDir dir;
  dir.write("1", write_kdump(spec));
  const Dump dump = opened_file(dir.write("2", write_kdump(empty)));
  CHECK(bytes_at(dump, 297 * 4096) == page_of(297));
}
