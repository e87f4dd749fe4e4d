// Modules in the three layouts of their memory and the three of their sections.
#include <catch2/catch.hpp>

#include "engine/os/linux/model.h"
#include "tests/support/kernel_fixture.h"

using namespace kvm;
using kvm::testing::FakeKernel;

namespace {

constexpr const char* common = "state 0 u4; list 8 r16:list_head; name 0x18 a56; sect_attrs 0x60 *module_sect_attrs;";

struct Found {
  std::vector<Module> modules;
  std::vector<std::string> remarks;
};

Found find(const FakeKernel& kernel) {
  Found found;
  if (auto modules = os_linux::find_modules(kernel.view(), found.remarks)) found.modules = *modules;
  else found.remarks.push_back("error: " + to_string(modules.error()));
  return found;
}

VirtAddr add_module(FakeKernel& kernel, std::string_view name) {
  const VirtAddr at = kernel.allocate(*kernel.types.size_of("module"));
  kernel.set_text("module", at, "name", name);
  if (kernel.types.member("module", "mem[0].base")) {
    kernel.set("module", at, "mem[0].base", 0xffffffffc0000000);
    kernel.set("module", at, "mem[0].size", 0x10000);
  }
  kernel.list_add_tail(kernel.symbols.find("modules")->address, at + 8);
  return at;
}

// Linux 6.4: enum mod_mem_type has MOD_TEXT, DATA, RODATA, RO_AFTER_INIT, INIT_TEXT, INIT_DATA, INIT_RODATA.
void define_mem(FakeKernel& kernel) {
  std::string members = common;
  for (int i = 0; i < 7; ++i)
    members += "mem[" + std::to_string(i) + "].base " + std::to_string(0x80 + 0x20 * i) + " *; mem[" + std::to_string(i) + "].size " +
               std::to_string(0x88 + 0x20 * i) + " u4;";
  kernel.types.define("module", 0x200, members);
}

}  // namespace

TEST_CASE("memory by purpose, since 6.4", "[linux][modules]") {
  FakeKernel kernel;
  define_mem(kernel);
  const VirtAddr at = add_module(kernel, "ext4");
  kernel.set("module", at, "mem[0].base", 0xffffffffc0400000);
  for (int i = 0; i < 4; ++i) kernel.set("module", at, "mem[" + std::to_string(i) + "].size", 0x1000u << i);
  const Found found = find(kernel);
  REQUIRE(found.modules.size() == 1);
  CHECK(found.modules[0].name == "ext4");
  CHECK(found.modules[0].base.raw == 0xffffffffc0400000);
  CHECK(found.modules[0].size == 0xf000);
  CHECK(found.modules[0].contains({0xffffffffc0400fff}));
  CHECK(!found.modules[0].contains({0xffffffffc0401000}));
  CHECK(found.modules[0].sections.empty());
  CHECK(found.modules[0].build_id.empty());
  CHECK(found.remarks.empty());
}

TEST_CASE("two layouts, 4.5 to 6.3", "[linux][modules]") {
  FakeKernel kernel;
  kernel.types.define("module", 0x200,
                      std::string(common) + "core_layout.base 0x80 *; core_layout.size 0x88 u4; init_layout.base 0xa0 *; init_layout.size 0xa8 u4");
  const VirtAddr at = add_module(kernel, "xfs");
  kernel.set("module", at, "core_layout.base", 0xffffffffc0100000);
  kernel.set("module", at, "core_layout.size", 0x5000);
  kernel.set("module", at, "init_layout.size", 0x2000);
  const Found found = find(kernel);
  REQUIRE(found.modules.size() == 1);
  CHECK(found.modules[0].base.raw == 0xffffffffc0100000);
  CHECK(found.modules[0].size == 0x7000);
  CHECK(found.modules[0].build_id.empty());
}

TEST_CASE("plain members, before 4.5", "[linux][modules]") {
  FakeKernel kernel;
  kernel.types.define("module", 0x200, std::string(common) + "module_core 0x80 *; core_size 0x88 u4; init_size 0x8c u4");
  const VirtAddr at = add_module(kernel, "old");
  kernel.set("module", at, "module_core", 0xffffffffa0001000);
  kernel.set("module", at, "core_size", 0x3000);
  const Found found = find(kernel);
  REQUIRE(found.modules.size() == 1);
  CHECK(found.modules[0].base.raw == 0xffffffffa0001000);
  CHECK(found.modules[0].size == 0x3000);
}

