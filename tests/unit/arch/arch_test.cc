// What every row of the table of processors must satisfy, and the look-ups.
#include "arch/arch.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <filesystem>
#include <set>
#include <string>

#include "engine/registers.h"
#include "tests/support/xml_check.h"

using namespace kvm;

namespace {

bool has_register(const arch::Arch& arch, std::string_view name) { return register_index(arch, name).has_value(); }

void check_levels(const arch::Arch& arch, const arch::PagingMode& mode) {
  INFO(mode.name);
  CHECK((mode.entry_bytes == 4 || mode.entry_bytes == 8));
  REQUIRE(!mode.levels.empty());
  // From the highest translated bit down to the page, no bit twice and none left out.
  unsigned top = mode.va_bits;
  for (const arch::Level& level : mode.levels) {
    CHECK(level.shift + level.bits == top);
    CHECK(level.bits > 0);
    top = level.shift;
  }
  CHECK(mode.page_bytes() >= arch.page_size);
  const arch::Level& last = mode.levels.back();
  for (std::uint64_t entry : {0ull, 1ull, 3ull, 0xffull, ~0ull}) CHECK_FALSE(last.table(entry));
  if (!mode.frame) {
    CHECK(mode.frame_mask != 0);
    CHECK((mode.frame_mask << mode.frame_shift) >> mode.frame_shift == mode.frame_mask);
  }
}

}  // namespace

TEST_CASE("a row is named after its file", "[arch]") {
  std::set<std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(std::filesystem::path(TEST_DATA).parent_path() / "arch"))
    if (entry.path().extension() == ".cc" && entry.path().stem() != "arch") files.insert(entry.path().stem().string());
  std::set<std::string> rows;
  for (const arch::Arch* arch : arch::arches()) {
    CHECK(rows.insert(std::string(arch->name)).second);
    CHECK(arch::find(arch->name) == arch);
  }
  CHECK(rows == files);
}

TEST_CASE("paging levels meet without gaps, down to the page size", "[arch]") {
  for (const arch::Arch* arch : arch::arches()) {
    INFO(arch->name);
    CHECK((!arch->paging.empty() || !arch->linux_layout));  // none: dumps store memory by virtual address
    CHECK((arch->pointer_bytes == 4 || arch->pointer_bytes == 8));
    std::set<std::string_view> names;
    for (const arch::PagingMode& mode : arch->paging) {
      CHECK(names.insert(mode.name).second);
      check_levels(*arch, mode);
      CHECK(arch->level_names.size() >= mode.levels.size());
    }
  }
}

TEST_CASE("registers are unique, in one feature each, and have their roles", "[arch]") {
  for (const arch::Arch* arch : arch::arches()) {
    INFO(arch->name);
    std::set<std::string_view> names, features;
    std::set<int> dwarf;
    std::string_view feature;
    for (const arch::Register& reg : arch->registers) {
      INFO(reg.name);
      CHECK(names.insert(reg.name).second);
      if (reg.dwarf >= 0) CHECK(dwarf.insert(reg.dwarf).second);
      CHECK(reg.bits > 0);
      CHECK(reg.bits % 8 == 0);
      CHECK(!reg.feature.empty());
      if (reg.feature != feature) CHECK(features.insert(feature = reg.feature).second);  // not begun again later
    }
    for (arch::Role role : {arch::Role::pc, arch::Role::sp})
      CHECK(std::ranges::count(arch->registers, role, &arch::Register::role) == 1);
    for (arch::Role role : {arch::Role::fp, arch::Role::ra, arch::Role::flags})
      CHECK(std::ranges::count(arch->registers, role, &arch::Register::role) <= 1);
  }
}

