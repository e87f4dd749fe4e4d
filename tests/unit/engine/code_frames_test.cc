// Functions as GNU as encodes them (AArch64; the others as LLVM's does), with its text beside them; DWARF numbers are 29 x29, 30 x30, 31 sp;
// RISC-V 2 sp, 8 s0; s390x 11 r11, 15 r15; Power 1 r1, 31 r31.
#include "engine/code_frames.h"

#include <catch2/catch.hpp>

#include <string>

using namespace kvm;
using Kind = UnwindRow::Kind;
using Saved = UnwindRow::Saved;

namespace {

constexpr std::uint64_t text = 0xffff'8000'8001'0000;
constexpr std::uint32_t nop = 0xd503201f, ret = 0xd65f03c0, stp_x29_x30_push_32 = 0xa9be7bfd, mov_x29_sp = 0x910003fd, ldp_x29_x30_pop_32 = 0xa8c27bfd,
                        blr_x1 = 0xd63f0020, trap = 0xd4210000, br_x16 = 0xd61f0200;
constexpr std::uint32_t saves_all[] = {0xa90007e0, 0xa9010fe2, 0xa90217e4, 0xa9031fe6, 0xa90427e8, 0xa9052fea, 0xa90637ec, 0xa9073fee,
                                       0xa90847f0, 0xa9094ff2, 0xa90a57f4, 0xa90b5ff6, 0xa90c67f8, 0xa90d6ffa, 0xa90e77fc};  // stp x0, x1, [sp] ...

// The row that holds at an address.
UnwindRow row_at(std::string_view machine, const std::vector<std::uint8_t>& bytes, const std::vector<CodeFunction>& functions, std::uint64_t address) {
  UnwindRow found;
  for (const UnwindRow& row : frames_of_code(*arch::find(machine), {text}, bytes, functions))
    if (row.address <= VirtAddr{address}) found = row;
  return found;
}

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
    return row_at("aarch64", bytes_, functions_, text + instruction * 4);
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

namespace {

// One function of instructions of any length, each in hex.
class Function {
 public:
  Function(std::string_view machine, std::initializer_list<std::string_view> instructions) : machine_(machine) {
    for (const std::string_view hex : instructions) {
      starts_.push_back(bytes_.size());
      for (std::size_t i = 0; i + 1 < hex.size(); i += 2)
        bytes_.push_back(static_cast<std::uint8_t>(std::stoul(std::string(hex.substr(i, 2)), nullptr, 16)));
    }
  }
  UnwindRow at(std::size_t instruction) const { return row_at(machine_, bytes_, {{{text}, false}}, text + starts_[instruction]); }

