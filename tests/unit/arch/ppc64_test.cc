// 64-bit Power, of both byte orders, against sources that know nothing of our tables: the ABI's register numbers, gdb's order,
// and the kernel's pt_regs as a struct.
#include <catch2/catch.hpp>

#include <cstddef>
#include <map>
#include <string>

#include "engine/registers.h"

using namespace kvm;

namespace {

// struct user_pt_regs (arch/powerpc/include/uapi/asm/ptrace.h), behind an elf_prstatus' first 112 bytes.
struct Prstatus {
  std::uint8_t before_pid[32];
  std::uint32_t pid;
  std::uint8_t before_registers[76];
  std::uint64_t gpr[32], nip, msr, orig_gpr3, ctr, link, xer, ccr, softe, trap, dar, dsisr, result, unused[4];
};

}  // namespace

TEST_CASE("Power's two rows are alike but for the byte order", "[arch][ppc64]") {
  const arch::Arch& big = *arch::find("ppc64");
  const arch::Arch& little = *arch::find("ppc64le");
  CHECK(big.endian == std::endian::big);
  CHECK(little.endian == std::endian::little);
  CHECK(big.entry_order == std::endian::big);
  CHECK(little.entry_order == std::endian::big);
  CHECK(big.registers.data() == little.registers.data());
  CHECK(!big.order_sign.value(0x8000000000009033));  // MSR: SF EE ME IR DR RI LE
  CHECK(little.order_sign.value(0x8000000000009033));
}

// 64-bit ELF V2 ABI Specification, Power Architecture, table 2.20.
TEST_CASE("Power DWARF numbers", "[arch][ppc64]") {
  std::map<std::string, int> abi{{"lr", 65}, {"ctr", 66}, {"xer", 76}};
  for (int i = 0; i < 32; ++i) abi["r" + std::to_string(i)] = i;
  const arch::Arch& power = *arch::find("ppc64le");
  for (const auto& [name, number] : abi) {
    INFO(name);
    const auto index = register_index(power, name);
    REQUIRE(index);
    CHECK(power.registers[*index].dwarf == number);
  }
}

// gdb/features/rs6000/power64-core.xml and power64-linux.xml, but for lr and ctr, which lldb counts (lldb-ppc64le-register-enums.h).
TEST_CASE("Power registers in the order of debuggers", "[arch][ppc64]") {
  std::vector<std::string> order;
  for (int i = 0; i < 32; ++i) order.push_back("r" + std::to_string(i));
  for (const char* name : {"pc", "msr", "cr", "ctr", "lr", "xer", "orig_r3", "trap"}) order.emplace_back(name);
  const arch::Arch& power = *arch::find("ppc64le");
  for (std::size_t i = 0; i < order.size(); ++i) CHECK(power.registers[i].name == order[i]);
}

TEST_CASE("Power NT_PRSTATUS is the kernel's struct", "[arch][ppc64]") {
  std::map<std::string, std::size_t> truth{
      {"pc", offsetof(Prstatus, nip)},   {"msr", offsetof(Prstatus, msr)}, {"orig_r3", offsetof(Prstatus, orig_gpr3)},
      {"ctr", offsetof(Prstatus, ctr)},  {"lr", offsetof(Prstatus, link)}, {"xer", offsetof(Prstatus, xer)},
      {"cr", offsetof(Prstatus, ccr)},   {"trap", offsetof(Prstatus, trap)}, {"dar", offsetof(Prstatus, dar)},
      {"dsisr", offsetof(Prstatus, dsisr)}};
  for (std::size_t i = 0; i < 32; ++i) truth["r" + std::to_string(i)] = offsetof(Prstatus, gpr) + 8 * i;
  const arch::CpuNote& note = arch::find("ppc64le")->notes[0];
  CHECK(note.pid_offset == offsetof(Prstatus, pid));
  CHECK(note.min_size == offsetof(Prstatus, gpr) + 48 * 8);  // ELF_NGREG
  CHECK(note.fields.size() == truth.size());
  for (const arch::NoteField& field : note.fields) {
    INFO(field.reg);
    CHECK(field.offset == truth.at(std::string(field.reg)));
  }
}
