// AArch64's instructions as GNU as encodes them, with its text beside them.
#include <catch2/catch.hpp>

#include "arch/arch.h"

using namespace kvm;
using arch::FrameStep;
using Flow = FrameStep::Flow;
using Sp = FrameStep::Sp;
using Fp = FrameStep::Fp;
using Words = FrameStep::Words;

namespace {

const arch::FrameCode& frame_code() { return *arch::find("aarch64")->frame_code; }

FrameStep step(std::uint32_t word, std::uint64_t address = 0x1000) {
  const std::uint8_t bytes[] = {static_cast<std::uint8_t>(word), static_cast<std::uint8_t>(word >> 8), static_cast<std::uint8_t>(word >> 16),
                                static_cast<std::uint8_t>(word >> 24)};
  return frame_code().step(std::span(bytes), address);
}

void check_moves(std::uint32_t word, Sp sp, Fp fp, std::int32_t amount) {
  const FrameStep got = step(word);
  INFO(std::hex << word);
  CHECK(got.flow == Flow::next);
  CHECK(got.sp == sp);
  CHECK(got.fp == fp);
  CHECK(got.words == Words::none);
  if (sp != Sp::kept && sp != Sp::varied && sp != Sp::switched) CHECK(got.amount == amount);
  if (fp == Fp::from_sp) CHECK(got.amount == amount);
}

void check_words(std::uint32_t word, Words words, std::int32_t fp_at, std::int32_t ra_at, Sp sp = Sp::kept, std::int32_t amount = 0) {
  const FrameStep got = step(word);
  INFO(std::hex << word);
  CHECK(got.words == words);
  CHECK(got.fp_at == fp_at);
  CHECK(got.ra_at == ra_at);
  CHECK(got.sp == sp);
  if (sp == Sp::moved) CHECK(got.amount == amount);
}

void check_flow(std::uint32_t word, Flow flow, std::uint64_t target = 0) {
  const FrameStep got = step(word);
  INFO(std::hex << word);
  CHECK(got.flow == flow);
  CHECK(got.target == target);
  CHECK(got.sp == Sp::kept);
}

constexpr std::int32_t nowhere = FrameStep::nowhere;

}  // namespace

TEST_CASE("AArch64: the stack and frame pointers", "[arch][aarch64]") {
  check_moves(0x910003fd, Sp::kept, Fp::from_sp, 0);        // mov x29, sp
  check_moves(0x9106c3fd, Sp::kept, Fp::from_sp, 0x1b0);    // add x29, sp, #0x1b0
  check_moves(0xd10843ff, Sp::moved, Fp::kept, -0x210);     // sub sp, sp, #0x210
  check_moves(0x910843ff, Sp::moved, Fp::kept, 0x210);      // add sp, sp, #0x210
  check_moves(0x910003bf, Sp::from_fp, Fp::kept, 0);        // mov sp, x29
  check_moves(0xd10043bf, Sp::from_fp, Fp::kept, -0x10);    // sub sp, x29, #0x10
  check_moves(0xcb2063ff, Sp::varied, Fp::kept, 0);         // sub sp, sp, x0
  check_moves(0x927cec7f, Sp::varied, Fp::kept, 0);         // and sp, x3, #0xfffffffffffffff0
  check_moves(0x9140121f, Sp::switched, Fp::kept, 0);       // add sp, x16, #0x4, lsl #12
  check_moves(0xaa0103fd, Sp::kept, Fp::changed, 0);        // mov x29, x1
  for (const std::uint32_t other : {0xd503233fu, 0xd50323bfu, 0xd503201fu, 0xd53b4229u, 0x91002020u, 0xf9400420u, 0xaa0903feu})
    check_moves(other, Sp::kept, Fp::kept, 0);  // paciasp; autiasp; nop; mrs x9, daif; add x0, x1, #8; ldr x0, [x1, #8]; mov x30, x9
}

TEST_CASE("AArch64: what is saved and restored", "[arch][aarch64]") {
  check_words(0xa9be7bfd, Words::saved, -0x20, -0x18, Sp::moved, -0x20);   // stp x29, x30, [sp, #-32]!
  check_words(0xa91b7bfd, Words::saved, 0x1b0, 0x1b8);                     // stp x29, x30, [sp, #432]
  check_words(0xa8c27bfd, Words::restored, 0, 8, Sp::moved, 0x20);         // ldp x29, x30, [sp], #32
  check_words(0xf81f0ffe, Words::saved, nowhere, -16, Sp::moved, -16);     // str x30, [sp, #-16]!
  check_words(0xf84107fe, Words::restored, nowhere, 0, Sp::moved, 16);     // ldr x30, [sp], #16
  check_words(0xf94037fe, Words::restored, nowhere, 104);                  // ldr x30, [sp, #104]
  check_words(0xf81e0ff3, Words::none, nowhere, nowhere, Sp::moved, -32);  // str x19, [sp, #-32]!
  check_words(0xa90153f3, Words::none, nowhere, nowhere);                  // stp x19, x20, [sp, #16]
  check_words(0xa9137fff, Words::none, nowhere, nowhere);                  // stp xzr, xzr, [sp, #304]
  CHECK(step(0xa8c1251d).fp == Fp::changed);                               // ldp x29, x9, [x8], #16
}

TEST_CASE("AArch64: where code goes on", "[arch][aarch64]") {
  check_flow(0x14000004, Flow::jump, 0x1010);    // b .+16
  check_flow(0x17fffffe, Flow::jump, 0xff8);     // b .-8
  check_flow(0x94000040, Flow::call, 0x1100);    // bl .+0x100
  check_flow(0xb4000042, Flow::branch, 0x1008);  // cbz x2, .+8
  check_flow(0x37c80060, Flow::branch, 0x100c);  // tbnz w0, #25, .+12
  check_flow(0x54ffff80, Flow::branch, 0xff0);   // b.eq .-16
  check_flow(0xd63f0020, Flow::call);            // blr x1
  check_flow(0xd73f0822, Flow::call);            // blraa x1, x2
  check_flow(0xd61f0200, Flow::computed);        // br x16
  check_flow(0xd65f03c0, Flow::end);             // ret
  check_flow(0xd65f0bff, Flow::end);             // retaa
  check_flow(0xd69f03e0, Flow::end);             // eret
  check_flow(0xd4210000, Flow::trap);            // brk #0x800
  check_flow(0x00000000, Flow::end);             // udf #0
}
