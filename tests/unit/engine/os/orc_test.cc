// Entries are written bit by bit as arch/x86/include/asm/orc_types.h declares them in the named versions.
#include "engine/os/linux/orc.h"

#include <catch2/catch.hpp>

#include "tests/support/kernel_fixture.h"

using namespace kvm;
using namespace kvm::testing;
using Kind = UnwindRow::Kind;
using Cfa = UnwindRow::Cfa;
using Saved = UnwindRow::Saved;

namespace {

struct Entry {
  std::uint64_t address;
  std::int16_t sp_offset, bp_offset;
  std::uint16_t flags;
};

constexpr const char* v6_1 = "sp_offset 0 s2; bp_offset 2 s2; sp_reg 4 b1:0:4; bp_reg 4 b1:4:4; type 5 b1:0:2; end 5 b1:2:1";
constexpr const char* v6_3 = "sp_offset 0 s2; bp_offset 2 s2; sp_reg 4 b1:0:4; bp_reg 4 b1:4:4; type 5 b1:0:2; signal 5 b1:2:1; end 5 b1:3:1";
constexpr const char* v6_4 = "sp_offset 0 s2; bp_offset 2 s2; sp_reg 4 b1:0:4; bp_reg 4 b1:4:4; type 5 b1:0:3; signal 5 b1:3:1";

// Writes the tables as the linker does, and defines their symbols.
void put_tables(FakeKernel& kernel, const char* layout, const std::vector<Entry>& entries) {
  kernel.types.define("orc_entry", 6, layout);
  const VirtAddr ips = kernel.variable("__start_orc_unwind_ip", entries.size() * 4), rows = kernel.variable("__start_orc_unwind", entries.size() * 6);
  kernel.symbols.add("__stop_orc_unwind_ip", ips + entries.size() * 4);
  for (std::size_t i = 0; i < entries.size(); ++i) {
    kernel.put(ips + i * 4, entries[i].address - (ips + i * 4).raw, 4);
    kernel.put(rows + i * 6, static_cast<std::uint16_t>(entries[i].sp_offset), 2);
    kernel.put(rows + i * 6 + 2, static_cast<std::uint16_t>(entries[i].bp_offset), 2);
    kernel.put(rows + i * 6 + 4, entries[i].flags, 2);
  }
}

std::vector<UnwindRow> rows_of(FakeKernel& kernel) {
  std::vector<std::string> remarks;
  auto rows = os_linux::kernel_unwind(kernel.view(), kernel.symbols, remarks);
  for (const std::string& remark : remarks) UNSCOPED_INFO(remark);
  CHECK(remarks.empty());
  return rows;
}

constexpr std::uint64_t text = 0xffffffff81000000;

}  // namespace

TEST_CASE("ORC entries before v6.3: an interrupt's frame is a signal frame") {
  FakeKernel kernel;
  put_tables(kernel, v6_1,
             {{text + 0x00, 8, 0, 0x005},          // sp + 8, call
              {text + 0x04, 16, -16, 0x015},       // sp + 16, fp saved at cfa - 16
              {text + 0x08, 16, -16, 0x014},       // fp + 16
              {text + 0x10, -40, -8, 0x048},       // the word at fp - 40; fp saved at fp - 8
              {text + 0x20, 8, 0, 0x009},          // the word at sp, + 8
              {text + 0x28, 8, 0, 0x006},          // r10
              {text + 0x30, 0, 0, 0x105},          // pt_regs at sp
              {text + 0x38, 8, 0, 0x205},          // the processor's part of it
              {text + 0x40, 0, 0, 0x400},          // end of stack
              {text + 0x48, 0, 0, 0x000}});        // nothing known
  const auto rows = rows_of(kernel);
  REQUIRE(rows.size() == 10);
  const auto is = [&](std::size_t i, Kind kind, Cfa cfa, unsigned reg, int offset) {
    INFO("row " << i);
    CHECK(rows[i].kind == kind);
    CHECK(rows[i].cfa == cfa);
    CHECK(rows[i].cfa_register == reg);
    CHECK(rows[i].cfa_offset == offset);
  };
  is(0, Kind::call, Cfa::offset, 7, 8);  // DWARF numbers: 7 rsp, 6 rbp, 10 r10
  is(1, Kind::call, Cfa::offset, 7, 16);
  is(2, Kind::call, Cfa::offset, 6, 16);
  is(3, Kind::call, Cfa::word, 6, -40);
  is(4, Kind::call, Cfa::word_offset, 7, 8);
  is(5, Kind::call, Cfa::offset, 10, 0);
  is(6, Kind::interrupt, Cfa::offset, 7, 0);
  is(7, Kind::interrupt_partial, Cfa::offset, 7, 8);
  CHECK(rows[8].kind == Kind::end);
  CHECK(rows[9].kind == Kind::unknown);
  CHECK(rows[0].address.raw == text);
  CHECK(rows[9].address.raw == text + 0x48);
  CHECK(rows[0].fp == Saved::unchanged);
  CHECK((rows[1].fp == Saved::at_cfa && rows[1].fp_offset == -16));
  CHECK((rows[3].fp == Saved::at_fp && rows[3].fp_offset == -8));
  CHECK_FALSE(rows[0].interrupted);
  CHECK(rows[6].interrupted);
  CHECK(rows[7].interrupted);
}

