// Bytes as DWARF 5 has them: section 6.4.1 for the entries, table 7.29 for the instructions, 7.7.1 for expressions; register
// numbers from the x86-64 psABI (6 rbp, 7 rsp, 16 the return address).
#include "engine/image/frames.h"

#include <catch2/catch.hpp>

#include "tests/support/kernel_fixture.h"

using namespace kvm;
using Kind = UnwindRow::Kind;
using Bytes_ = std::vector<std::uint8_t>;

namespace {

const arch::Arch& amd64() { return *arch::find("x86_64"); }

UnwindRow call(std::uint64_t address, int offset, unsigned reg = 7) {
  UnwindRow row;
  row.address = {address};
  row.kind = Kind::call;
  row.cfa_register = static_cast<std::uint8_t>(reg);
  row.cfa_offset = static_cast<std::int16_t>(offset);
  return row;
}

Bytes_ frames(std::vector<UnwindRow> rows, std::vector<Symbol> symbols = {}) {
  Pieces pieces;
  pieces.interrupt_frame = {{6, 32}, {16, 128}, {7, 152}};
  pieces.interrupt_partial = {{16, 0}, {7, 24}};
  Piece& piece = pieces.pieces.emplace_back();
  piece.unwind = std::move(rows);
  piece.symbols = std::move(symbols);
  return make_debug_frame(amd64(), pieces);
}

struct Entry {
  std::size_t at;
  Bytes_ bytes;  // behind the length
};
std::vector<Entry> entries(const Bytes_& section) {
  std::vector<Entry> all;
  for (std::size_t at = 0; at < section.size();) {
    REQUIRE(section.size() - at >= 8);
    const std::size_t length = section[at] | section[at + 1] << 8 | section[at + 2] << 16;
    REQUIRE(length <= section.size() - at - 4);
    CHECK(length % 8 == 0);
    all.push_back({at, Bytes_(section.begin() + static_cast<std::ptrdiff_t>(at + 4), section.begin() + static_cast<std::ptrdiff_t>(at + 4 + length))});
    at += 4 + length;
  }
  return all;
}

// What begins at `from` of an entry, as far as `expected` goes; the rest must be DW_CFA_nop.
bool ends_with_nops(const Bytes_& entry, std::size_t from, const Bytes_& expected) {
  for (std::size_t i = from; i < entry.size(); ++i)
    if (entry[i] != (i - from < expected.size() ? expected[i - from] : 0)) return false;
  return entry.size() >= from + expected.size();
}

}  // namespace

TEST_CASE("No unwind rows, no .debug_frame") { CHECK(make_debug_frame(amd64(), Pieces{{Piece{}}, {}, {}, {}, {}}).empty()); }

TEST_CASE("A function's frame entry: cfa, saved frame pointer, expressions") {
  std::vector<UnwindRow> rows{call(0x1000, 8), call(0x1001, 16), call(0x1041, 16, 6), call(0x1241, 8)};
  rows[1].fp = rows[2].fp = UnwindRow::Saved::at_cfa;
  rows[1].fp_offset = rows[2].fp_offset = -16;
  rows.push_back(call(0x1254, -40, 6));
  rows.back().cfa = UnwindRow::Cfa::word;
  rows.back().fp = UnwindRow::Saved::at_fp;
  rows.back().fp_offset = -8;
  const auto all = entries(frames(rows));
  REQUIRE(all.size() == 4);  // CIE, FDE, and both for user code

  const Bytes_& cie = all[0].bytes;
  const Bytes_ head{0xff, 0xff, 0xff, 0xff, 4, 0, 8, 0, 1, 0x78, 16, 0x0c, 7, 8};  // version 4, factors 1 and -8, RA 16; def_cfa r7 + 8
  REQUIRE(cie.size() > head.size());
  CHECK(Bytes_(cie.begin(), cie.begin() + static_cast<std::ptrdiff_t>(head.size())) == head);
  const Bytes_ undefined_rbx{0x07, 3}, same_rbp{0x08, 6}, return_address{0x90, 1};
  CHECK(std::ranges::search(cie, undefined_rbx).begin() != cie.end());
  CHECK(std::ranges::search(cie, same_rbp).begin() != cie.end());
  CHECK(std::ranges::search(cie, return_address).begin() != cie.end());

  const Bytes_& fde = all[1].bytes;
  CHECK(Bytes_(fde.begin(), fde.begin() + 4) == Bytes_{0, 0, 0, 0});  // its CIE
  CHECK(Bytes_(fde.begin() + 4, fde.begin() + 20) == Bytes_{0, 0x10, 0, 0, 0, 0, 0, 0, 0x55, 2, 0, 0, 0, 0, 0, 0});
  CHECK(ends_with_nops(fde, 20,
                       {0x41, 0x0c, 7, 16, 0x86, 2,             // + 1: cfa = rsp + 16, rbp at cfa - 16
                        0x02, 0x40, 0x0c, 6, 16,                // + 0x40: cfa = rbp + 16
                        0x03, 0x00, 0x02, 0x0c, 7, 8, 0x08, 6,  // + 0x200: cfa = rsp + 8, rbp as it is
                        0x53, 0x0f, 3, 0x76, 0x58, 0x06, 0x10, 6, 2, 0x76, 0x78}));  // + 19: breg6 -40, deref; rbp at breg6 -8
}