TEST_CASE("sections in their own wrapper, 5.8 to 6.13", "[linux][modules]") {
  FakeKernel kernel;
  define_mem(kernel);
  kernel.types.define("module_sect_attrs", 0x40, "nsections 0x28 u4; attrs 0x30 r0");
  kernel.types.define("module_sect_attr", 0x50, "battr.attr.name 0 *; address 0x48 u8");
  const VirtAddr at = add_module(kernel, "ext4"), attributes = kernel.allocate(0x30 + 3 * 0x50);
  kernel.set("module", at, "sect_attrs", attributes.raw);
  kernel.set("module_sect_attrs", attributes, "nsections", 2);
  const char* names[] = {".text", ".init.text", ".beyond"};
  for (std::uint64_t i = 0; i < 3; ++i) {
    kernel.set("module_sect_attr", attributes + 0x30 + i * 0x50, "battr.attr.name", kernel.text(names[i]).raw);
    kernel.set("module_sect_attr", attributes + 0x30 + i * 0x50, "address", 0xffffffffc0000000 + i * 0x1000);
  }
  const Found found = find(kernel);
  REQUIRE(found.modules.size() == 1);
  REQUIRE(found.modules[0].sections.size() == 2);
  CHECK(found.modules[0].sections[0].name == ".text");
  CHECK(found.modules[0].sections[0].address.raw == 0xffffffffc0000000);
  CHECK(found.modules[0].sections[1].name == ".init.text");
  CHECK(found.modules[0].sections[1].address.raw == 0xffffffffc0001000);
}

TEST_CASE("sections of freed memory are left out", "[linux][modules]") {
  FakeKernel kernel;
  define_mem(kernel);
  kernel.types.define("module_sect_attrs", 0x40, "nsections 0x28 u4; attrs 0x30 r0");
  kernel.types.define("module_sect_attr", 0x50, "battr.attr.name 0 *; address 0x48 u8");
  const VirtAddr at = add_module(kernel, "ext4"), attributes = kernel.allocate(0x30 + 2 * 0x50);
  kernel.set("module", at, "sect_attrs", attributes.raw);
  kernel.set("module_sect_attrs", attributes, "nsections", 2);
  const char* names[] = {".init.text", ".text"};
  for (std::uint64_t i = 0; i < 2; ++i) {
    kernel.set("module_sect_attr", attributes + 0x30 + i * 0x50, "battr.attr.name", kernel.text(names[i]).raw);
    kernel.set("module_sect_attr", attributes + 0x30 + i * 0x50, "address", 0xffffffffc0010000 - i * 0x10000);
  }
  const Found found = find(kernel);
  REQUIRE(found.modules.size() == 1);
  REQUIRE(found.modules[0].sections.size() == 1);
  CHECK(found.modules[0].sections[0].name == ".text");
}

TEST_CASE("a module's build id is in its note", "[linux][modules]") {
  FakeKernel kernel;
  define_mem(kernel);
  kernel.types.define("module_sect_attrs", 0x40, "nsections 0x28 u4; attrs 0x30 r0");
  kernel.types.define("module_sect_attr", 0x50, "battr.attr.name 0 *; address 0x48 u8");
  const VirtAddr at = add_module(kernel, "ext4"), attributes = kernel.allocate(0x30 + 0x50), note = kernel.allocate(36);
  kernel.set("module", at, "mem[1].base", note.raw);
  kernel.set("module", at, "mem[1].size", 36);
  kernel.set("module", at, "sect_attrs", attributes.raw);
  kernel.set("module_sect_attrs", attributes, "nsections", 1);
  kernel.set("module_sect_attr", attributes + 0x30, "battr.attr.name", kernel.text(".note.gnu.build-id").raw);
  kernel.set("module_sect_attr", attributes + 0x30, "address", note.raw);
  // Name size, description size, NT_GNU_BUILD_ID, "GNU".
  kernel.memory.put(kernel.phys(note), std::string_view("\x04\0\0\0\x14\0\0\0\x03\0\0\0GNU\0", 16));
  for (std::uint64_t i = 0; i < 20; ++i) kernel.put(note + 16 + i, 0xa0 + i, 1);
  CHECK(find(kernel).modules.at(0).build_id == "a0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3");
  kernel.put(note, 5, 4);
  CHECK(find(kernel).modules.at(0).build_id.empty());
}