// gdb manual, "Predefined Target Types"; an unknown name makes gdb ignore the whole description.  `int` and `float` take
// the register's size.
TEST_CASE("register types are gdb's predefined ones", "[arch][xml]") {
  const std::set<std::string_view> predefined{"bool", "int8", "int16", "int32", "int64", "int128", "uint8", "uint16", "uint32",
                                              "uint64", "uint128", "code_ptr", "data_ptr", "ieee_half", "ieee_single",
                                              "ieee_double", "bfloat16", "arm_fpa_ext", "i387_ext", "int", "float"};
  for (const arch::Arch* arch : arch::arches())
    for (const arch::Register& reg : arch->registers) {
      INFO(arch->name << " " << reg.name << " " << reg.type);
      CHECK(predefined.contains(reg.type));
    }
}

TEST_CASE("notes and saved frames speak of registers that exist, inside the note", "[arch]") {
  for (const arch::Arch* arch : arch::arches()) {
    INFO(arch->name);
    for (const arch::CpuNote& note : arch->notes) {
      INFO(note.owner << " " << note.type);
      std::set<unsigned> taken;
      for (const arch::NoteField& field : note.fields) {
        INFO(field.reg);
        CHECK(has_register(*arch, field.reg));
        CHECK(field.offset + field.bytes <= note.min_size);
        CHECK((field.bytes == 4 || field.bytes == 8));
        CHECK(taken.insert(field.offset).second);
      }
      if (note.pid_offset >= 0) CHECK(note.pid_offset + 4 <= note.min_size);
    }
    for (const arch::SavedFrame& frame : arch->frames) {
      CHECK(!frame.path.empty());
      CHECK_FALSE((frame.sp_is_frame_end && frame.record.empty()));
      for (const arch::SavedRegister& reg : frame.regs) CHECK(has_register(*arch, reg.reg));
    }
  }
}

TEST_CASE("Linux's facts agree with themselves", "[arch]") {
  for (const arch::Arch* arch : arch::arches()) {
    if (!arch->linux_layout) continue;
    const arch::LinuxLayout& layout = *arch->linux_layout;
    INFO(arch->name);
    CHECK(std::has_single_bit(layout.image_align));
    CHECK(!layout.root_symbols.empty());
    CHECK(!(layout.image_bases.empty() && layout.distance_key.empty()));
    if (layout.image_size) {
      CHECK(layout.image_bases.size() == 1);
      CHECK(layout.image_size % layout.image_align == 0);
      CHECK(layout.image_offset < layout.image_size);
      CHECK(layout.image_bases[0] + (layout.image_size - 1) > layout.image_bases[0]);
    }
    for (std::string_view name : layout.per_cpu_registers) CHECK(has_register(*arch, name));
    if (layout.cpu.root_register.empty()) continue;
    for (std::string_view name : {layout.cpu.root_register, layout.cpu.mode_register}) CHECK(has_register(*arch, name));
    CHECK(layout.cpu.mode_mask != 0);
  }
}

TEST_CASE("every row's register description is well-formed XML", "[arch][xml]") {
  for (const arch::Arch* arch : arch::arches()) {
    INFO(arch->name);
    CHECK(testing::xml_problem(target_xml(*arch)) == "");
  }
}

TEST_CASE("look-ups by name, by utsname and by ELF header", "[arch]") {
  const arch::Arch* x86_64 = arch::find("x86_64");
  REQUIRE(x86_64);
  CHECK(arch::find("amd64") == x86_64);
  CHECK(arch::find("vax") == nullptr);
  CHECK(arch::find("") == nullptr);
  CHECK(arch::find_machine("x86_64") == x86_64);
  CHECK(arch::find_machine("x86-64") == nullptr);
  CHECK(arch::find_elf(62, 8, std::endian::little) == x86_64);  // EM_X86_64
  // Class and byte order only choose among rows of one machine.
  CHECK(arch::find_elf(62, 4, std::endian::little) == x86_64);
  CHECK(arch::find_elf(62, 8, std::endian::big) == x86_64);
  CHECK(arch::find_elf(0, 8, std::endian::little) == nullptr);
  for (const arch::Arch* arch : arch::arches()) {
    CHECK(arch::find_elf(arch->elf_machine, arch->pointer_bytes, arch->endian) == arch);
    for (std::string_view machine : arch->machines) CHECK(arch::find_machine(machine, arch->endian) == arch);
  }
}