 private:
  std::string_view machine_;
  std::vector<std::uint8_t> bytes_;
  std::vector<std::size_t> starts_;
};

}  // namespace

TEST_CASE("Frames of code: RISC-V, instructions of two lengths", "[code_frames]") {
  const Function code("riscv64", {"7971", "06f4", "22f0", "0018",  // addi sp, sp, -48; sd ra, 40(sp); sd s0, 32(sp); addi s0, sp, 48
                                  "e7800200",                      // jalr t0
                                  "3301f140", "8297",              // sub sp, sp, a5; jalr a5
                                  "130104fd",                      // addi sp, s0, -48
                                  "a270", "0274", "4561", "8280"});  // ld ra, 40(sp); ld s0, 32(sp); addi sp, sp, 48; ret
  check_call(code.at(0), 2, 0, 0, 0);
  check_call(code.at(1), 2, 48, 0, 0);
  check_call(code.at(2), 2, 48, 0, -8);
  check_call(code.at(3), 2, 48, -16, -8);
  check_call(code.at(4), 8, 0, -16, -8);  // it leads to a frame record
  check_call(code.at(6), 8, 0, -16, -8);
  check_call(code.at(8), 8, 0, -16, -8);
  check_call(code.at(10), 2, 48, 0, 0);
  check_call(code.at(11), 2, 0, 0, 0);
}

TEST_CASE("Frames of code: RISC-V, a number in the frame pointer's register", "[code_frames]") {
  const Function code("riscv64", {"7971", "06f4", "22f0",  // addi sp, sp, -48; sd ra, 40(sp); sd s0, 32(sp)
                                  "2a84", "8297",          // mv s0, a0; jalr a5
                                  "22ec", "6264",          // sd s0, 24(sp); ld s0, 24(sp)
                                  "a270", "0274", "4561", "8287"});  // ...; jr a5
  for (const std::size_t i : {3u, 4u, 5u, 6u, 7u}) check_call(code.at(i), 2, 48, -16, -8);
  check_call(code.at(8), 2, 48, -16, 0);
  check_call(code.at(10), 2, 0, 0, 0);
}

TEST_CASE("Frames of code: s390x, the cfa lies above the stack pointer", "[code_frames]") {
  const Function code("s390x", {"eb9ff0600024", "b90400ef", "e3f0ffb0ff71",  // stmg %r9,%r15,96(%r15); lgr %r14,%r15; lay %r15,-80(%r15)
                                "a7840005",                                  // je to lmg
                                "c0e500000080", "af000000",                  // brasl %r14; mc 0,0
                                "eb9ff0b00004", "07fe"});                    // lmg %r9,%r15,176(%r15); br %r14
  check_call(code.at(0), 15, 160, 0, 0);
  check_call(code.at(1), 15, 160, -48, -24);
  for (const std::size_t i : {3u, 4u, 5u, 6u}) check_call(code.at(i), 15, 240, -48, -24);
  check_call(code.at(7), 15, 160, 0, 0);
}

TEST_CASE("Frames of code: s390x, what no way leads to, and a stack of unknown size", "[code_frames]") {
  const Function code("s390x", {"ebbff0580024", "e3f0ff60ff71", "b90400bf",  // stmg %r11,%r15,88(%r15); lay %r15,-160(%r15); lgr %r11,%r15
                                "b90900f1", "c0e500000080",                  // sgr %r15,%r1; brasl %r14
                                "ebbfb0f80004", "07f1",                      // lmg %r11,%r15,248(%r11); br %r1: a call without return
                                "c0e500000080"});                            // static keys lead here
  check_call(code.at(3), 15, 320, -72, -48);
  check_call(code.at(4), 11, 320, -72, -48);
  check_call(code.at(6), 15, 160, 0, 0);
  check_call(code.at(7), 15, 320, -72, -48);
}

TEST_CASE("Frames of code: s390x, another stack, and back", "[code_frames]") {
  const Function code("s390x", {"ebaff0680024", "e3f0ffc0ff71", "41b0f040",     // stmg %r10,%r15,104(%r15); lay %r15,-64(%r15); la %r11,64(%r15)
                                "b90400af", "e3f0f0a00004", "c0e500000080",     // lgr %r10,%r15; lg %r15,160(%r15); brasl %r14
                                "b90400fa", "ebaff0a80004", "07fe"});           // lgr %r15,%r10; lmg %r10,%r15,168(%r15); br %r14
  check_call(code.at(4), 15, 224, -48, -24);
  CHECK_FALSE(code.at(4).breaks_order());
  for (const std::size_t i : {5u, 6u}) check_call(code.at(i), 11, 160, -48, -24);
  CHECK(code.at(6).breaks_order());
  check_call(code.at(7), 15, 224, -48, -24);
  CHECK_FALSE(code.at(7).breaks_order());
  check_call(code.at(8), 15, 160, 0, 0);
}

TEST_CASE("Frames of code: Power, the return address goes through a copy", "[code_frames]") {
  const Function code("ppc64", {"3c4c0001", "38420000", "7c0802a6",              // addis 2, 12; addi 2, 2; mflr 0
                                "fbe1fff8", "f8010010", "f821ffc1",              // std 31, -8(1); std 0, 16(1); stdu 1, -64(1)
                                "48000100",                                      // bl
                                "38210040", "e8010010", "ebe1fff8", "7c0803a6", "4e800020"});  // addi 1, 1, 64; ld 0, 16(1); ld 31, -8(1); mtlr 0; blr
  check_call(code.at(3), 1, 0, 0, 0);
  check_call(code.at(4), 1, 0, -8, 0);
  check_call(code.at(5), 1, 0, -8, 16);
  check_call(code.at(6), 1, 64, -8, 16);
}

TEST_CASE("Frames of code: Power, epilogue, other stacks", "[code_frames]") {
  const Function code("ppc64le", {"a602087c", "100001f8", "c1ff21f8",                          // mflr 0; std 0, 16(1); stdu 1, -64(1)
                                  "813f23f8", "781b617c", "01010048",                          // stdu 1, 16256(3); mr 1, 3; bl
                                  "000021e8", "40002138", "100001e8", "a603087c", "2000804e"});  // ld 1, 0(1); addi 1, 1, 64; ld 0, 16(1); mtlr 0; blr
  CHECK(code.at(5).cfa == UnwindRow::Cfa::word_offset);  // the new stack's first word leads to the old one
  CHECK(code.at(5).cfa_register == 1);
  CHECK(code.at(5).cfa_offset == 64);
  CHECK(code.at(6).breaks_order());
  check_call(code.at(7), 1, 64, 0, 16);
  check_call(code.at(9), 1, 0, 0, 16);
  check_call(code.at(10), 1, 0, 0, 0);
}

TEST_CASE("Frames of code: Power, an out-of-line prologue saves the copy", "[code_frames]") {
  const Function code("ppc64", {"7c0802a6", "48000101", "f821ff91", "48000101"});  // mflr 0; bl _savegpr0_29; stdu 1, -112(1); bl
  check_call(code.at(2), 1, 0, 0, 16);
  check_call(code.at(3), 1, 112, 0, 16);
}

TEST_CASE("Frames of code: an instruction that goes on outside", "[code_frames]") {
  const Function code("s390x", {"eb9ff0600024", "eb9f"});
  check_call(code.at(1), 15, 160, -48, -24);
  CHECK(frames_of_code(*arch::find("s390x"), {text}, std::vector<std::uint8_t>{0xeb}, {{{text}, false}}).empty());
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
