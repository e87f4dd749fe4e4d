// What RISC-V's, s390x's and Power's instructions do to a frame: bytes as LLVM's assembler (llvm-mc) writes them, with its text beside
// them.  AArch64's are in aarch64_test.cc.
#include <catch2/catch.hpp>

#include <string>

#include "arch/arch.h"

using namespace kvm;
using arch::FrameStep;

namespace {

struct Line {
  std::string_view bytes, text, does;
};

std::vector<std::uint8_t> bytes_of(std::string_view hex) {
  std::vector<std::uint8_t> bytes;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2) bytes.push_back(static_cast<std::uint8_t>(std::stoul(std::string(hex.substr(i, 2)), nullptr, 16)));
  return bytes;
}

// What is not as it was, in words; targets from the instruction's address on.
std::string describe(const FrameStep& step, std::uint64_t address) {
  std::string said;
  const auto say = [&](const std::string& what) { said += (said.empty() ? "" : " ") + what; };
  const auto number = [](std::int64_t n) { return (n < 0 ? "" : "+") + std::to_string(n); };
  constexpr std::string_view flows[] = {"", "branch", "jump", "call", "trap", "computed", "end"};
  if (step.flow != FrameStep::Flow::next) say(std::string(flows[static_cast<std::size_t>(step.flow)]));
  if (step.target) said += number(static_cast<std::int64_t>(step.target - address));
  switch (step.sp) {
    case FrameStep::Sp::kept: break;
    case FrameStep::Sp::moved: say("sp" + number(step.amount)); break;
    case FrameStep::Sp::from_fp: say("sp=fp" + number(step.amount)); break;
    case FrameStep::Sp::varied: say("sp?"); break;
    case FrameStep::Sp::switched: say("sp=other"); break;
    case FrameStep::Sp::restored: say("sp=caller's"); break;
  }
  if (step.fp != FrameStep::Fp::kept) say(step.fp == FrameStep::Fp::changed ? "fp?" : "fp=sp" + number(step.amount));
  if (step.words != FrameStep::Words::none) say(step.words == FrameStep::Words::saved ? "saves" : "restores");
  if (step.ra_at != FrameStep::nowhere) say("ra" + number(step.ra_at));
  if (step.fp_at != FrameStep::nowhere) say("fp" + number(step.fp_at));
  if (step.copy_at != FrameStep::nowhere) say("copy" + number(step.copy_at));
  if (step.sp_at != FrameStep::nowhere) say("sp" + number(step.sp_at));
  if (step.by_fp) say("by fp");
  constexpr std::string_view links[] = {"", "lr?", "copy=lr", "lr=copy", "copy?"};
  if (step.link != FrameStep::Link::kept) say(std::string(links[static_cast<std::size_t>(step.link)]));
  return said;
}

void check(std::string_view machine, std::initializer_list<Line> lines) {
  const arch::FrameCode& code = *arch::find(machine)->frame_code;
  for (const Line& line : lines) {
    INFO(machine << ": " << line.text);
    const auto bytes = bytes_of(line.bytes);
    CHECK((code.length ? code.length(std::span(bytes).first(code.unit)) : code.unit) == bytes.size());
    CHECK(describe(code.step(bytes, 0x10000), 0x10000) == line.does);
  }
}

}  // namespace

