// x86-64 against sources that know nothing of our tables: the System V ABI's register numbers, the C library's
// struct elf_prstatus, QEMU's note as a struct, and bits from the Intel SDM.
#include <catch2/catch.hpp>

#include <cstddef>
#include <map>
#include <string>

#include "engine/cpu_notes.h"
#include "engine/registers.h"

#if defined(__x86_64__) && defined(__linux__)
#include <elf.h>
#include <sys/procfs.h>
#include <sys/user.h>
#endif

using namespace kvm;

namespace {

const arch::Arch& x86_64() { return *arch::find("x86_64"); }

const arch::CpuNote& note_of(std::string_view owner) {
  for (const arch::CpuNote& note : x86_64().notes)
    if (note.owner == owner) return note;
  FAIL("no such note");
  return x86_64().notes[0];
}

std::map<std::string, unsigned> offsets_of(const arch::CpuNote& note) {
  std::map<std::string, unsigned> offsets;
  for (const arch::NoteField& field : note.fields) offsets[std::string(field.reg)] = field.offset;
  return offsets;
}

}  // namespace

// System V ABI, AMD64 supplement, figure 3.36 "DWARF Register Number Mapping".
TEST_CASE("x86-64 DWARF numbers", "[arch][x86_64]") {
  const std::map<std::string, int> abi{
      {"rax", 0}, {"rdx", 1}, {"rcx", 2}, {"rbx", 3}, {"rsi", 4}, {"rdi", 5}, {"rbp", 6}, {"rsp", 7}, {"r8", 8}, {"r9", 9},
      {"r10", 10}, {"r11", 11}, {"r12", 12}, {"r13", 13}, {"r14", 14}, {"r15", 15}, {"rip", 16}, {"st0", 33}, {"st1", 34},
      {"st2", 35}, {"st3", 36}, {"st4", 37}, {"st5", 38}, {"st6", 39}, {"st7", 40}, {"eflags", 49}, {"es", 50}, {"cs", 51},
      {"ss", 52}, {"ds", 53}, {"fs", 54}, {"gs", 55}, {"fs_base", 58}, {"gs_base", 59}};
  std::size_t numbered = 0;
  for (const arch::Register& reg : x86_64().registers) {
    if (reg.dwarf < 0) continue;
    ++numbered;
    auto found = abi.find(std::string(reg.name));
    INFO(reg.name);
    REQUIRE(found != abi.end());
    CHECK(reg.dwarf == found->second);
  }
  CHECK(numbered == abi.size());
}

// gdb refuses a description whose core registers stand in another order (gdb/features/i386/64bit-core.xml).
TEST_CASE("x86-64 core registers in gdb's order", "[arch][x86_64]") {
  const char* order[] = {"rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp", "r8",  "r9",  "r10", "r11", "r12", "r13",
                         "r14", "r15", "rip", "eflags", "cs", "ss", "ds", "es", "fs", "gs", "st0", "st1", "st2", "st3",
                         "st4", "st5", "st6", "st7", "fctrl", "fstat", "ftag", "fiseg", "fioff", "foseg", "fooff", "fop"};
  std::size_t i = 0;
  for (const char* name : order) {
    CHECK(x86_64().registers[i].name == name);
    CHECK(x86_64().registers[i].feature == "org.gnu.gdb.i386.core");
    ++i;
  }
  CHECK(x86_64().registers[i].feature != "org.gnu.gdb.i386.core");
}

