#include "tests/unit/engine/dump/reading.h"

using namespace kvm;
using namespace kvm::testing;
using Catch::Matchers::Contains;

namespace {

KdumpSpec some_pages(std::size_t block = 4096) {
  KdumpSpec spec;
  spec.block_size = static_cast<std::uint32_t>(block);
  for (const std::uint64_t pfn : {0, 1, 2, 7, 8, 40, 63}) spec.pages[pfn] = page_of(pfn, block);
  spec.excluded = {3, 4, 41};
  return spec;
}

void check_pages(const Dump& dump, const KdumpSpec& spec) {
  const std::uint64_t block = spec.block_size;
  for (const auto& [pfn, page] : spec.pages) {
    CHECK(bytes_at(dump, pfn * block, block) == page);
    CHECK(bytes_at(dump, pfn * block + 5, 8) == Buffer(page.begin() + 5, page.begin() + 13));
  }
  CHECK(error_at(dump, 3 * block) == Errc::not_in_dump);
  CHECK(error_at(dump, 20 * block, block) == Errc::not_in_dump);
  CHECK(error_at(dump, spec.max_pfn * block) == Errc::not_in_dump);
  CHECK(error_at(dump, ~std::uint64_t{0}) == Errc::not_in_dump);
  CHECK(bytes_at(dump, 8 * block - 16, 2 * block).size() == block + 16);  // stops at the hole
}

}  // namespace

TEST_CASE("kdump pages of every compression") {
  for (const Packing packing : {Packing::none, Packing::zlib, Packing::lzo, Packing::snappy, Packing::zstd}) {
    KdumpSpec spec = some_pages();
    spec.packing = packing;
    spec.pages[2] = Buffer(4096);
    Buffer noise(4096);
    std::uint32_t state = 1;
    for (auto& byte : noise) byte = static_cast<std::uint8_t>((state = state * 1664525 + 1013904223) >> 24);
    spec.pages[40] = noise;  // does not shrink, so it is stored as it is
    check_pages(opened(write_kdump(spec)), spec);
  }
}

// Large reads are shared out over threads; what one thread cannot read ends the whole.
TEST_CASE("kdump pages read many at a time") {
  constexpr std::uint64_t count = 700, first = 16;
  KdumpSpec spec;
  spec.packing = Packing::lzo;
  spec.max_pfn = 1024;
  Buffer all;
  for (std::uint64_t pfn = first; pfn < first + count; ++pfn) {
    spec.pages[pfn] = page_of(pfn);
    all.insert(all.end(), spec.pages[pfn].begin(), spec.pages[pfn].end());
  }
  const Dump dump = opened(write_kdump(spec));
  CHECK(bytes_at(dump, first * 4096, count * 4096) == all);
  CHECK(bytes_at(dump, first * 4096, 900 * 4096) == all);  // the run ends before the request
  CHECK(bytes_at(dump, first * 4096 + 100, 600 * 4096) == Buffer(all.begin() + 100, all.begin() + 100 + 600 * 4096));
  CHECK(error_at(dump, 0, 900 * 4096) == Errc::not_in_dump);

  for (const std::uint64_t missing : {first, first + 1, first + 349, first + 350, first + 699}) {
    KdumpSpec damaged = spec;
    damaged.pages.erase(missing);
    damaged.unwritten = {missing};
    const Dump lost = opened(write_kdump(damaged));
    if (missing == first) CHECK(error_at(lost, first * 4096, count * 4096) == Errc::lost);
    else CHECK(bytes_at(lost, first * 4096, count * 4096) == Buffer(all.begin(), all.begin() + static_cast<std::ptrdiff_t>((missing - first) * 4096)));
  }
}

TEST_CASE("kdump headers of every version, ABI and byte order") {
  for (const Abi abi : {Abi::lp64, Abi::i386, Abi::aligned32}) {
    for (const bool big : {false, true}) {
      for (int version = 0; version <= 6; ++version) {
        KdumpSpec spec = some_pages();
        spec.abi = abi;
        spec.big_endian = big;
        spec.version = version;
        spec.machine = "";
        spec.phys_base = 0x1234000;
        spec.notes = {{"CORE", 1, Buffer(20, 3)}};
        spec.vmcoreinfo = "OSRELEASE=x\n";
        INFO("abi " << static_cast<int>(abi) << " big " << big << " version " << version);
        const Dump dump = opened(write_kdump(spec));
        check_pages(dump, spec);
        CHECK(dump.phys_base == 0x1234000u);
        CHECK(dump.release == "6.1.0-test");
        CHECK(dump.vmcoreinfo == (version >= 3 ? "OSRELEASE=x\n" : ""));
        CHECK(dump.notes.size() == (version >= 4 ? 1u : 0u));
      }
    }
  }
}

TEST_CASE("kdump block sizes from 512 bytes to 64 KiB") {
  for (const std::size_t block : {512, 1024, 8192, 16384, 65536}) {
    KdumpSpec spec = some_pages(block);
    spec.packing = Packing::zlib;
    check_pages(opened(write_kdump(spec)), spec);
  }
}

TEST_CASE("kdump describes itself") {
  KdumpSpec spec = some_pages();
  spec.packing = Packing::lzo;
  const Dump dump = opened(write_kdump(spec));
  CHECK(dump.format == "kdump-compressed v6, LZO");
  CHECK(dump.machine == "x86_64");
  REQUIRE(dump.arch);
  CHECK(dump.arch->name == "x86_64");
  CHECK_FALSE(dump.incomplete);
  CHECK(dump.remarks.empty());
  const auto ranges = dump.memory->ranges();
  REQUIRE(ranges.size() == 4);
  CHECK(ranges[0].size == 5 * 4096);
  CHECK(ranges[1].first.raw == 7 * 4096);
  CHECK(ranges[2].size == 2 * 4096);
  CHECK(ranges[3].first.raw == 63 * 4096);
}

