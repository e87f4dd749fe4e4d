// Functions as GNU as encodes them (AArch64), with its text beside them; DWARF numbers are 29 x29, 30 x30, 31 sp.
#include "engine/code_frames.h"

#include <catch2/catch.hpp>

using namespace kvm;
using Kind = UnwindRow::Kind;
using Saved = UnwindRow::Saved;

namespace {

constexpr std::uint64_t text = 0xffff'8000'8001'0000;
constexpr std::uint32_t nop = 0xd503201f, ret = 0xd65f03c0, stp_x29_x30_push_32 = 0xa9be7bfd, mov_x29_sp = 0x910003fd, ldp_x29_x30_pop_32 = 0xa8c27bfd,
                        blr_x1 = 0xd63f0020, trap = 0xd4210000, br_x16 = 0xd61f0200;
constexpr std::uint32_t saves_all[] = {0xa90007e0, 0xa9010fe2, 0xa90217e4, 0xa9031fe6, 0xa90427e8, 0xa9052fea, 0xa90637ec, 0xa9073fee,
                                       0xa90847f0, 0xa9094ff2, 0xa90a57f4, 0xa90b5ff6, 0xa90c67f8, 0xa90d6ffa, 0xa90e77fc};  // stp x0, x1, [sp] ...

class Code {
 public:
  Code& function(bool called = false) {
    functions_.push_back({VirtAddr{text + bytes_.size()}, called});
    return *this;
  }
  Code& add(std::initializer_list<std::uint32_t> words) {
    for (const std::uint32_t word : words)
      for (unsigned shift = 0; shift < 32; shift += 8) bytes_.push_back(static_cast<std::uint8_t>(word >> shift));
    return *this;
  }
  Code& add_saves_all() {
    for (const std::uint32_t word : saves_all) add({word});
    return *this;
  }
  // The row that holds at the instruction with this number.
  UnwindRow at(std::size_t instruction) const {
    const auto rows = frames_of_code(*arch::find("aarch64"), {text}, bytes_, functions_);
    UnwindRow found;
    for (const UnwindRow& row : rows)
      if (row.address <= VirtAddr{text + instruction * 4}) found = row;
    return found;
  }

 private:
  std::vector<std::uint8_t> bytes_;
  std::vector<CodeFunction> functions_;
};

void check_call(const UnwindRow& row, unsigned reg, int offset, int fp, int ra) {
  CHECK(row.kind == Kind::call);
  CHECK(row.cfa_register == reg);
  CHECK(row.cfa_offset == offset);
  CHECK(row.fp == (fp ? Saved::at_cfa : Saved::unchanged));
  CHECK(row.ra == (ra ? UnwindRow::Ra::at_cfa : UnwindRow::Ra::in_register));
  if (fp) CHECK(row.fp_offset == fp);
  if (ra) CHECK(row.ra_offset == ra);
}

}  // namespace

TEST_CASE("Frames of code: a function's beginning, body and end", "[code_frames]") {
  const Code code = Code().function().add({nop, stp_x29_x30_push_32, mov_x29_sp, blr_x1, ldp_x29_x30_pop_32, ret});
  check_call(code.at(0), 31, 0, 0, 0);
  check_call(code.at(1), 31, 0, 0, 0);
  check_call(code.at(2), 31, 32, -32, -24);
  check_call(code.at(3), 29, 32, -32, -24);
  check_call(code.at(4), 29, 32, -32, -24);
  check_call(code.at(5), 31, 0, 0, 0);
}

TEST_CASE("Frames of code: blocks before a frame and behind its end", "[code_frames]") {
  const Code code = Code().function().add({0xb40000c2,  // cbz x2, 6
                                           stp_x29_x30_push_32, mov_x29_sp,
                                           0xb4000081,  // cbz x1, 7
                                           ldp_x29_x30_pop_32, ret,
                                           ret,
                                           0x17fffffd});  // b 4
  check_call(code.at(5), 31, 0, 0, 0);
  check_call(code.at(6), 31, 0, 0, 0);
  check_call(code.at(7), 29, 32, -32, -24);
}

TEST_CASE("Frames of code: a stack pointer that moves by an unknown amount", "[code_frames]") {
  const Code code = Code().function().add({stp_x29_x30_push_32, mov_x29_sp,
                                           0xcb2063ff,  // sub sp, sp, x0
                                           blr_x1,
                                           0x910003bf,  // mov sp, x29
                                           ldp_x29_x30_pop_32, ret});
  check_call(code.at(3), 29, 32, -32, -24);
  CHECK_FALSE(code.at(3).breaks_order());
  check_call(code.at(6), 31, 0, 0, 0);
}

