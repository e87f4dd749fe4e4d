// Registers of processors for which no C library of this machine has a struct: typed here in the order of the kernel's elf_gregset_t
// and of gdb's features, and a switched-out task as the kernel's assembly leaves it.
#include <catch2/catch.hpp>

#include <map>
#include <string>
#include <vector>

#include "engine/os/linux/model.h"
#include "engine/registers.h"
#include "tests/support/fake_memory.h"
#include "tests/support/fake_symbols.h"

using namespace kvm;

namespace {

using Names = std::vector<std::string>;

const arch::Arch& row(std::string_view name) {
  const arch::Arch* found = arch::find(name);
  REQUIRE(found);
  return *found;
}

Names numbered(const std::string& prefix, int first, int last, int step = 1) {
  Names names;
  for (int i = first; i <= last; i += step) names.push_back(prefix + std::to_string(i));
  return names;
}

Names joined(std::initializer_list<Names> parts) {
  Names all;
  for (const Names& part : parts) all.insert(all.end(), part.begin(), part.end());
  return all;
}

// 64-bit struct elf_prstatus: pr_pid at 32, pr_reg at 112 (include/uapi/linux/elfcore.h).  "" is a word that we do not use.
void check_prstatus(const arch::Arch& arch, const Names& gregs, unsigned words) {
  INFO(arch.name);
  REQUIRE(arch.notes.size() == 1);
  const arch::CpuNote& note = arch.notes[0];
  CHECK(note.owner == "CORE");
  CHECK(note.type == 1);
  CHECK(note.pid_offset == 32);
  CHECK(note.min_size == 112 + 8 * words);
  std::map<std::string, unsigned> truth, ours;
  for (std::size_t i = 0; i < gregs.size(); ++i)
    if (!gregs[i].empty()) truth[gregs[i]] = 112 + 8 * static_cast<unsigned>(i);
  for (const arch::NoteField& field : note.fields) {
    ours[std::string(field.reg)] = field.offset;
    CHECK(field.bytes == 8);
  }
  CHECK(ours == truth);
}

void check_feature(const arch::Arch& arch, std::string_view feature, const Names& expected) {
  INFO(arch.name << " " << feature);
  Names names;
  for (const arch::Register& reg : arch.registers)
    if (reg.feature == feature) names.emplace_back(reg.name);
  CHECK(names == expected);
}

void check_dwarf(const arch::Arch& arch, const std::map<std::string, int>& abi) {
  INFO(arch.name);
  std::map<std::string, int> ours;
  for (const arch::Register& reg : arch.registers)
    if (reg.dwarf >= 0) ours[std::string(reg.name)] = reg.dwarf;
  CHECK(ours == abi);
}

std::map<std::string, int> counted(const Names& names, int first = 0) {
  std::map<std::string, int> numbers;
  for (const std::string& name : names) numbers[name] = first++;
  return numbers;
}

}  // namespace

// arch/loongarch/include/uapi/asm/reg.h; gdb/features/loongarch/base64.xml; LoongArch ELF psABI.
TEST_CASE("LoongArch64 registers", "[arch]") {
  const arch::Arch& arch = row("loongarch64");
  const Names r = numbered("r", 0, 31);
  check_prstatus(arch, joined({r, {"orig_a0", "pc", "badv", "crmd", "prmd", "euen", "ecfg", "estat"}}), 45);
  check_feature(arch, "org.gnu.gdb.loongarch.base", joined({r, {"orig_a0", "pc", "badv"}}));
  check_dwarf(arch, counted(r));
}

// arch/mips/include/uapi/asm/reg.h; gdb/features/mips64-*.xml; GCC's numbers: floating point from 32, hi 64, lo 65.
TEST_CASE("MIPS64 registers, in either byte order", "[arch]") {
  for (const char* name : {"mips64", "mips64el"}) {
    const arch::Arch& arch = row(name);
    const Names r = numbered("r", 0, 31), f = numbered("f", 0, 31);
    check_prstatus(arch, joined({r, {"lo", "hi", "pc", "badvaddr", "status", "cause"}}), 45);
    check_feature(arch, "org.gnu.gdb.mips.cpu", joined({r, {"lo", "hi", "pc"}}));
    check_feature(arch, "org.gnu.gdb.mips.cp0", {"status", "badvaddr", "cause"});
    check_feature(arch, "org.gnu.gdb.mips.fpu", joined({f, {"fcsr", "fir"}}));
    check_dwarf(arch, counted(joined({r, f, {"hi", "lo"}})));
  }
  CHECK(row("mips64").endian == std::endian::big);
  CHECK(row("mips64el").endian == std::endian::little);
  CHECK(arch::find_machine("mips64", std::endian::big) == &row("mips64"));
  CHECK(arch::find_machine("mips64", std::endian::little) == &row("mips64el"));
  CHECK(arch::find_elf(8, 8, std::endian::little) == &row("mips64el"));  // EM_MIPS
}

