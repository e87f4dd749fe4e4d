#include "tests/unit/engine/dump/reading.h"

using namespace kvm;
using namespace kvm::testing;
using Catch::Matchers::Contains;

namespace {

ElfSpec elf_pages() {
  ElfSpec spec;
  spec.loads = {{0x1000, 0, page_of(1)}, {0x10000, 0, page_of(16)}};
  return spec;
}

KdumpSpec kdump_pages() {
  KdumpSpec spec;
  spec.packing = Packing::zlib;
  for (const std::uint64_t pfn : {0, 1, 2, 40, 63}) spec.pages[pfn] = page_of(pfn);
  return spec;
}

}  // namespace

TEST_CASE("Flattened dumps read like plain ones, whatever the size of their records") {
  for (const std::size_t size : {1000u, 4096u, 33u, 1u << 20}) {
    const Dump elf = opened(flatten(write_elf(elf_pages()), size));
    CHECK(elf.format == "ELF core, 64-bit, flattened");
    CHECK(bytes_at(elf, 0x1000) == page_of(1));
    CHECK(bytes_at(elf, 0x10ffe, 8).size() == 2);
    const Dump kdump = opened(flatten(write_kdump(kdump_pages()), size));
    for (const auto& [pfn, page] : kdump_pages().pages) CHECK(bytes_at(kdump, pfn * 4096) == page);
    CHECK(error_at(kdump, 3 * 4096) == Errc::not_in_dump);
    CHECK(kdump.remarks.empty());
  }
}

TEST_CASE("Records may come in any order, and a later one hides an earlier one") {
  Buffer plain = write_elf(elf_pages());
  const std::uint64_t size = plain.size(), half = size / 2;
  Buffer wrong = plain;
  for (std::size_t i = half - 600; i < half + 600; ++i) wrong[i] = 0xee;
  // The wrong copy first, the right middle last.
  Buffer bytes = flatten(wrong, {{half, size - half}, {0, half}}, false);
  const Buffer more = flatten(plain, {{half - 700, 1500}, {0, 64}}, true);
  bytes.insert(bytes.end(), more.begin() + 0x1000, more.end());
  const Dump dump = opened(bytes);
  CHECK(bytes_at(dump, 0x1000) == page_of(1));
  CHECK(bytes_at(dump, 0x10000) == page_of(16));
}

TEST_CASE("A flattened dump without its end record is cut: what is there reads, the rest is lost") {
  const Buffer elf = write_elf(elf_pages());
  const Buffer whole = flatten(elf, 1000);
  const Dump no_end = opened(flatten(elf, 1000, false));
  CHECK(has_remark(no_end, "the file is cut"));
  CHECK(bytes_at(no_end, 0x10000) == page_of(16));
  const Dump dump = opened(cut(whole, whole.size() - 2000));
  CHECK(has_remark(dump, "without its end record"));
  CHECK(bytes_at(dump, 0x1000) == page_of(1));
  CHECK(error_at(dump, 0x10ff0) == Errc::lost);

  // Bitmaps never arrived: nobody knows what was dumped.
  const Buffer kdump = write_kdump(kdump_pages());
  const Dump headers = opened(flatten(kdump, {{0, 2 * 4096}}, false));
  CHECK(error_at(headers, 3 * 4096) == Errc::lost);
}

TEST_CASE("Gaps of a complete flattened dump are zeros, as makedumpfile -R leaves them") {
  const Buffer kdump = write_kdump(kdump_pages());
  // QEMU does not write the unused ends of blocks: skip the second half of the first bitmap.
  const Dump dump = opened(flatten(kdump, {{0, 2 * 4096 + 16}, {3 * 4096, kdump.size() - 3 * 4096}}));
  CHECK(bytes_at(dump, 63 * 4096) == page_of(63));
  CHECK(error_at(dump, 62 * 4096) == Errc::not_in_dump);
}

TEST_CASE("Broken flattened files are refused") {
  const Buffer elf = write_elf(elf_pages());
  CHECK_THAT(refusal(cut(flatten(elf, 1000), 4096)), Contains("without a record at 0x1000"));
  Buffer bytes = flatten(elf, 1000);
  bytes[0x1000] = 0xff;
  CHECK_THAT(refusal(bytes), Contains("record at 0x1000 has offset"));
  bytes = flatten(elf, 1000);
  bytes[0x1f] = 7;
  CHECK_THAT(refusal(bytes), Contains("version 7"));
}