TEST_CASE("Frames of code: another stack", "[code_frames]") {
  const Code code = Code().function().add({stp_x29_x30_push_32, mov_x29_sp,
                                           0x9140121f,  // add sp, x16, #0x4, lsl #12
                                           blr_x1,
                                           0x910003bf,  // mov sp, x29
                                           ldp_x29_x30_pop_32, ret});
  CHECK_FALSE(code.at(2).breaks_order());
  check_call(code.at(3), 29, 32, -32, -24);
  CHECK(code.at(3).breaks_order());
  CHECK_FALSE(code.at(5).breaks_order());
}

TEST_CASE("Frames of code: numbers in the registers of the frame are no frame", "[code_frames]") {
  const Code code = Code().function().add({stp_x29_x30_push_32, mov_x29_sp,
                                           0xf9400bfe,  // ldr x30, [sp, #16]
                                           nop, ldp_x29_x30_pop_32, ret});
  check_call(code.at(3), 29, 32, -32, -24);
}

TEST_CASE("Frames of code: who calls without having saved the return address has no caller", "[code_frames]") {
  const Code code = Code().function().add({blr_x1, nop, blr_x1, nop});
  check_call(code.at(0), 31, 0, 0, 0);
  for (std::size_t i = 1; i < 4; ++i) CHECK(code.at(i).kind == Kind::end);
}

TEST_CASE("Frames of code: a trap before the frame is no way into the rest", "[code_frames]") {
  const Code code = Code().function().add({0xb40000c2,  // cbz x2, 6
                                           stp_x29_x30_push_32, mov_x29_sp, blr_x1, ldp_x29_x30_pop_32, ret,
                                           trap, nop, 0x17fffffb});  // 8: b 3
  check_call(code.at(6), 31, 0, 0, 0);
  check_call(code.at(7), 29, 32, -32, -24);
}

TEST_CASE("Frames of code: behind a table's jump the frame is as it was there", "[code_frames]") {
  const Code code = Code().function().add({0xb40000c2,  // cbz x2, 6
                                           br_x16, nop, ret, nop, ret,
                                           stp_x29_x30_push_32, mov_x29_sp, br_x16, blr_x1, ldp_x29_x30_pop_32, ret});
  check_call(code.at(2), 31, 0, 0, 0);
  check_call(code.at(4), 31, 0, 0, 0);
  check_call(code.at(9), 29, 32, -32, -24);
}

TEST_CASE("Frames of code: where interrupts and system calls enter", "[code_frames]") {
  const Code code = Code()
                        .function().add({0xd10543ff, 0x14000002})  // 0: sub sp, sp, #0x150; b 3
                        .function().add({nop})
                        .function().add_saves_all().add({blr_x1, 0x14000012})         // 3...: b 37
                        .function(true).add_saves_all().add({blr_x1, 0x14000002})     // 20...: b 38
                        .function().add({nop, nop});                                  // 37, 38
  CHECK(code.at(0).kind == Kind::unknown);  // nothing is saved yet
  for (const std::size_t interrupted : {3u, 10u, 18u, 19u, 37u}) {
    INFO(interrupted);
    CHECK(code.at(interrupted).kind == Kind::interrupt);
    CHECK(code.at(interrupted).cfa_register == 31);
    CHECK(code.at(interrupted).cfa_offset == 0);
    CHECK(code.at(interrupted).breaks_order());
  }
  CHECK(code.at(35).kind == Kind::interrupt);
  CHECK_FALSE(code.at(35).breaks_order());  // a call
}

TEST_CASE("Frames of code: of code that is not in the dump, what the frame pointer leads to", "[code_frames]") {
  const Code code = Code().function().add({nop, 0, 0, ret});
  check_call(code.at(1), 29, 16, -16, -8);
}

TEST_CASE("Frames of code: nonsense", "[code_frames]") {
  const arch::Arch& arm = *arch::find("aarch64");
  const std::vector<std::uint8_t> code(7, 0x14);
  CHECK(frames_of_code(arm, {text}, code, {}).empty());
  CHECK(frames_of_code(arm, {text}, {}, {{{text}, false}}).empty());
  CHECK(frames_of_code(arm, {text}, code, {{{text + 4}, false}, {{text + 0x1000}, false}}).empty());
  CHECK(frames_of_code(arm, {text}, code, {{{text - 8}, false}, {{text}, false}}).size() == 1);
  CHECK(frames_of_code(*arch::find("x86_64"), {text}, code, {{{text}, false}}).empty());
}