// arch/sparc/include/asm/elf_64.h; gdb/features/sparc/sparc64-*.xml; SPARC Compliance Definition 2.4, figure 3-11.
TEST_CASE("SPARC64 registers", "[arch]") {
  const arch::Arch& arch = row("sparc64");
  const Names r = joined({numbered("g", 0, 7), numbered("o", 0, 5), {"sp", "o7"}, numbered("l", 0, 7), numbered("i", 0, 5), {"fp", "i7"}});
  const Names singles = numbered("f", 0, 31);
  check_prstatus(arch, joined({r, {"state", "pc", "npc", "y"}}), 36);
  check_feature(arch, "org.gnu.gdb.sparc.cpu", r);
  check_feature(arch, "org.gnu.gdb.sparc.fpu", joined({singles, numbered("f", 32, 62, 2)}));
  check_feature(arch, "org.gnu.gdb.sparc.cp0", {"pc", "npc", "state", "fsr", "fprs", "y"});
  check_dwarf(arch, counted(joined({r, singles})));
}

namespace {

// A machine whose virtual addresses are its physical ones, and one task.
struct Machine {
  const arch::Arch& arch;
  testing::FakeMemory memory;
  testing::FakeTypes types;
  testing::FakeSymbols symbols;
  AddressSpace space{memory, {{{0}, {~0ull}, Linear{{0}}, "identity"}}};

  void put(std::uint64_t at, std::uint64_t value) { memory.put_number({at}, value, 8, arch.endian); }
  Result<RegisterFile> saved(std::uint64_t task) const { return os_linux::saved_registers({arch, space, symbols, types}, {task}); }
};

}  // namespace

// arch/sparc/include/asm/switch_to_64.h: ksp is the stack pointer, 2047 bytes below the window that flushw wrote; TI_KSP is 0x18.
TEST_CASE("a switched-out task of SPARC64", "[arch][tasks]") {
  Machine machine{row("sparc64"), {}, {}, {}};
  machine.types.define("task_struct", 0x100, "stack 0x10 *");
  machine.types.define("thread_info", 0x100, "ksp 0x18 u8");
  machine.symbols.add("switch_to_pc", {0x654321});
  machine.put(0x1010, 0x4000);                 // task_struct::stack
  machine.put(0x4018, 0x5000 - 2047);          // thread_info::ksp
  for (std::uint64_t i = 0; i < 16; ++i) machine.put(0x5000 + 8 * i, 0x100 + i);  // struct reg_window: locals, ins
  const auto registers = machine.saved(0x1000);
  REQUIRE(registers);
  CHECK(registers->get("sp") == 0x5000u - 2047);
  CHECK(registers->get("pc") == 0x654321u);
  CHECK(registers->get("l0") == 0x100u);
  CHECK(registers->get("l7") == 0x107u);
  CHECK(registers->get("i0") == 0x108u);
  CHECK(registers->get("fp") == 0x10eu);
  CHECK(registers->get("i7") == 0x10fu);
  CHECK(!registers->get("o7"));

  machine.symbols.remove("switch_to_pc");
  CHECK(!machine.saved(0x1000)->get("pc"));
  machine.memory.exclude({0x4000});
  CHECK(!machine.saved(0x1000));
}

// arch/mips/kernel/r4k_switch.S and arch/loongarch/kernel/switch.S: a register by its number in thread_struct; ra is where it goes on.
TEST_CASE("a switched-out task of MIPS64 and of LoongArch64", "[arch][tasks]") {
  Machine mips{row("mips64"), {}, {}, {}}, loongarch{row("loongarch64"), {}, {}, {}};
  mips.types.define("task_struct", 0x200, "stack 0x10 *; thread.reg16 0x20 u8; thread.reg29 0x60 u8; thread.reg31 0x70 u8; thread.cp0_status 0x78 u8");
  loongarch.types.define("task_struct", 0x200, "stack 0x10 *; thread.reg01 0x20 u8; thread.reg03 0x28 u8; thread.reg22 0x30 u8; thread.reg31 0x78 u8");
  for (Machine* machine : {&mips, &loongarch})
    for (std::uint64_t at = 0x10; at < 0x100; at += 8) machine->put(0x1000 + at, 0xff00 + at);
  const auto m = mips.saved(0x1000), l = loongarch.saved(0x1000);
  REQUIRE(m);
  REQUIRE(l);
  CHECK(m->get("r16") == 0xff20u);
  CHECK(m->get(arch::Role::sp) == 0xff60u);
  CHECK(m->get(arch::Role::pc) == 0xff70u);
  CHECK(m->get("status") == 0xff78u);
  CHECK(!m->get("r1"));
  CHECK(l->get(arch::Role::pc) == 0xff20u);
  CHECK(l->get(arch::Role::sp) == 0xff28u);
  CHECK(l->get(arch::Role::fp) == 0xff30u);
  CHECK(l->get("r31") == 0xff78u);
}