#if defined(__x86_64__) && defined(__linux__)
TEST_CASE("x86-64 NT_PRSTATUS is the C library's elf_prstatus", "[arch][x86_64]") {
  const arch::CpuNote& note = note_of("CORE");
  CHECK(note.type == NT_PRSTATUS);
  CHECK(note.pid_offset == offsetof(elf_prstatus, pr_pid));
  CHECK(note.min_size <= sizeof(elf_prstatus));
  const auto at = [](std::size_t reg) { return static_cast<unsigned>(offsetof(elf_prstatus, pr_reg) + reg); };
  const std::map<std::string, unsigned> truth{
      {"r15", at(offsetof(user_regs_struct, r15))}, {"r14", at(offsetof(user_regs_struct, r14))},
      {"r13", at(offsetof(user_regs_struct, r13))}, {"r12", at(offsetof(user_regs_struct, r12))},
      {"rbp", at(offsetof(user_regs_struct, rbp))}, {"rbx", at(offsetof(user_regs_struct, rbx))},
      {"r11", at(offsetof(user_regs_struct, r11))}, {"r10", at(offsetof(user_regs_struct, r10))},
      {"r9", at(offsetof(user_regs_struct, r9))}, {"r8", at(offsetof(user_regs_struct, r8))},
      {"rax", at(offsetof(user_regs_struct, rax))}, {"rcx", at(offsetof(user_regs_struct, rcx))},
      {"rdx", at(offsetof(user_regs_struct, rdx))}, {"rsi", at(offsetof(user_regs_struct, rsi))},
      {"rdi", at(offsetof(user_regs_struct, rdi))}, {"orig_rax", at(offsetof(user_regs_struct, orig_rax))},
      {"rip", at(offsetof(user_regs_struct, rip))}, {"cs", at(offsetof(user_regs_struct, cs))},
      {"eflags", at(offsetof(user_regs_struct, eflags))}, {"rsp", at(offsetof(user_regs_struct, rsp))},
      {"ss", at(offsetof(user_regs_struct, ss))}, {"fs_base", at(offsetof(user_regs_struct, fs_base))},
      {"gs_base", at(offsetof(user_regs_struct, gs_base))}, {"ds", at(offsetof(user_regs_struct, ds))},
      {"es", at(offsetof(user_regs_struct, es))}, {"fs", at(offsetof(user_regs_struct, fs))},
      {"gs", at(offsetof(user_regs_struct, gs))}};
  CHECK(offsets_of(note) == truth);
}
#endif

namespace {

// As QEMU declares it (target/i386/arch_dump.c).
struct QemuSegment {
  std::uint32_t selector, limit, flags, pad;
  std::uint64_t base;
};
struct QemuCpuState {
  std::uint32_t version, size;
  std::uint64_t rax, rbx, rcx, rdx, rsi, rdi, rsp, rbp, r8, r9, r10, r11, r12, r13, r14, r15, rip, rflags;
  QemuSegment cs, ds, es, fs, gs, ss, ldt, tr, gdt, idt;
  std::uint64_t cr[5];
  std::uint64_t kernel_gs_base;
};

}  // namespace

TEST_CASE("x86-64 QEMU note", "[arch][x86_64]") {
  using S = QemuCpuState;
  CHECK(note_of("QEMU").type == 0);
  CHECK(note_of("QEMU").min_size == sizeof(S));
  const auto base = [](std::size_t segment) { return static_cast<unsigned>(segment + offsetof(QemuSegment, base)); };
  const std::map<std::string, unsigned> truth{
      {"rax", offsetof(S, rax)}, {"rbx", offsetof(S, rbx)}, {"rcx", offsetof(S, rcx)}, {"rdx", offsetof(S, rdx)},
      {"rsi", offsetof(S, rsi)}, {"rdi", offsetof(S, rdi)}, {"rsp", offsetof(S, rsp)}, {"rbp", offsetof(S, rbp)},
      {"r8", offsetof(S, r8)}, {"r9", offsetof(S, r9)}, {"r10", offsetof(S, r10)}, {"r11", offsetof(S, r11)},
      {"r12", offsetof(S, r12)}, {"r13", offsetof(S, r13)}, {"r14", offsetof(S, r14)}, {"r15", offsetof(S, r15)},
      {"rip", offsetof(S, rip)}, {"eflags", offsetof(S, rflags)}, {"cs", offsetof(S, cs)}, {"ds", offsetof(S, ds)},
      {"es", offsetof(S, es)}, {"fs", offsetof(S, fs)}, {"gs", offsetof(S, gs)}, {"ss", offsetof(S, ss)},
      {"fs_base", base(offsetof(S, fs))}, {"gs_base", base(offsetof(S, gs))}, {"idt_base", base(offsetof(S, idt))},
      {"cr0", offsetof(S, cr)}, {"cr2", offsetof(S, cr) + 16}, {"cr3", offsetof(S, cr) + 24}, {"cr4", offsetof(S, cr) + 32},
      {"kernel_gs_base", offsetof(S, kernel_gs_base)}};
  CHECK(offsets_of(note_of("QEMU")) == truth);
}

// SDM volume 3, table 4-12 (CR3) and section 2.5 (CR4.LA57 is bit 12); Linux keeps the user copy of its tables one page up.
TEST_CASE("x86-64 control registers", "[arch][x86_64]") {
  const arch::CpuRoot& cpu = x86_64().linux_layout->cpu;
  CHECK((0x000000012345e801 & cpu.root_mask) == 0x12345e000);  // PCID 1, PTI
  CHECK((0x000000012345f801 & cpu.root_mask) == 0x12345e000);  // the user copy
  CHECK((0x8000000012340000 & cpu.root_mask) == 0x12340000);   // bit 63: do not flush
  CHECK(cpu.mode_mask == 0x1000);
}
