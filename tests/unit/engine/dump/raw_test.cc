#include <set>

#include "tests/unit/engine/dump/reading.h"

using namespace kvm;
using namespace kvm::testing;
using Catch::Matchers::Contains;

TEST_CASE("A raw image is read only when asked for") {
  const Buffer bytes = join(page_of(0), page_of(1));
  CHECK(refusal(bytes) == "made.dump: not a crash dump that Inquest knows (tried elf, kdump, lime, minidump; raw only with --format raw)");
  const Dump dump = opened(bytes, "raw");
  CHECK(bytes_at(dump, 0x1000) == page_of(1));
  CHECK(error_at(dump, 0x2000) == Errc::not_in_dump);
  CHECK(dump.memory->ranges()[0].size == 0x2000);
  CHECK_FALSE(dump.arch);
}

TEST_CASE("An unknown format's name is refused with those there are") {
  CHECK_THAT(refusal(page_of(0), "zip"), Contains("'zip'") && Contains("elf, kdump, lime, minidump, raw"));
}

TEST_CASE("LiME ranges, in any order") {
  const Buffer bytes = write_lime({{0x100000, page_of(1)}, {0x1000, page_of(2)}, {0x2000, page_of(3)}});
  const Dump dump = opened(bytes);
  CHECK(dump.format == "LiME v1");
  CHECK(bytes_at(dump, 0x100000) == page_of(1));
  CHECK(bytes_at(dump, 0x1000, 0x4000) == join(page_of(2), page_of(3)));
  CHECK(error_at(dump, 0x3000) == Errc::not_in_dump);
  CHECK(dump.memory->ranges().size() == 2);
}

TEST_CASE("A cut LiME file loses the end of its last range") {
  const Buffer bytes = write_lime({{0x1000, page_of(1)}, {0x8000, page_of(2)}});
  const Dump dump = opened(cut(bytes, bytes.size() - 96));
  CHECK(has_remark(dump, "the file is cut"));
  CHECK(bytes_at(dump, 0x8000).size() == 4000);
  CHECK(error_at(dump, 0x8fff, 1) == Errc::lost);
  CHECK(has_remark(opened(cut(bytes, 32 + 4096 + 5)), "ends inside the range header"));
}

TEST_CASE("Broken LiME headers are refused with their place") {
  Buffer bytes = write_lime({{0x1000, page_of(1)}, {0x8000, page_of(2)}});
  bytes[32 + 4096] = 0;
  CHECK_THAT(refusal(bytes), Contains("at 0x1020"));
  bytes = write_lime({{0x1000, page_of(1)}});
  bytes[17] = 0;
  bytes[16] = 0;
  CHECK_THAT(refusal(bytes), Contains("range 0x1000 to 0x0"));
}

TEST_CASE("Exactly one format claims a file") {
  ElfSpec elf;
  elf.loads = {{0, 0, page_of(0)}};
  KdumpSpec kdump;
  kdump.pages[0] = page_of(0);
  for (const Buffer& bytes : {write_elf(elf), write_kdump(kdump), write_lime({{0, page_of(0)}})}) {
    const File file = File::from_bytes(bytes, "x");
    int claims = 0;
    for (const DumpFormat* format : dump_formats()) claims += format->probe(file);
    CHECK(claims == 1);
  }
}