TEST_CASE("Interrupts: registers from their places, and 'S' where the caller was interrupted") {
  UnwindRow all = call(0x2000, 0), partial = call(0x2010, 8);
  all.kind = Kind::interrupt;
  all.interrupted = true;
  partial.kind = Kind::interrupt_partial;
  const auto made = entries(frames({all, partial}, {{"all", {0x2000}, 16, 't'}, {"partial", {0x2010}, 16, 't'}}));
  REQUIRE(made.size() == 6);
  CHECK(Bytes_(made[0].bytes.begin() + 4, made[0].bytes.begin() + 14) == Bytes_{4, 'z', 'S', 0, 8, 0, 1, 0x78, 16, 0});
  for (const Bytes_& place : {Bytes_{0x11, 6, 0x7c}, Bytes_{0x11, 16, 0x70}, Bytes_{0x11, 7, 0x6d}})  // factored by -8: 32, 128, 152
    CHECK(std::ranges::search(made[0].bytes, place).begin() != made[0].bytes.end());
  CHECK(ends_with_nops(made[1].bytes, 20, {}));  // 0: the size of nothing that belongs to "zS"
  CHECK(Bytes_(made[2].bytes.begin() + 4, made[2].bytes.begin() + 6) == Bytes_{4, 0});
  for (const Bytes_& place : {Bytes_{0x90, 0}, Bytes_{0x11, 7, 0x7d}})
    CHECK(std::ranges::search(made[2].bytes, place).begin() != made[2].bytes.end());
  CHECK(ends_with_nops(made[3].bytes, 20, {0x0c, 7, 8}));
}

TEST_CASE("A frame that leads to another stack is a signal frame, so that debuggers believe it") {
  UnwindRow row = call(0x3000, 8);
  row.cfa = UnwindRow::Cfa::word_offset;
  const auto made = entries(frames({row}));
  REQUIRE(made.size() == 4);
  CHECK(Bytes_(made[0].bytes.begin() + 4, made[0].bytes.begin() + 8) == Bytes_{4, 'z', 'S', 0});
  CHECK(ends_with_nops(made[1].bytes, 20, {0, 0x0f, 6, 0x77, 0, 0x06, 0x11, 8, 0x22}));  // breg7 0, deref, consts 8, plus
}

TEST_CASE("Where nothing is known, and in user code, the return address is undefined") {
  UnwindRow end = call(0xffffffff81000000, 0);
  end.kind = Kind::end;
  const auto made = entries(frames({end}));
  REQUIRE(made.size() == 3);  // user code shares the CIE
  const Bytes_ undefined{0x07, 16};
  CHECK(std::ranges::search(made[0].bytes, undefined).begin() != made[0].bytes.end());
  CHECK(Bytes_(made[2].bytes.begin() + 4, made[2].bytes.begin() + 12) == Bytes_{0, 0, 1, 0, 0, 0, 0, 0});
}