TEST_CASE("sections with a name of their own, before 5.8", "[linux][modules]") {
  FakeKernel kernel;
  define_mem(kernel);
  kernel.types.define("module_sect_attrs", 0x40, "nsections 0x28 u4; attrs 0x30 r0");
  kernel.types.define("module_sect_attr", 0x50, "mattr.attr.name 0 *; name 0x38 *; address 0x40 u8");
  const VirtAddr at = add_module(kernel, "nfs"), attributes = kernel.allocate(0x30 + 0x50);
  kernel.set("module", at, "sect_attrs", attributes.raw);
  kernel.set("module_sect_attrs", attributes, "nsections", 1);
  kernel.set("module_sect_attr", attributes + 0x30, "name", kernel.text(".text").raw);
  kernel.set("module_sect_attr", attributes + 0x30, "address", 0xffffffffc0000000);
  const Found found = find(kernel);
  REQUIRE(found.modules.size() == 1);
  REQUIRE(found.modules[0].sections.size() == 1);
  CHECK(found.modules[0].sections[0].name == ".text");
}

// Commits "module: sysfs: Drop member 'module_sect_attrs::nsections'" and "Drop 'struct module_sect_attr'": the array has
// no end of its own; the group's array of pointers ends with a null.
TEST_CASE("sections as plain attributes, since 6.14", "[linux][modules]") {
  for (const char* pointers : {"grp.bin_attrs", "grp.bin_attrs_new"}) {
    FakeKernel kernel;
    define_mem(kernel);
    kernel.types.define("module_sect_attrs", 0x30, std::string(pointers) + " 0x20 *; attrs 0x28 r0");
    kernel.types.define("bin_attribute", 0x40, "attr.name 0 *; private 0x18 *");
    const VirtAddr at = add_module(kernel, "ext4"), attributes = kernel.allocate(0x28 + 3 * 0x40), group = kernel.allocate(3 * 8);
    kernel.set("module", at, "sect_attrs", attributes.raw);
    kernel.set("module_sect_attrs", attributes, pointers, group.raw);
    for (std::uint64_t i = 0; i < 3; ++i) {  // the third is the next allocation's
      const VirtAddr section = attributes + 0x28 + i * 0x40;
      kernel.set("bin_attribute", section, "attr.name", kernel.text(".text." + std::to_string(i)).raw);
      kernel.set("bin_attribute", section, "private", 0xffffffffc0000000 + i * 0x1000);
      if (i < 2) kernel.put(group + 8 * i, section.raw);
    }
    const Found found = find(kernel);
    REQUIRE(found.modules.size() == 1);
    REQUIRE(found.modules[0].sections.size() == 2);
    CHECK(found.modules[0].sections[1].name == ".text.1");
    CHECK(found.modules[0].sections[1].address.raw == 0xffffffffc0001000);
  }
}

TEST_CASE("modules that are not formed yet are left out", "[linux][modules]") {
  FakeKernel kernel;
  define_mem(kernel);
  kernel.types.enumerator("MODULE_STATE_UNFORMED", 3);
  kernel.set("module", add_module(kernel, "half"), "state", 3);
  kernel.set("module", add_module(kernel, "coming"), "state", 1);
  const Found found = find(kernel);
  REQUIRE(found.modules.size() == 1);
  CHECK(found.modules[0].name == "coming");
}

TEST_CASE("a damaged list of modules yields the modules before and behind the damage", "[linux][modules]") {
  FakeKernel kernel;
  define_mem(kernel);
  const VirtAddr first = add_module(kernel, "first");
  add_module(kernel, "second");
  kernel.put(first + 8, 0xdead000000000100);
  const Found found = find(kernel);
  CHECK(found.modules.size() == 2);
  CHECK(found.remarks.size() == 1);
  kernel.symbols.remove("modules");
  CHECK(find(kernel).remarks[0].find("error") == 0);
}

TEST_CASE("attributes that make no sense end the sections", "[linux][modules]") {
  FakeKernel kernel;
  define_mem(kernel);
  kernel.types.define("module_sect_attrs", 0x40, "nsections 0x28 u4; attrs 0x30 r0");
  kernel.types.define("module_sect_attr", 0x50, "battr.attr.name 0 *; address 0x48 u8");
  kernel.set("module", add_module(kernel, "bad"), "sect_attrs", 0x10);
  const VirtAddr attributes = kernel.allocate(0x30 + 0x50);
  kernel.set("module", add_module(kernel, "endless"), "sect_attrs", attributes.raw);
  kernel.set("module_sect_attrs", attributes, "nsections", 0xffffffff);
  kernel.set("module_sect_attr", attributes + 0x30, "battr.attr.name", kernel.text(".text").raw);
  kernel.set("module_sect_attr", attributes + 0x30, "address", 0xffffffffc0000000);
  const Found found = find(kernel);
  REQUIRE(found.modules.size() == 2);
  CHECK(found.modules[0].sections.empty());
  CHECK(found.modules[1].sections.size() == 1);
}