TEST_CASE("RISC-V: frames", "[arch][riscv64]") {
  check("riscv64", {
    {"7971", "c.addi16sp sp, -48", "sp-48"}, {"4171", "c.addi16sp sp, -496", "sp-496"}, {"7d61", "c.addi16sp sp, 496", "sp+496"},
    {"1301f181", "addi sp, sp, -2017", "sp-2017"}, {"13010181", "addi sp, sp, -2032", "sp-2032"},
    {"06f4", "c.sdsp ra, 40(sp)", "saves ra+40"}, {"22f0", "c.sdsp s0, 32(sp)", "saves fp+32"}, {"86f7", "c.sdsp ra, 488(sp)", "saves ra+488"},
    {"2334117e", "sd ra, 2024(sp)", "saves ra+2024"}, {"0018", "c.addi4spn s0, sp, 48", "fp=sp+48"}, {"801b", "c.addi4spn s0, sp, 496", "fp=sp+496"},
    {"130104fd", "addi sp, s0, -48", "sp=fp-48"}, {"2281", "c.mv sp, s0", "sp=fp+0"}, {"a270", "c.ldsp ra, 40(sp)", "restores ra+40"},
    {"0274", "c.ldsp s0, 32(sp)", "restores fp+32"}, {"033404ff", "ld s0, -16(s0)", "restores fp-16 by fp"},
    {"3301f140", "sub sp, sp, a5", "sp?"}, {"3e81", "c.mv sp, a5", "sp?"}, {"1691", "c.add sp, t0", "sp?"}, {"33816200", "add sp, t0, t1", "sp=other"},
    {"0061", "c.ld s0, 0(a0)", "fp?"}, {"0041", "c.lw s0, 0(a0)", "fp?"}, {"2a84", "c.mv s0, a0", "fp?"}, {"0564", "c.lui s0, 1", "fp?"},
    {"0a04", "c.slli s0, 2", "fp?"}, {"7d14", "c.addi s0, -1", "fp?"}, {"0d8c", "c.sub s0, a1", "fp?"}, {"73140010", "csrrw s0, sstatus, zero", "fp?"},
    {"2fa4a500", "amoadd.w s0, a0, (a1)", "fp?"},
    {"0100", "c.nop", ""}, {"8565", "c.lui a1, 1", ""}, {"0f00f00f", "fence", ""}, {"2225", "c.fldsp fa0, 8(sp)", ""},
    {"57b40f5e", "vmv.v.i v8, -1", ""}, {"57f4050c", "vsetvli s0, a1, ...", "fp?"}, {"5724a042", "vmv.x.s s0, v10", "fp?"}, {"53740500", "fadd.s fs0, fa0, ft0", ""},
    {"53040520", "fsgnj.s fs0, fa0, ft0", ""}, {"5324b5a0", "feq.s s0, fa0, fa1", "fp?"}, {"537405c0", "fcvt.w.s s0, fa0", "fp?"}, {"530405e0", "fmv.x.w s0, fa0", "fp?"},
    {"530405f0", "fmv.w.x fs0, a0", ""}, {"537405d0", "fcvt.s.w fs0, a0", ""},
  });
}

TEST_CASE("RISC-V: where code goes on", "[arch][riscv64]") {
  check("riscv64", {
    {"8280", "ret", "end"}, {"8287", "c.jr a5", "computed"}, {"8297", "c.jalr a5", "call"}, {"67000301", "jr 16(t1)", "end"},
    {"e7800000", "jalr ra, 0(ra)", "call"}, {"e7820200", "jalr t0, 0(t0)", ""}, {"0290", "c.ebreak", "trap"}, {"73001000", "ebreak", "trap"},
    {"73000000", "ecall", ""}, {"73002010", "sret", "end"}, {"73002030", "mret", "end"}, {"0000", "c.unimp", "end"}, {"731000c0", "unimp", "end"},
    {"6f000001", "j .+16", "jump+16"}, {"e5bf", "c.j .-8", "jump-8"}, {"ef001000", "jal .+2048", "call+2048"}, {"63040500", "beqz a0, .+8", "branch+8"},
    {"75dd", "c.beqz a0, .-4", "branch-4"}, {"01e5", "c.bnez a0, .+8", "branch+8"}, {"e368b5fe", "bltu a0, a1, .-16", "branch-16"},
  });
}

