// s390x against sources that know nothing of our tables: the ABI supplement's register numbers, gdb's order, and QEMU's note as a
// struct.
#include <catch2/catch.hpp>

#include <cstddef>
#include <map>
#include <string>

#include "engine/registers.h"

using namespace kvm;

namespace {

const arch::Arch& s390x() { return *arch::find("s390x"); }

// As QEMU declares it (target/s390x/arch_dump.c), behind an elf_prstatus' first 112 bytes.
struct Prstatus {
  std::uint8_t before_pid[32];
  std::uint32_t pid;
  std::uint8_t before_registers[76];
  std::uint64_t psw[2], gprs[16];
  std::uint32_t acrs[16];
  std::uint64_t orig_gpr2;
  std::uint32_t fpvalid, padding;
};

}  // namespace

// ELF Application Binary Interface, s390x Supplement, "DWARF Register Number Mapping".
TEST_CASE("s390x DWARF numbers", "[arch][s390x]") {
  const std::map<std::string, int> abi{{"r0", 0}, {"r6", 6}, {"r11", 11}, {"r14", 14}, {"r15", 15}, {"f0", 16}, {"f2", 17}, {"f4", 18},
                                       {"f6", 19}, {"f1", 20}, {"f3", 21}, {"f5", 22}, {"f7", 23}, {"f8", 24}, {"f10", 25}, {"f12", 26},
                                       {"f14", 27}, {"f9", 28}, {"f11", 29}, {"f13", 30}, {"f15", 31}, {"cr0", 32}, {"cr13", 45}, {"cr15", 47},
                                       {"acr0", 48}, {"acr15", 63}, {"pswm", 64}, {"pswa", 65}};
  for (const auto& [name, number] : abi) {
    INFO(name);
    const auto index = register_index(s390x(), name);
    REQUIRE(index);
    CHECK(s390x().registers[*index].dwarf == number);
  }
}

// gdb/features/s390-core64.xml, s390-acr.xml, s390-fpr.xml.
TEST_CASE("s390x registers in gdb's order", "[arch][s390x]") {
  std::vector<std::string> order{"pswm", "pswa"};
  for (const char* kind : {"r", "acr"})
    for (int i = 0; i < 16; ++i) order.push_back(kind + std::to_string(i));
  order.push_back("fpc");
  for (int i = 0; i < 16; ++i) order.push_back("f" + std::to_string(i));
  order.push_back("orig_r2");
  for (std::size_t i = 0; i < order.size(); ++i) CHECK(s390x().registers[i].name == order[i]);
}

TEST_CASE("s390x NT_PRSTATUS is QEMU's struct", "[arch][s390x]") {
  std::map<std::string, std::size_t> truth{{"pswm", offsetof(Prstatus, psw)}, {"pswa", offsetof(Prstatus, psw) + 8}, {"orig_r2", offsetof(Prstatus, orig_gpr2)}};
  for (std::size_t i = 0; i < 16; ++i) {
    truth["r" + std::to_string(i)] = offsetof(Prstatus, gprs) + 8 * i;
    truth["acr" + std::to_string(i)] = offsetof(Prstatus, acrs) + 4 * i;
  }
  const arch::CpuNote& note = s390x().notes[0];
  CHECK(note.owner == "CORE");
  CHECK(note.min_size == offsetof(Prstatus, fpvalid));  // what is behind the registers may be missing
  CHECK(note.pid_offset == offsetof(Prstatus, pid));
  CHECK(note.fields.size() == truth.size());
  for (const arch::NoteField& field : note.fields) {
    INFO(field.reg);
    CHECK(field.offset == truth.at(std::string(field.reg)));
  }
}