TEST_CASE("ORC entries say themselves what is a signal frame, since v6.3") {
  FakeKernel kernel;
  put_tables(kernel, v6_3, {{text, 8, 0, 0x005}, {text + 4, 0, 0, 0x105}, {text + 8, 0, 0, 0x505}, {text + 12, 0, 0, 0x800}});
  const auto rows = rows_of(kernel);
  REQUIRE(rows.size() == 4);
  CHECK((rows[1].kind == Kind::interrupt && !rows[1].interrupted));
  CHECK((rows[2].kind == Kind::interrupt && rows[2].interrupted));
  CHECK(rows[3].kind == Kind::end);
}

TEST_CASE("ORC types were renumbered in v6.4, registers in v7.1") {
  const auto kinds = [](const std::vector<UnwindRow>& rows) {
    std::vector<Kind> all;
    for (const UnwindRow& row : rows) all.push_back(row.kind);
    return all;
  };
  const std::vector<Kind> expected{Kind::call, Kind::call, Kind::interrupt, Kind::interrupt_partial, Kind::end, Kind::unknown};
  {
    FakeKernel kernel;
    put_tables(kernel, v6_4, {{text, 8, 0, 0x205}, {text + 4, 16, -16, 0x215}, {text + 8, 0, 0, 0xb05}, {text + 12, 0, 0, 0xc05},
                              {text + 16, 0, 0, 0x100}, {text + 20, 0, 0, 0x000}});
    CHECK(kinds(rows_of(kernel)) == expected);
  }
  {
    FakeKernel kernel;
    put_tables(kernel, v6_4, {{text, 8, 0, 0x203}, {text + 4, 16, -16, 0x283}, {text + 8, 0, 0, 0xb03}, {text + 12, 0, 0, 0xc03},
                              {text + 16, 0, 0, 0x100}, {text + 20, 0, 0, 0x000}});
    const auto rows = rows_of(kernel);
    CHECK(kinds(rows) == expected);
    CHECK(rows[1].cfa_register == 7);
    CHECK((rows[1].fp == Saved::at_cfa && rows[1].fp_offset == -16));
  }
}

TEST_CASE("Of two ORC entries for one address the last holds; unsorted ones are sorted") {
  FakeKernel kernel;
  put_tables(kernel, v6_4, {{text + 8, 24, 0, 0x205}, {text, 8, 0, 0x205}, {text + 4, 0, 0, 0x000}, {text + 4, 16, 0, 0x205}});
  const auto rows = rows_of(kernel);
  REQUIRE(rows.size() == 3);
  CHECK(rows[1].kind == Kind::call);
  CHECK(rows[1].cfa_offset == 16);
  CHECK(rows[2].cfa_offset == 24);
}