TEST_CASE("s390x: frames", "[arch][s390x]") {
  check("s390x", {
    {"eb9ff0600024", "stmg %r9, %r15, 96(%r15)", "saves ra+136 fp+112 sp+144"}, {"ebeff0880024", "stmg %r14, %r15, 136(%r15)", "saves ra+136 sp+144"},
    {"e3f0ffb0ff71", "lay %r15, -80(%r15)", "sp-80"}, {"a7fbff58", "aghi %r15, -168", "sp-168"}, {"c2f8ffff63c0", "agfi %r15, -40000", "sp-40000"},
    {"c2f400001000", "slgfi %r15, 4096", "sp-4096"}, {"b90400bf", "lgr %r11, %r15", "fp=sp+0"}, {"41b0f0a0", "la %r11, 160(%r15)", "fp=sp+160"},
    {"ecbf000800d9", "aghik %r11, %r15, 8", "fp=sp+8"}, {"b90400fb", "lgr %r15, %r11", "sp=fp+0"},
    {"e3b0f0980024", "stg %r11, 152(%r15)", "saves fp+152"}, {"e3e0b0980024", "stg %r14, 152(%r11)", "saves ra+152 by fp"},
    {"eb9ff0b00004", "lmg %r9, %r15, 176(%r15)", "restores ra+216 fp+192 sp+224"}, {"eb6ef0a00004", "lmg %r6, %r14, 160(%r15)", "restores ra+224 fp+200"},
    {"ebbfb0c80004", "lmg %r11, %r15, 200(%r11)", "restores ra+224 fp+200 sp+232 by fp"},
    {"ebe1f0700004", "lmg %r14, %r1, 112(%r15)", "restores ra+112 sp+120"}, {"e3e0f0d80004", "lg %r14, 216(%r15)", "restores ra+216"},
    {"b90800f1", "agr %r15, %r1", "sp?"}, {"e3f01ff0ff71", "lay %r15, -16(%r1)", "sp?"}, {"e3f1fff8ff71", "lay %r15, -8(%r1,%r15)", "sp?"},
    {"41f02000", "la %r15, 0(%r2)", "sp?"}, {"e3f003700004", "lg %r15, 880", "sp=other"}, {"e3f010080004", "lg %r15, 8(%r1)", "sp=other"}, {"e3f0f0a00004", "lg %r15, 160(%r15)", "restores sp+160"},
    {"eb6f10080004", "lmg %r6, %r15, 8(%r1)", "sp=other fp?"}, {"a7b90000", "lghi %r11, 0", "fp?"}, {"e3b020000004", "lg %r11, 0(%r2)", "fp?"},
    {"c0b000000004", "larl %r11, .+8", "fp?"},
    {"b90400ef", "lgr %r14, %r15", ""}, {"e340f0d80004", "lg %r4, 216(%r15)", ""}, {"50b0f0a0", "st %r11, 160(%r15)", ""}, {"c60000000004", "exrl %r0, .+8", ""},
  });
}

TEST_CASE("s390x: where code goes on", "[arch][s390x]") {
  check("s390x", {
    {"07fe", "br %r14", "end"}, {"07f1", "br %r1", "computed"}, {"078e", "ber %r14", ""}, {"07f0", "bcr 15, %r0", ""}, {"0707", "nopr %r7", ""},
    {"47f0e000", "b 0(%r14)", "end"}, {"c0e500000080", "brasl %r14, .+0x100", "call+256"}, {"c00500000080", "brasl %r0, .+0x100", ""},
    {"0de1", "basr %r14, %r1", "call"}, {"0d10", "basr %r1, 0", ""}, {"a7150006", "bras %r1, .+12", "jump+12"}, {"a7f40008", "j .+16", "jump+16"},
    {"c0f4ffffff80", "jg .-256", "jump-256"}, {"a784fffc", "je .-8", "branch-8"}, {"c00400000008", "brcl 0, .+16", ""}, {"c07400000010", "jgne .+32", "branch+32"},
    {"ec280008007c", "cgije %r2, 0, .+16", "branch+16"}, {"ec12fff82076", "crjh %r1, %r2, .-16", "branch-16"}, {"a717fffc", "brctg %r1, .-8", "branch-8"},
    {"af000000", "mc 0, 0", "trap"}, {"b2b2f0a0", "lpswe 160(%r15)", "end"}, {"0000", "what is not in the dump", "end"},
  });
}