TEST_CASE("kdump page frames beyond 32 bits are counted in the sub header") {
  KdumpSpec spec = some_pages();
  spec.pages[70000] = page_of(70000);
  spec.max_pfn = 0x100000000 + 64;
  // 1 GiB of bitmaps would be needed in earnest; here the count alone is checked against them.
  CHECK_THAT(refusal([&] {
               KdumpSpec small = some_pages();
               Buffer bytes = write_kdump(small);
               bytes[4096 + 0x64] = 1;
               return bytes;
             }()),
             Contains("max_mapnr 0x100000040"));
}

TEST_CASE("diskdump has the same pages and no kdump sub header") {
  KdumpSpec spec = some_pages();
  spec.signature = "DISKDUMP";
  spec.version = 1;
  const Dump dump = opened(write_kdump(spec));
  check_pages(dump, spec);
  CHECK(dump.format == "diskdump");
  CHECK_FALSE(dump.phys_base);
}

TEST_CASE("An incomplete kdump: unwritten descriptors are lost pages") {
  KdumpSpec spec = some_pages();
  spec.status = 0x8;
  spec.unwritten = {50, 51};
  const Dump dump = opened(write_kdump(spec));
  CHECK(dump.incomplete);
  CHECK(has_remark(dump, "incomplete"));
  CHECK(bytes_at(dump, 63 * 4096) == page_of(63));
  CHECK(error_at(dump, 50 * 4096) == Errc::lost);
  CHECK(error_at(dump, 50 * 4096, 4096) == Errc::lost);
  CHECK(error_at(dump, 3 * 4096) == Errc::not_in_dump);
}

TEST_CASE("A cut kdump loses pages, then descriptors, then bitmaps") {
  const KdumpSpec spec = some_pages();
  const Buffer whole = write_kdump(spec);
  const Dump dump = opened(cut(whole, whole.size() - 1));
  CHECK(bytes_at(dump, 40 * 4096) == page_of(40));
  CHECK(error_at(dump, 63 * 4096) == Errc::lost);
  CHECK(has_remark(dump, "the file is cut"));

  const std::size_t descriptors = 4 * 4096;  // header, sub header, two bitmaps
  const Dump fewer = opened(cut(whole, descriptors + 24 + 7));
  CHECK(error_at(fewer, 0) == Errc::lost);
  CHECK(error_at(fewer, 1 * 4096) == Errc::lost);
  CHECK(error_at(fewer, 3 * 4096) == Errc::not_in_dump);

  const Dump none = opened(cut(whole, 3 * 4096 + 2));
  CHECK(error_at(none, 3 * 4096) == Errc::not_in_dump);
  CHECK(error_at(none, 40 * 4096) == Errc::lost);  // nobody knows whether it was dumped
}

TEST_CASE("Damaged kdump descriptors and pages are bad data, and no other page suffers") {
  KdumpSpec spec = some_pages();
  spec.packing = Packing::zlib;
  const Buffer whole = write_kdump(spec);
  const std::size_t descriptors = 4 * 4096;
  const auto with = [&](std::size_t at, std::uint8_t value) {
    Buffer bytes = whole;
    bytes[at] = value;
    return opened(bytes);
  };
  CHECK(error_at(with(descriptors + 11, 0x7f), 0) == Errc::bad_data);  // size
  CHECK(error_at(with(descriptors + 7, 0x7f), 0) == Errc::lost);       // offset
  CHECK(error_at(with(descriptors + 12, 0x40 | 0x3), 0) == Errc::unsupported);
  const std::size_t data = descriptors + spec.pages.size() * 24;
  const Dump dump = with(data, 0xff);
  CHECK(error_at(dump, 0) == Errc::bad_data);
  CHECK(bytes_at(dump, 4096) == page_of(1));
}

TEST_CASE("Damaged kdump headers are refused with field and offset") {
  const Buffer whole = write_kdump(some_pages());
  const auto with = [&](std::size_t at, std::uint8_t value) {
    Buffer bytes = whole;
    bytes[at] = value;
    return refusal(bytes);
  };
  CHECK_THAT(with(0x8, 9), Contains("made.dump: header_version 9 at 0x8, expected 0 to 6"));
  CHECK_THAT(with(0x1ac, 1), Contains("block_size 4097 at 0x1ac"));
  CHECK_THAT(with(0x1b0, 0), Contains("sub_hdr_size 0 at 0x1b0"));
  CHECK_THAT(with(0x1b4, 0), Contains("bitmap_blocks 0"));
  CHECK_THAT(refusal(cut(whole, 100)), Contains("ends inside the dump header"));
  CHECK_THAT(refusal(cut(whole, 5000 - 0x370)), Contains("ends inside the sub header"));
}

TEST_CASE("Pages that share one stored page") {
  KdumpSpec spec = some_pages();
  Buffer bytes = write_kdump(spec);
  const std::size_t descriptors = 4 * 4096;
  std::copy_n(bytes.begin() + descriptors, 24, bytes.begin() + descriptors + 24);  // page 1 as page 0
  const Dump dump = opened(bytes);
  CHECK(bytes_at(dump, 0, 3 * 4096) == join(join(page_of(0), page_of(0)), page_of(2)));
}
