// What a kernel tells of itself: sections from the names of their ends (include/asm-generic/sections.h), modules' sections and
// symbols, BTF, well-known variables.
#include "engine/os/linux/pieces.h"

#include <catch2/catch.hpp>
#include <cstdio>

#include "tests/support/kernel_fixture.h"

using namespace kvm;
using kvm::testing::FakeKernel;
using kvm::testing::FakeSymbols;
using kvm::testing::FakeTypes;

namespace {

std::string text_of(const std::vector<PieceSection>& sections) {
  std::string text;
  for (const PieceSection& s : sections) {
    char line[128];
    std::snprintf(line, sizeof line, "%s %llx+%llx%s%s;", s.name.c_str(), static_cast<unsigned long long>(s.address.raw),
                  static_cast<unsigned long long>(s.size), s.code ? " code" : "", s.writable ? " writable" : "");
    text += line;
  }
  return text;
}

FakeSymbols marks(std::initializer_list<std::pair<const char*, std::uint64_t>> names) {
  FakeSymbols symbols;
  for (const auto& [name, address] : names) symbols.add(name, {address});
  return symbols;
}

}  // namespace

TEST_CASE("sections of a kernel, as x86 lays them out", "[linux][pieces]") {
  const auto symbols = marks({{"_text", 0x81000000}, {"_stext", 0x81000000}, {"_etext", 0x81e01ef2}, {"__start_rodata", 0x82000000},
                              {"__end_rodata", 0x82827000}, {"_sdata", 0x82a00000}, {"_edata", 0x82c45e00}, {"__per_cpu_start", 0},
                              {"__per_cpu_end", 0x34000}, {"__init_begin", 0x8301a000}, {"_sinittext", 0x8304e000},
                              {"_einittext", 0x830b1850}, {"__init_end", 0x832a7000}, {"__bss_start", 0x832b1000},
                              {"__bss_stop", 0x83800000}, {"__brk_base", 0x83800000}, {"__brk_limit", 0x83830000}});
  CHECK(text_of(os_linux::kernel_sections(symbols)) ==
        ".data..percpu 0+34000 writable;.text 81000000+e01ef2 code;.rodata 82000000+827000;.data 82a00000+245e00 writable;"
        ".data.tables 82c45e00+3d4200;.init.text 8304e000+63850 code;.init.data 830b1850+1f57b0 writable;.data_nosave 832a7000+a000 writable;"
        ".bss 832b1000+54f000 writable;.brk 83800000+30000 writable;");
}

TEST_CASE("sections of a kernel whose initial data comes after its initial code, with pages between", "[linux][pieces]") {
  const auto symbols = marks({{"_text", 0x1000}, {"_stext", 0x2000}, {"_etext", 0x5000}, {"__start_rodata", 0x5000}, {"__end_rodata", 0x8000},
                              {"__init_begin", 0x9000}, {"_sinittext", 0x9000}, {"_einittext", 0xa000}, {"__initdata_begin", 0xb000},
                              {"__initdata_end", 0xd000}, {"__init_end", 0xe000}, {"__per_cpu_start", 0xc000}, {"__per_cpu_end", 0xc800},
                              {"_sdata", 0xe000}, {"_edata", 0xf000}, {"__bss_start", 0xf000}, {"__bss_stop", 0xf800}});
  // Per-CPU data inside of it is cut out, what is behind is lost; nothing overlaps.
  CHECK(text_of(os_linux::kernel_sections(symbols)) ==
        ".text 1000+4000 code;.rodata 5000+3000;.init.text 9000+1000 code;.init.data b000+1000 writable;.data..percpu c000+800 writable;"
        ".data e000+1000 writable;.bss f000+800 writable;");
}

