// FreeBSD's minidumps, one of every machine and version.  Page-table entries are typed from the processors' manuals.
#include "tests/support/freebsd_writer.h"
#include "tests/unit/engine/dump/reading.h"

using namespace kvm;
using namespace kvm::testing;

namespace {

struct Check {
  std::uint64_t virt;
  std::uint64_t page;             // the dumped page that holds it; what it contains tells it from others
  std::optional<Errc> error = {};
};
Check unmapped(std::uint64_t virt) { return {virt, 0, Errc::not_mapped}; }
Check undumped(std::uint64_t virt) { return {virt, 0, Errc::not_in_dump}; }

std::map<std::uint64_t, Buffer> pages_at(const std::vector<std::uint64_t>& addresses, std::size_t size = 4096) {
  std::map<std::uint64_t, Buffer> pages;
  for (const std::uint64_t address : addresses) pages[address] = page_of(address, size);
  return pages;
}

std::string problem_at(const Dump& dump, const AddressSpace& space, const Check& check, std::size_t page_size) {
  const std::size_t skip = check.virt % page_size;
  Buffer out(16);
  const auto got = space.read({check.virt}, out);
  if (check.error) return got ? "could be read" : got.error().code == *check.error ? "" : "another error: " + to_string(got.error());
  if (!got) return to_string(got.error());
  const Buffer page = page_of(check.page, page_size);
  const auto phys = space.translate({check.virt});
  if (!phys || phys->raw != check.page + skip) return "translates to another place";
  if (!dump.memory->file_offset(*phys)) return "has no place in the file";
  return *got == 16 && std::equal(out.begin(), out.end(), page.begin() + static_cast<std::ptrdiff_t>(skip)) ? "" : "other bytes";
}

void check_all(const MinidumpSpec& spec, const std::vector<Check>& checks) {
  const Dump dump = opened(write_minidump(spec));
  INFO(dump.format);
  CHECK(dump.system == "FreeBSD");
  CHECK(dump.message_buffer == spec.message);
  for (const std::string& remark : dump.remarks) {
    INFO(remark);
    CHECK(remark.starts_with("processor"));  // not every machine has its row
  }
  for (const auto& [address, page] : spec.pages) CHECK(bytes_at(dump, address, spec.page_size) == page);
  const AddressSpace space(*dump.memory, dump.kernel_map);
  for (const Check& check : checks) {
    INFO(std::hex << check.virt);
    CHECK(problem_at(dump, space, check, spec.page_size) == "");
  }
}

constexpr std::uint64_t nx = 1ull << 63;

MinidumpSpec amd64(int version) {
  MinidumpSpec spec;
  spec.version = version;
  spec.kernbase = 0xfffffe0000000000;
  spec.dmapbase = 0xfffff80000000000;
  spec.dmapend = 0xfffff80100000000;
  return spec;
}

const std::vector<Check> amd64_dmap{{0xfffff80000005008, 0x5000},        {0xfffff8000020100a, 0x201000}, undumped(0xfffff80000006000),
                                    undumped(0xfffff800ffffffff - 15), unmapped(0xfffff80100000000),   unmapped(0xfffff7fffffff000),
                                    unmapped(0x1000)};

std::vector<Check> both(std::vector<Check> a, const std::vector<Check>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

}  // namespace

TEST_CASE("an amd64 minidump v1 has the entries of all pages", "[minidump]") {
  MinidumpSpec spec = amd64(1);
  spec.entries = number_row({0x5003, 0, nx | 0x201103, 0x7003}, 8);
  spec.pages = pages_at({0x5000, 0x201000});
  check_all(spec, both({{0xfffffe0000000123, 0x5000}, unmapped(0xfffffe0000001000), {0xfffffe0000002ff0, 0x201000}, undumped(0xfffffe0000003000),
                        unmapped(0xfffffe0000004000), unmapped(~0ull - 15)}, amd64_dmap));
}

TEST_CASE("amd64 minidumps v2 and v3 have page directories, whose tables are among the pages", "[minidump]") {
  for (const int version : {2, 3}) {
    MinidumpSpec spec = amd64(version);
    // A table at 0x9000, a large page at 4 MiB (bit 12 is PAT, not address), nothing, a table that was not dumped.
    spec.entries = number_row({0x9023, nx | 0x4010e3, 0, 0xa023}, 8);
    spec.pages = pages_at({0x5000, 0x9000, 0x201000, 0x400000, 0x5ff000});
    const Buffer table = number_row({0x5003, 0, nx | 0x201103, 0xb003}, 8);
    std::copy(table.begin(), table.end(), spec.pages[0x9000].begin());
    for (std::size_t i = table.size(); i < 4096; ++i) spec.pages[0x9000][i] = 0;
    if (version == 3) spec.available = {{0x4000, 0xa000}, {0x200000, 0x203000}, {0x400000, 0x600000}};
    const std::vector<Check> checks{{0xfffffe0000000008, 0x5000},     unmapped(0xfffffe0000001000),     {0xfffffe0000002010, 0x201000},
                                    undumped(0xfffffe0000003000),     unmapped(0xfffffe0000004000),     {0xfffffe0000200ff0, 0x400000},
                                    {0xfffffe00003ff000, 0x5ff000},   undumped(0xfffffe0000201000),     unmapped(0xfffffe0000400000),
                                    undumped(0xfffffe0000600000),     unmapped(0xfffffe0000800000)};
    check_all(spec, both(checks, amd64_dmap));
  }
}

TEST_CASE("minidumps of LA57 kernels have other bases", "[minidump]") {
  MinidumpSpec spec = amd64(3);
  spec.kernbase = 0xff80000000000000;
  spec.dmapbase = 0xff00000000000000;
  spec.dmapend = 0xff00000100000000;
  spec.entries = number_row({0x4000e3}, 8);
  spec.available = {{0x1000, 0x80000}, {0x400000, 0x600000}};
  spec.pages = pages_at({0x5000, 0x400000});
  check_all(spec, {{0xff80000000000000, 0x400000}, {0xff00000000005000, 0x5000}, unmapped(0xff80000000200000), unmapped(0xfffffe0000000000)});
}

TEST_CASE("i386 minidumps have entries of 4 bytes, or with PAE of 8", "[minidump]") {
  for (const int version : {1, 2})
    for (const std::uint32_t pae : {0u, 1u}) {
      MinidumpSpec spec;
      spec.machine = "i386";
      spec.version = version;
      spec.pae = pae;
      spec.bitmap_word = 4;
      spec.kernbase = 0xc0000000;
      // With PAE also a page above 4 GiB.
      spec.entries = pae ? number_row({0x5003, 0, 0x1'0000'6003}, 8) : number_row({0x5003, 0, 0x6003}, 4);
      const std::uint64_t high = pae ? 0x1'0000'6000 : 0x6000;
      spec.pages = pages_at({0x5000, high});
      if (version == 2) spec.available = {{0x1000, 0x9f000}, {0x100000000, 0x100010000}};
      check_all(spec, {{0xc0000ff0, 0x5000}, unmapped(0xc0001000), {0xc0002000, high}, unmapped(0xc0003000), unmapped(0xbfffffff - 15), unmapped(0x1'c000'0000)});
    }
}

TEST_CASE("arm64 minidumps v1 to v3, with pages of 4 and 16 KiB", "[minidump]") {
  for (const int version : {1, 2, 3})
    for (const std::uint64_t page : {0x1000ull, 0x4000ull}) {
      if (page == 0x4000 && version < 3) continue;
      MinidumpSpec spec;
      spec.machine = "arm64";
      spec.version = version;
      spec.page_size = page;
      spec.kernbase = 0xffff000000000000;
      spec.dmapphys = 0x40000000;
      spec.dmapbase = 0xffffa00000000000;
      spec.dmapend = 0xffffa00080000000;
      // A page, nothing, a block's type (which means nothing at this level), a page with attributes in the high bits.
      spec.entries = number_row({0x40008703, 0, 0x40008701, 0x00600000'4000c703, 0x0060'0000'4010'0703}, 8);
      spec.pages = pages_at({0x40008000, 0x4000c000, 0x40010000}, page);
      if (version >= 2) spec.available = {{0x40000000, 0x40020000}, {0x50000000, 0x50010000}};
      check_all(spec, {{spec.kernbase + 8, 0x40008000}, unmapped(spec.kernbase + page), unmapped(spec.kernbase + 2 * page),
                       {spec.kernbase + 3 * page, 0x4000c000}, undumped(spec.kernbase + 4 * page), unmapped(spec.kernbase + 5 * page),
                       {0xffffa00000010000, 0x40010000}, undumped(0xffffa00010000000), undumped(0xffffa00070000000), unmapped(0xffffa00080000000)});
    }
}

TEST_CASE("arm64's page size is refused where it is reserved", "[minidump]") {
  MinidumpSpec spec;
  spec.machine = "arm64";
  Buffer bytes = write_minidump(spec);
  bytes[0x4c] = 2;
  CHECK(refusal(bytes) == "made.dump: page size 2 at 0x4c, expected 0 (4 KiB) or 1 (16 KiB)");
}

TEST_CASE("riscv minidumps", "[minidump]") {
  for (const int version : {1, 2}) {
    MinidumpSpec spec;
    spec.machine = "riscv";
    spec.version = version;
    spec.kernbase = 0xffffffc000000000;
    spec.dmapphys = 0x80000000;
    spec.dmapbase = 0xffffffd000000000;
    spec.dmapend = 0xffffffd100000000;
    // Frame number from bit 10: V R W A D, nothing, and Svpbmt's bits on top.
    spec.entries = number_row({0x80000000ull >> 12 << 10 | 0xc7, (0x80005000ull >> 12) << 10 | 0xc7, 0, (3ull << 61) | (0x80006000ull >> 12) << 10 | 0xc7}, 8);
    spec.pages = pages_at({0x80000000, 0x80005000, 0x80006000});
    if (version == 2) spec.available = {{0x80000000, 0x80100000}};
    check_all(spec, {{0xffffffc000000010, 0x80000000}, {0xffffffc000001000, 0x80005000}, unmapped(0xffffffc000002000), {0xffffffc000003000, 0x80006000},
                     unmapped(0xffffffc000004000), {0xffffffd000005000, 0x80005000}, undumped(0xffffffd000007000), unmapped(0xffffffd100000000)});
  }
}

TEST_CASE("arm minidumps of both byte orders have small and large pages", "[minidump]") {
  for (const int version : {1, 2})
    for (const bool big : {false, true}) {
      MinidumpSpec spec;
      spec.machine = "arm";
      spec.version = version;
      spec.big_endian = big;
      spec.bitmap_word = 4;
      spec.kernbase = 0xc0000000;
      std::vector<std::uint64_t> entries(32);
      for (std::size_t i = 0; i < 16; ++i) entries[i] = 0x10010001 | 0x7000;  // type 1; bits 15:12 are TEX and XN
      entries[16] = 0x10005002;  // types 2 and 3
      entries[17] = 0x10006003;
      spec.entries = number_row(entries, 4, big);
      spec.pages = pages_at({0x10005000, 0x10006000, 0x10010000, 0x1001f000});
      if (version == 2) spec.available = {{0x10000000, 0x10080000}};
      check_all(spec, {{0xc0000000, 0x10010000}, {0xc000f123, 0x1001f000}, undumped(0xc0001000), {0xc0010000, 0x10005000}, {0xc0011000, 0x10006000},
                       unmapped(0xc0012000), unmapped(0xc0020000), unmapped(0xbffff000)});
    }
}

TEST_CASE("mips minidumps of both widths and byte orders", "[minidump]") {
  for (const int version : {1, 2})
    for (const bool big : {false, true})
      for (const int bits : {32, 64}) {
        MinidumpSpec spec;
        spec.machine = "mips";
        spec.version = version;
        spec.big_endian = big;
        spec.bitmap_word = bits == 32 || version == 1 ? 4 : 8;
        spec.kernbase = bits == 32 ? 0xc0000000 : 0xc000000000000000;
        // EntryLo: frame number from bit 6; dirty 4, valid 2; the kernel's own bits on top.
        const std::uint64_t own = bits == 32 ? 1ull << 29 : 1ull << 55;
        spec.entries = number_row({5 << 6 | 0x6, 7 << 6 | 0x4, own | 6 << 6 | 0x2}, bits / 8, big);
        spec.pages = pages_at({0x5000, 0x6000, 0x45000});
        if (version == 2) spec.available = {{0, 0x80000}};
        const std::uint64_t seg0 = bits == 32 ? 0x80000000 : 0xffffffff80000000, seg1 = seg0 + 0x20000000;
        std::vector<Check> checks{{spec.kernbase + 0x10, 0x5000}, unmapped(spec.kernbase + 0x1000), {spec.kernbase + 0x2000, 0x6000}, unmapped(spec.kernbase + 0x3000),
                                  {seg0 + 0x45000, 0x45000}, {seg1 + 0x6008, 0x6000}, undumped(seg0 + 0x7000), unmapped(0x5000)};
        if (bits == 64) checks.insert(checks.end(), {{0x9800000000045000, 0x45000}, {0xa800000000005000, 0x5000}, undumped(0x9000000000000000), unmapped(0x8000010000000000)});
        check_all(spec, checks);
      }
}

namespace {

MinidumpSpec power(int version, bool big, const std::string& mmu) {
  MinidumpSpec spec;
  spec.machine = "powerpc64";
  spec.version = version;
  spec.big_endian = big;
  spec.mmu_name = mmu;
  spec.kernbase = 0xe000000000000000;
  spec.kernend = 0xe0000007ffffffff;
  spec.dmapbase = 0xc000000000000000;
  spec.dmapend = 0xcfffffffffffffff;
  spec.startkernel = 0xc000000000100100;
  if (version == 2) spec.available = {{0, 0x100000}, {0x8000000, 0x8100000}};
  return spec;
}

// Puts an entry for the page at `virt` into the table's group by its primary or secondary hash; Power ISA, book III, 5.7.9.
void put_hashed(Buffer& table, std::uint64_t virt, std::uint64_t phys, bool secondary, std::size_t slot) {
  const std::uint64_t esid = virt >> 28, page = virt >> 12 & 0xffff;
  const std::uint64_t vsid = (((esid << 8) | (esid >> 28)) * 0x13bb & 0xfffffffff) | 0x1000000000;
  std::uint64_t hash = vsid ^ page;
  if (secondary) hash = ~hash;
  const std::size_t group = hash & (table.size() / 128 - 1);
  const Buffer entry = number_row({vsid << 12 | (page >> 11) << 7 | (secondary ? 2 : 0) | 1, phys | 0x192}, 8, true);
  std::copy(entry.begin(), entry.end(), table.begin() + static_cast<std::ptrdiff_t>(group * 128 + slot * 16));
}

}  // namespace

TEST_CASE("powerpc64 minidumps with a hashed page table", "[minidump]") {
  for (const int version : {1, 2})
    for (const bool big : {true, false}) {
      MinidumpSpec spec = power(version, big, "mmu_phyp");
      spec.entries.resize(64 << 10);
      put_hashed(spec.entries, 0xe000000000005000, 0x5000, false, 0);
      put_hashed(spec.entries, 0xe000000000006000, 0x8006000, true, 7);
      put_hashed(spec.entries, 0xe000000123456000, 0x7000, false, 3);
      put_hashed(spec.entries, 0xe000000000009000, 0x9000, false, 5);
      spec.pages = pages_at({0x5000, 0x7000, 0x8006000});
      check_all(spec, {{0xe000000000005ff0, 0x5000}, {0xe000000000006000, 0x8006000}, {0xe000000123456010, 0x7000}, undumped(0xe000000000009000),
                       unmapped(0xe00000000000a000), unmapped(0xe000000800000000), {0xc000000000007000, 0x7000}, undumped(0xc000000000008000),
                       unmapped(0xd000000000000000), unmapped(0x100100)});
      const Dump dump = opened(write_minidump(spec));
      CHECK(dump.slide == 0xc000000000000000);
    }
}

TEST_CASE("powerpc64 minidumps with a radix tree", "[minidump]") {
  for (const int version : {1, 2})
    for (const bool big : {true, false}) {
      MinidumpSpec spec = power(version, big, "mmu_radix");
      spec.kernbase = 0xc008000000000000;
      spec.kernend = 0xc0087fffffffffff;
      spec.dmapend = version == 1 ? 0xcfffffffffffffff : 0xc007ffffffffffff;
      // 0xc008000000000000 >> 39 & 8191 is 4096.  Bit 63 valid, 62 leaf; entries are big-endian whatever the kernel is.
      std::vector<std::uint64_t> root(8192);
      root[4096] = 1ull << 63 | 0x9000 | 9;
      spec.entries = number_row(root, 8, true);
      spec.pages = pages_at({0x5000, 0x9000, 0xa000, 0xb000, 0x8000000});
      const auto put_table = [&](std::uint64_t at, std::vector<std::uint64_t> values) {
        values.resize(512);
        spec.pages[at] = number_row(values, 8, true);
      };
      put_table(0x9000, {1ull << 63 | 0xa000 | 9});
      put_table(0xa000, {1ull << 63 | 0xb000 | 9, 3ull << 62 | 0x8000000 | 0x18e, 1ull << 63 | 0xc000 | 9});
      put_table(0xb000, {3ull << 62 | 0x5000 | 0x18e, 0, 3ull << 62 | 0x7000 | 0x18e, 1ull << 63 | 0x5000});
      const Dump dump = opened(write_minidump(spec));
      INFO(dump.format << big);
      const AddressSpace space(*dump.memory, dump.kernel_map);
      for (const Check& check : std::vector<Check>{{0xc008000000000010, 0x5000}, unmapped(0xc008000000001000), undumped(0xc008000000002000), unmapped(0xc008000000003000),
                                                   {0xc008000000200000, 0x8000000}, undumped(0xc008000000201000), undumped(0xc008000000400000),
                                                   unmapped(0xc008000040000000), unmapped(0xc008008000000000), {0xc000000000005000, 0x5000}}) {
        INFO(std::hex << check.virt);
        CHECK(problem_at(dump, space, check, 4096) == "");
      }
    }
}

TEST_CASE("a radix kernel whose dump has no root leaves the direct map", "[minidump]") {
  MinidumpSpec spec = power(2, false, "mmu_radix");
  spec.pages = pages_at({0x5000});
  const Dump dump = opened(write_minidump(spec));
  CHECK(has_remark(dump, "only the direct map can be read"));
  CHECK(problem_at(dump, AddressSpace(*dump.memory, dump.kernel_map), {0xc000000000005000, 0x5000}, 4096) == "");
}

TEST_CASE("a page that two ranges share has its bit in the first", "[minidump]") {
  MinidumpSpec spec = amd64(3);
  spec.available = {{0x1000, 0x5800}, {0x5800, 0x9000}};  // 5 bits, then 4 of which the first is not used
  spec.pages = pages_at({0x2000, 0x5000, 0x6000, 0x8000});
  const Dump dump = opened(write_minidump(spec));
  for (const auto& [address, page] : spec.pages) CHECK(bytes_at(dump, address) == page);
  const auto ranges = dump.memory->ranges();
  REQUIRE(ranges.size() == 1);
  CHECK(ranges[0].first.raw == 0x1000);
  CHECK(ranges[0].size == 0x8000);
}

TEST_CASE("a range of RAM that lies inside another adds nothing", "[minidump]") {
  MinidumpSpec spec = amd64(3);
  spec.available = {{0x1000, 0x9000}, {0x3000, 0x5000}, {0x6000, 0xb000}};
  spec.pages = pages_at({0x2000, 0x4000, 0x7000, 0x8000, 0xa000});
  const Dump dump = opened(write_minidump(spec));
  for (const auto& [address, page] : spec.pages) CHECK(bytes_at(dump, address) == page);
  const auto ranges = dump.memory->ranges();
  REQUIRE(ranges.size() == 1);
  CHECK(ranges[0].first.raw == 0x1000);
  CHECK(ranges[0].size == 0xa000);
}

TEST_CASE("a read goes on over pages that follow each other, and ends where one is missing", "[minidump]") {
  MinidumpSpec spec = amd64(3);
  spec.available = {{0x1000, 0x4000}, {0x4000, 0x80000}};
  spec.pages = pages_at({0x2000, 0x3000, 0x4000, 0x5000, 0x7000});
  const Dump dump = opened(write_minidump(spec));
  CHECK(bytes_at(dump, 0x2800, 0x8000).size() == 0x3800);
  CHECK(bytes_at(dump, 0x2000, 0x4000) == join(join(page_of(0x2000), page_of(0x3000)), join(page_of(0x4000), page_of(0x5000))));
  CHECK(error_at(dump, 0x6000) == Errc::not_in_dump);
  CHECK(error_at(dump, 0x80000) == Errc::not_in_dump);
  CHECK(error_at(dump, ~0ull) == Errc::not_in_dump);
  CHECK_FALSE(dump.memory->view({0x2000}).empty());
}

TEST_CASE("a minidump that is cut says so, and what is behind the cut is lost", "[minidump]") {
  MinidumpSpec spec = amd64(3);
  spec.available = {{0x1000, 0x9f000}};
  spec.pages = pages_at({0x2000, 0x3000, 0x5000});
  spec.entries = number_row({0x2000e3}, 8);
  const Buffer whole = write_minidump(spec);
  REQUIRE(whole.size() == 8 * 4096);  // header, message, ranges, bitmap, entries, 3 pages
  const Dump in_page = opened(cut(whole, whole.size() - 100));
  CHECK(has_remark(in_page, "the file is cut: it ends at 0x7f9c, but holds pages up to 0x8000 or more"));
  CHECK(bytes_at(in_page, 0x5000).size() == 4096 - 100);
  CHECK(error_at(in_page, 0x5ff0) == Errc::lost);
  const Dump in_pages = opened(cut(whole, 6 * 4096));
  CHECK(bytes_at(in_pages, 0x2000) == page_of(0x2000));
  CHECK(error_at(in_pages, 0x3000) == Errc::lost);
  const Dump in_entries = opened(cut(whole, 4 * 4096));
  CHECK(error_at(in_entries, 0x2000) == Errc::lost);
  const AddressSpace space(*in_entries.memory, in_entries.kernel_map);
  CHECK(space.extent_at({0xfffffe0000000000}).error().code == Errc::lost);
  const Dump in_bitmap = opened(cut(whole, 3 * 4096));
  CHECK(has_remark(in_bitmap, "inside the bitmap of pages"));
  CHECK(error_at(in_bitmap, 0x2000) == Errc::lost);
  CHECK(has_remark(opened(cut(whole, 2 * 4096)), "ranges of RAM"));
  CHECK(refusal(cut(whole, 100)) == "made.dump: the file ends inside the minidump header");
}

TEST_CASE("minidumps that make no sense are refused with what was expected", "[minidump]") {
  MinidumpSpec spec = amd64(3);
  spec.pages = pages_at({0x2000});
  Buffer bytes = write_minidump(spec);
  bytes[0x18] = 4;
  CHECK(refusal(bytes) == "made.dump: minidump version 4 at 0x18, expected 1 to 3");
  spec.machine = "vax";
  CHECK(refusal(write_minidump(spec)).starts_with("made.dump: a minidump of 'FreeBSD/vax' at 0x0, expected one of FreeBSD/amd64, "));
  spec.machine = "amd64";
  spec.kernbase = 0xfffffe0000001000;
  CHECK(has_remark(opened(write_minidump(spec)), "kernel base 0xfffffe0000001000 at 0x28, expected a multiple of 0x200000"));
  spec.kernbase = 0xfffffe0000000000;
  spec.available = {{0x1000, 0x9000}, {0x9000, 0x2000}};
  CHECK(has_remark(opened(write_minidump(spec)), "ends before it begins"));
}