TEST_CASE("Power: frames", "[arch][ppc64]") {
  check("ppc64", {
    {"7c0802a6", "mflr 0", "copy=lr"}, {"f8010010", "std 0, 16(1)", "saves copy+16"}, {"fbe1fff8", "std 31, -8(1)", "saves fp-8"},
    {"f821ffc1", "stdu 1, -64(1)", "sp-64"}, {"7c3f0b78", "mr 31, 1", "fp=sp+0"}, {"3be10020", "addi 31, 1, 32", "fp=sp+32"}, {"38210040", "addi 1, 1, 64", "sp+64"},
    {"e8010010", "ld 0, 16(1)", "restores copy+16"}, {"7c0803a6", "mtlr 0", "lr=copy"}, {"ebe1fff8", "ld 31, -8(1)", "restores fp-8"},
    {"7fe1fb78", "mr 1, 31", "sp=fp+0"}, {"383f0060", "addi 1, 31, 96", "sp=fp+96"}, {"f81f0010", "std 0, 16(31)", "saves copy+16 by fp"},
    {"e8210000", "ld 1, 0(1)", "sp=caller's"}, {"7c21016a", "stdux 1, 1, 0", "sp?"}, {"7c611b78", "mr 1, 3", "sp=other"},
    {"7d8803a6", "mtlr 12", "lr?"}, {"429f0005", "bcl 20, 31, .+4", "lr?"},
    {"38000005", "li 0, 5", "copy?"}, {"7c601b78", "mr 0, 3", "copy?"}, {"3fe00001", "lis 31, 1", "fp?"}, {"ebe30008", "ld 31, 8(3)", "fp?"}, {"83e30000", "lwz 31, 0(3)", "fp?"},
    {"f8233f81", "stdu 1, 16256(3)", ""}, {"7d8802a6", "mflr 12", ""}, {"7d8903a6", "mtctr 12", ""}, {"f8030020", "std 0, 32(3)", ""},
    {"60000000", "nop", ""}, {"63ff0000", "ori 31, 31, 0", ""}, {"7ffffb78", "or 31, 31, 31", ""}, {"7c210b78", "or 1, 1, 1", ""}, {"60000005", "ori 0, 0, 5", "copy?"}, {"3c4c0000", "addis 2, 12, 0", ""}, {"38420000", "addi 2, 2, 0", ""}, {"0610000038210040", "paddi, and what it is the prefix of", ""},
  });
  check("ppc64le", {{"a602087c", "mflr 0", "copy=lr"}, {"c1ff21f8", "stdu 1, -64(1)", "sp-64"}, {"0000100640002138", "a prefix", ""}});
}

TEST_CASE("Power: where code goes on", "[arch][ppc64]") {
  check("ppc64", {
    {"4e800020", "blr", "end"}, {"4d820020", "beqlr", ""}, {"4e800420", "bctr", "computed"}, {"4e800421", "bctrl", "call"}, {"4e800021", "blrl", "call"},
    {"41820010", "beq .+16", "branch+16"}, {"4082fff8", "bne .-8", "branch-8"}, {"4200fffc", "bdnz .-4", "branch-4"}, {"48000100", "b .+256", "jump+256"},
    {"48000101", "bl .+256", "call+256 saves copy+16"}, {"48000103", "bla 0x100", "call-65280 saves copy+16"}, {"7fe00008", "trap", "trap"}, {"0b030000", "tdnei 3, 0", ""},
    {"4c000024", "rfid", "end"}, {"4c000224", "hrfid", "end"}, {"4c0000a4", "rfscv", "end"}, {"44000002", "sc", ""}, {"00000000", "what is not in the dump", "end"},
  });
}