TEST_CASE("sections of a kernel that names only functions", "[linux][pieces]") {
  CHECK(text_of(os_linux::kernel_sections(marks({{"_stext", 0x1000}, {"_etext", 0x5000}, {"_sinittext", 0x9000}, {"_einittext", 0xa000}}))) ==
        ".text 1000+4000 code;.init.text 9000+1000 code;");
  CHECK(os_linux::kernel_sections(marks({{"_text", 0x9000}, {"_etext", 0x5000}})).empty());
  CHECK(os_linux::kernel_sections(FakeSymbols()).empty());
}

TEST_CASE("a module's sections end where the next one begins, or their area does", "[linux][pieces]") {
  Module module;
  module.areas = {{{0xc0000000}, 0x2000, true, false}, {{0xc0010000}, 0x1000, false, true}, {{0xc0020000}, 0, false, false}};
  module.sections = {{".text", {0xc0000000}}, {".data", {0xc0010000}}, {".exit.text", {0xc0000800}}, {".bss", {0xc0010400}},
                     {".empty", {0xc0010400}}, {".gone", {0xc0020000}}};
  CHECK(text_of(os_linux::module_sections(module)) ==
        ".text c0000000+800 code;.exit.text c0000800+1800 code;.data c0010000+400 writable;.bss c0010400+c00 writable;");
}

TEST_CASE("well-known variables: those that the kernel has", "[linux][pieces]") {
  FakeSymbols symbols = marks({{"init_task", 1}, {"modules", 2}, {"linux_banner", 3}, {"high_memory", 4}, {"init_net", 5}});
  std::string text;
  for (const PieceVariable& v : os_linux::known_variables(symbols)) text += v.name + ": " + v.type + ";";
  CHECK(text == "init_task: struct task_struct;init_net: struct net;linux_banner: char[];modules: struct list_head;high_memory: void *;");
}

namespace {

// A module of Linux 6.4 and later with a symbol table (struct mod_kallsyms) and BTF on the BPF subsystem's list.
struct ModuleFixture {
  FakeKernel kernel;
  VirtAddr module, tables, symtab, strtab;

  ModuleFixture() {
    kernel.types.define("module", 0x100, "name 0x18 a56; kallsyms 0x60 *mod_kallsyms");
    kernel.types.define("mod_kallsyms", 0x20, "symtab 0 *; num_symtab 8 u4; strtab 0x10 *; typetab 0x18 *");
    module = kernel.allocate(0x100);
    tables = kernel.allocate(0x20);
    symtab = kernel.allocate(2 * 24);
    strtab = kernel.allocate(64);
    const VirtAddr typetab = kernel.allocate(8);
    kernel.set("module", module, "kallsyms", tables.raw);
    kernel.set("mod_kallsyms", tables, "symtab", symtab.raw);
    kernel.set("mod_kallsyms", tables, "num_symtab", 2);
    kernel.set("mod_kallsyms", tables, "strtab", strtab.raw);
    kernel.set("mod_kallsyms", tables, "typetab", typetab.raw);
    kernel.put_text(typetab, "?t");
    kernel.put_text(strtab + 1, "loop_init");
    kernel.put(symtab + 24, 1, 4);               // st_name
    kernel.put(symtab + 28, 0x12, 1);            // STB_GLOBAL, STT_FUNC
    kernel.put(symtab + 30, 1, 2);               // st_shndx
    kernel.put(symtab + 32, 0xffffffffc0001000);
    kernel.put(symtab + 40, 0x30);
  }
  Module handle() const {
    Module found;
    found.name = "loop";
    found.handle = module;
    return found;
  }
};

}  // namespace