TEST_CASE("A system call's frame is left like a call's") {
  FakeKernel kernel;
  put_tables(kernel, v6_4, {{text, 8, 0, 0x205}, {text + 0x100, 0, 0, 0xb05}, {text + 0x200, 0, 0, 0xb05}});
  kernel.symbols.add("entry_SYSCALL_64", {text + 0x100}, 0x100, 'T');
  kernel.symbols.add("asm_exc_page_fault", {text + 0x200}, 0x40, 'T');
  const auto rows = rows_of(kernel);
  REQUIRE(rows.size() == 3);
  CHECK_FALSE(rows[1].interrupted);
  CHECK(rows[2].interrupted);
}

TEST_CASE("Pages of the ORC tables that are not in the dump cost their rows") {
  FakeKernel kernel;
  std::vector<Entry> entries;
  for (std::uint64_t i = 0; i < 3000; ++i) entries.push_back({text + i * 16, 8, 0, 0x205});
  put_tables(kernel, v6_4, entries);
  const VirtAddr ips = kernel.symbols.find("__start_orc_unwind_ip")->address;
  const VirtAddr lost{(ips.raw + 0x1fff) & ~std::uint64_t{0xfff}};
  kernel.memory.exclude(kernel.phys(lost));
  std::vector<std::string> remarks;
  const auto rows = os_linux::kernel_unwind(kernel.view(), kernel.symbols, remarks);
  const std::size_t before = (lost - ips) / 4;
  REQUIRE(rows.size() == 3000 - 1024);
  CHECK(rows[before - 1].kind == Kind::unknown);  // nobody knows how far it goes
  CHECK(rows[before].address.raw == text + (before + 1024) * 16);
  REQUIRE(remarks.size() == 1);
  CHECK(remarks[0] == "1024 rows of the unwind table (ORC) of the kernel are missing; backtraces may end in the kernel");
}

TEST_CASE("ORC tables that make no sense are a remark") {
  const auto remark = [](FakeKernel& kernel) {
    std::vector<std::string> remarks;
    CHECK(os_linux::kernel_unwind(kernel.view(), kernel.symbols, remarks).empty());
    REQUIRE(remarks.size() == 1);
    return remarks[0];
  };
  FakeKernel none;
  CHECK(remark(none).find("symbol __start_orc_unwind_ip is not known") != std::string::npos);
  FakeKernel endless;
  put_tables(endless, v6_4, {{text, 8, 0, 0x205}});
  endless.symbols.add("__stop_orc_unwind_ip", {0xffffffffffffff00});
  CHECK(remark(endless).find("rows") != std::string::npos);
  FakeKernel other;
  put_tables(other, "sp_offset 0 s2; bp_offset 2 s2; sp_reg 4 b1:0:4; bp_reg 4 b1:4:4; type 7 b1:0:3", {{text, 8, 0, 0x205}});
  CHECK(remark(other).find("another layout: type") != std::string::npos);
}

TEST_CASE("An interrupt's registers lie where struct pt_regs has them") {
  FakeKernel kernel;
  kernel.types.define("pt_regs", 168, "r15 0 u8; bp 32 u8; ax 80 u8; orig_ax 120 u8; ip 128 u8; cs 136 u8; flags 144 u8; sp 152 u8; ss 160 u8");
  Pieces pieces;
  os_linux::add_interrupt_places(kernel.view(), pieces);
  const auto at = [](const std::vector<SavedAt>& places, unsigned reg) -> std::optional<std::int64_t> {
    for (const SavedAt& place : places)
      if (place.reg == reg) return place.offset;
    return std::nullopt;
  };
  CHECK(at(pieces.interrupt_frame, 15) == 0);    // r15
  CHECK(at(pieces.interrupt_frame, 6) == 32);    // rbp
  CHECK(at(pieces.interrupt_frame, 16) == 128);  // rip
  CHECK(at(pieces.interrupt_frame, 7) == 152);   // rsp
  CHECK(at(pieces.interrupt_partial, 16) == 0);
  CHECK(at(pieces.interrupt_partial, 7) == 24);
  CHECK_FALSE(at(pieces.interrupt_partial, 6));
  CHECK(pieces.interrupt_partial.size() == 5);
}