TEST_CASE("User code ends where the kernel begins") {
  Pieces pieces;
  Piece& piece = pieces.pieces.emplace_back();
  piece.unwind = {call(0xc0008000, 8)};
  piece.sections = {{".text", {0xc0008000}, 0x1000, true, false}, {".data", {0x8000}, 0x1000, false, true}};
  pieces.pieces.emplace_back().sections = {{"loop.text", {0xbf000000}, 0x1000, true, false}};
  const Bytes_ made = make_debug_frame(*arch::find("arm"), pieces);
  const Bytes_ user{0, 0, 1, 0, 0, 0, 0xff, 0xbe};  // from 0x10000, 0xbeff0000 bytes
  REQUIRE(made.size() > 16);
  CHECK(std::ranges::search(made, user).begin() != made.end());
}

TEST_CASE("Frame entries are cut where symbols begin") {
  const std::vector<UnwindRow> rows{call(0x1000, 8), call(0x1001, 16), call(0x1010, 8), call(0x1011, 16)};
  CHECK(entries(frames(rows)).size() == 4);
  CHECK(entries(frames(rows, {{"a", {0x1000}, 16, 't'}, {"b", {0x1010}, 16, 't'}})).size() == 5);
  const auto made = entries(frames(rows, {{"a", {0x1000}, 8, 't'}, {"b", {0x1008}, 16, 't'}}));  // b has no row of its own
  REQUIRE(made.size() == 5);
  CHECK(Bytes_(made[1].bytes.begin() + 4, made[1].bytes.begin() + 20) == Bytes_{0, 0x10, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0});
  CHECK(Bytes_(made[2].bytes.begin() + 4, made[2].bytes.begin() + 20) == Bytes_{8, 0x10, 0, 0, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0, 0, 0});
  CHECK(ends_with_nops(made[2].bytes, 20, {0x0c, 7, 16, 0x48, 0x0c, 7, 8, 0x41, 0x0c, 7, 16}));
}

TEST_CASE("Where nothing is known frame entries are not cut") {
  UnwindRow unknown = call(0x1010, 0);
  unknown.kind = Kind::unknown;
  std::vector<Symbol> symbols{{"a", {0x1000}, 16, 't'}, {"data", {0x1800}, 8, 'd'}, {"more", {0x1900}, 8, 'd'}, {"b", {0x2000}, 8, 't'}};
  auto made = entries(frames({call(0x1000, 8), unknown, call(0x2000, 8)}, symbols));
  REQUIRE(made.size() == 5);
  CHECK(Bytes_(made[1].bytes.begin() + 4, made[1].bytes.begin() + 20) == Bytes_{0, 0x10, 0, 0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0});
  CHECK(ends_with_nops(made[1].bytes, 20, {0x50, 0x07, 16}));  // + 16: no return address
  symbols[3].address = {0x1ff0};  // the function of which something is known from 0x2000 on
  made = entries(frames({call(0x1000, 8), unknown, call(0x2000, 8)}, symbols));
  REQUIRE(made.size() == 5);
  CHECK(Bytes_(made[2].bytes.begin() + 4, made[2].bytes.begin() + 20) == Bytes_{0xf0, 0x1f, 0, 0, 0, 0, 0, 0, 0x11, 0, 0, 0, 0, 0, 0, 0});
  CHECK(ends_with_nops(made[2].bytes, 20, {0x07, 16, 0x50, 0x90, 1}));
}