TEST_CASE("the symbols that the kernel keeps of a module", "[linux][pieces]") {
  ModuleFixture f;
  const auto check = [&] {
    const auto symbols = os_linux::read_module_symbols(f.kernel.view(), f.handle());
    REQUIRE(symbols);
    REQUIRE((*symbols)->all().size() == 1);
    const Symbol symbol = (*symbols)->all()[0];
    CHECK(symbol.name == "loop_init");
    CHECK(symbol.address.raw == 0xffffffffc0001000);
    CHECK(symbol.size == 0x30);
    CHECK(symbol.kind == 'T');
  };
  SECTION("in a structure of their own, since 4.5") { check(); }
  SECTION("in struct module, before") {
    f.kernel.types.define("module", 0x100, "name 0x18 a56; symtab 0x60 *; num_symtab 0x68 u4; strtab 0x70 *; typetab 0x78 *");
    for (int i = 0; i < 4; ++i) f.kernel.put(f.module + 0x60 + i * 8, f.kernel.view().number_at(f.tables + i * 8, 8).value());
    check();
  }
  SECTION("a table that is not there") {
    f.kernel.set("mod_kallsyms", f.tables, "symtab", 0);
    CHECK(!os_linux::read_module_symbols(f.kernel.view(), f.handle()));
  }
  SECTION("a number that makes no sense") {
    f.kernel.set("mod_kallsyms", f.tables, "num_symtab", 0xffffffff);
    const auto symbols = os_linux::read_module_symbols(f.kernel.view(), f.handle());
    CHECK((!symbols || (*symbols)->find("loop_init")));
  }
}

TEST_CASE("the BTF that the kernel parsed of its modules", "[linux][pieces]") {
  FakeKernel kernel;
  kernel.types.define("btf_module", 0x40, "list 0 r16:list_head; module 0x10 *module; btf 0x18 *btf");
  kernel.types.define("btf", 0x40, "data 0 *; data_size 0x30 u4");
  const VirtAddr head = kernel.variable("btf_modules", 16);
  kernel.list_init(head);
  const auto add = [&](std::uint64_t module, std::string_view bytes) {
    const VirtAddr entry = kernel.allocate(0x40), btf = kernel.allocate(0x40);
    kernel.set("btf_module", entry, "module", module);
    kernel.set("btf_module", entry, "btf", btf.raw);
    kernel.set("btf", btf, "data", kernel.text(bytes).raw);
    kernel.set("btf", btf, "data_size", bytes.size());
    kernel.list_add_tail(head, entry);
    return btf;
  };
  add(0x1000, "first");
  const VirtAddr second = add(0x2000, "second one");
  std::vector<std::string> remarks;
  auto found = os_linux::read_module_btf(kernel.view(), remarks);
  REQUIRE(found.size() == 2);
  CHECK(std::string(found[0x2000].begin(), found[0x2000].end()) == "second one");
  CHECK(remarks.empty());
  kernel.set("btf", second, "data", 0xffffc90000000000);  // nothing is mapped there
  found = os_linux::read_module_btf(kernel.view(), remarks);
  CHECK(found.size() == 1);
  REQUIRE(remarks.size() == 1);
  CHECK(remarks[0] == "the types of 1 module(s) cannot be read");
  kernel.symbols.remove("btf_modules");
  CHECK(os_linux::read_module_btf(kernel.view(), remarks).empty());
}

TEST_CASE("the kernel's BTF, all of it or none", "[linux][pieces]") {
  FakeKernel kernel;
  kernel.memory.put(kernel.image_phys() + 0x20000, std::string(9000, 'x'));
  kernel.symbols.add("__start_BTF", kernel.image() + 0x20000);
  CHECK(!os_linux::read_kernel_btf(kernel.view(), kernel.symbols));
  kernel.symbols.add("__stop_BTF", kernel.image() + 0x20000 + 9000);
  CHECK(os_linux::read_kernel_btf(kernel.view(), kernel.symbols)->size() == 9000);
  kernel.memory.exclude(kernel.image_phys() + 0x21000);
  const auto cut = os_linux::read_kernel_btf(kernel.view(), kernel.symbols);
  REQUIRE(!cut);
  CHECK(cut.error().code == Errc::not_in_dump);
  CHECK(cut.error().addr == kernel.image().raw + 0x21000);
}