TEST_CASE("A function has one frame entry, whatever kinds of frames are in it") {
  std::vector<UnwindRow> rows{call(0x2000, 0), call(0x2004, 0), call(0x2008, 0), call(0x200c, 0)};
  rows[0].kind = Kind::end;
  rows[1].kind = rows[3].kind = Kind::interrupt;
  rows[2].kind = Kind::unknown;
  auto made = entries(frames(rows));
  REQUIRE(made.size() == 4);  // the return address goes and comes
  CHECK(ends_with_nops(made[1].bytes, 20, {0x07, 16, 0x44, 0x11, 16, 0x70, 0x44, 0x07, 16, 0x44, 0x11, 16, 0x70}));
  rows = {call(0x2000, 0), call(0x2004, 8)};
  rows[0].kind = Kind::interrupt;
  made = entries(frames(rows));
  REQUIRE(made.size() == 4);
  const Bytes_ of_a_call{0x08, 6, 0x90, 1, 0x14, 7, 0};  // rbp as it is, the return address at cfa - 8, rsp is the cfa
  CHECK(std::ranges::search(made[1].bytes, of_a_call).begin() != made[1].bytes.end());
}

TEST_CASE("Rows that are far apart are cut too") {
  CHECK(entries(frames({call(0x1000, 8), call(0x1'0000'2000, 16)})).size() == 5);
}

TEST_CASE("Rows of code that other files describe are left out") {
  UnwindRow other = call(0x1010, 0);
  other.kind = Kind::elsewhere;
  const auto made = entries(frames({call(0x1000, 8), other, call(0x2000, 8)}));
  REQUIRE(made.size() == 5);  // a CIE and two FDEs; both for user code
  CHECK(Bytes_(made[1].bytes.begin() + 12, made[1].bytes.begin() + 14) == Bytes_{0x10, 0});
}

TEST_CASE("A user's frame ends a backtrace where its addresses may be kernel code's") {
  Pieces pieces;
  pieces.interrupt_frame = {{6, 32}, {16, 128}};
  pieces.user_sign = {136, 3};
  UnwindRow row = call(0x2000, 0);
  row.kind = Kind::interrupt;
  pieces.pieces.emplace_back().unwind = {row};
  const auto made = entries(make_debug_frame(amd64(), pieces));
  REQUIRE(made.size() == 4);
  // r16: dup, the word at cfa + 136, and 3: when not zero over 7 bytes to drop, -1; else the word at cfa + 128, and over 3 bytes.
  const Bytes_ expected{0x16, 16, 21, 0x12, 0x23, 0x88, 1, 0x06, 0x10, 3, 0x1a, 0x28, 7, 0, 0x23, 0x80, 1, 0x06, 0x2f, 3, 0, 0x13, 0x09, 0xff};
  CHECK(Bytes_(made[3].bytes.begin() + 4, made[3].bytes.begin() + 12) == Bytes_{0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff});  // the end of backtraces
  CHECK(std::ranges::search(made[0].bytes, expected).begin() != made[0].bytes.end());
}

TEST_CASE("A stack pointer that is saved only with another stack") {
  Pieces pieces;
  pieces.interrupt_frame = {{16, 0x34}, {7, 0x40}};
  pieces.stack_switch = StackSwitch{0x38, 3};
  UnwindRow row = call(0x1000, 8);
  row.kind = Kind::interrupt;
  pieces.pieces.emplace_back().unwind = {row};
  const auto made = entries(make_debug_frame(amd64(), pieces));
  // val_expression of r7, 18 bytes: consts 0x40, plus, dup, consts -8, plus, deref, lit3, and, bra +3, skip +1, deref.
  const Bytes_ rule{0x16, 7, 18, 0x11, 0xc0, 0, 0x22, 0x12, 0x11, 0x78, 0x22, 0x06, 0x33, 0x1a, 0x28, 3, 0, 0x2f, 1, 0, 0x06};
  CHECK(std::ranges::search(made.at(0).bytes, rule).begin() != made.at(0).bytes.end());
}

TEST_CASE("A pc without a DWARF number has a column of its own") {
  Pieces pieces;
  pieces.interrupt_frame = {{67, 0x120}};
  pieces.pc_column = 67;
  UnwindRow row = call(0x1000, 48, 1);
  row.kind = Kind::interrupt;
  pieces.pieces.emplace_back().unwind = {row};
  const auto made = entries(make_debug_frame(*arch::find("ppc64le"), pieces));
  const Bytes_ head{0xff, 0xff, 0xff, 0xff, 4, 0, 8, 0, 1, 0x78, 67}, place{0x11, 67, 0x5c};  // -36 words
  CHECK(std::equal(head.begin(), head.end(), made.at(0).bytes.begin()));
  CHECK(std::ranges::search(made.at(0).bytes, place).begin() != made.at(0).bytes.end());
}

// Registers of DWARF for the Arm 64-bit Architecture: 29 x29, 30 x30, 31 sp, 32 pc.
TEST_CASE("Where calls leave the return address in a register") {
  UnwindRow leaf = call(0x1000, 0, 31), framed = call(0x1004, 32, 29), again = call(0x1010, 0, 31), interrupted = call(0x2000, 0, 31);
  leaf.ra = again.ra = UnwindRow::Ra::in_register;
  framed.fp = UnwindRow::Saved::at_cfa;
  framed.ra = UnwindRow::Ra::at_cfa;
  framed.fp_offset = -32, framed.ra_offset = -24;
  interrupted.kind = Kind::interrupt;
  Pieces pieces;
  pieces.interrupt_frame = {{29, 232}, {30, 240}, {31, 248}, {32, 256}};
  pieces.pieces.emplace_back().unwind = {leaf, framed, again};
  auto made = entries(make_debug_frame(*arch::find("aarch64"), pieces));
  REQUIRE(made.size() == 4);
  const Bytes_ head{0xff, 0xff, 0xff, 0xff, 4, 0, 8, 0, 1, 0x78, 32, 0x0c, 31, 0};  // the return address is the pc's; cfa = sp
  REQUIRE(made[0].bytes.size() > head.size());
  CHECK(Bytes_(made[0].bytes.begin(), made[0].bytes.begin() + static_cast<std::ptrdiff_t>(head.size())) == head);
  const Bytes_ pc_is_x30{0x09, 32, 30};
  CHECK(std::ranges::search(made[0].bytes, pc_is_x30).begin() != made[0].bytes.end());
  CHECK(ends_with_nops(made[1].bytes, 20,
                       {0x44, 0x9e, 3, 0xa0, 3, 0x0c, 29, 32, 0x9d, 4,             // + 4: x30 and pc at cfa - 24; cfa = x29 + 32; x29 at cfa - 32
                        0x4c, 0x08, 30, 0x09, 32, 30, 0x0c, 31, 0, 0x08, 29}));  // + 12: x30 as it is, pc in it; cfa = sp; x29 as it is
  pieces.pieces[0].unwind = {interrupted};
  made = entries(make_debug_frame(*arch::find("aarch64"), pieces));
  for (const Bytes_& place : {Bytes_{0x11, 30, 0x62}, Bytes_{0x11, 32, 0x60}})  // factored by -8: 240, 256
    CHECK(std::ranges::search(made[0].bytes, place).begin() != made[0].bytes.end());
}

// Registers of the s390x supplement: 11 r11, 14 r14, 15 r15, 65 the pc.
TEST_CASE("A cfa above the caller's stack pointer") {
  UnwindRow leaf = call(0x1000, 160, 15), framed = call(0x1006, 240, 15);
  leaf.ra = UnwindRow::Ra::in_register;
  framed.ra = UnwindRow::Ra::at_cfa;
  framed.ra_offset = -24;
  Pieces pieces;
  pieces.interrupt_frame = {{15, 176}, {65, 8}};
  pieces.pieces.emplace_back().unwind = {leaf, framed};
  const Bytes_ made = make_debug_frame(*arch::find("s390x"), pieces);
  const auto holds = [&](const Bytes_& bytes) { return std::ranges::search(made, bytes).begin() != made.end(); };
  CHECK(holds({0x0c, 15, 0xa0, 1}));                                     // cfa = r15 + 160
  CHECK(holds({0x14, 15, 20}));                                          // r15 was the cfa - 20 words
  CHECK(holds({0x46, 0x8e, 3, 0x11, 65, 3, 0x0c, 15, 0xf0, 1}));         // + 6: r14 and the pc at cfa - 24; cfa = r15 + 240
}
