// Finding kallsyms' tables: by VMCOREINFO's keys and by their look, wherever the script put them.
#include "engine/os/linux/kallsyms.h"

#include <catch2/catch.hpp>
#include <fmt/format.h>

#include "engine/os/linux/map.h"
#include "engine/os/linux/pieces.h"
#include "tests/support/btf_writer.h"
#include "tests/support/kallsyms_writer.h"
#include "tests/support/kernel_fixture.h"

using namespace kvm;
using kvm::os_linux::Vmcoreinfo;
using kvm::testing::FakeKernel;
using kvm::testing::FakeKernelOptions;
using kvm::testing::FakeMemory;
using kvm::testing::KallsymsBytes;
using kvm::testing::KallsymsSpec;
using kvm::testing::KallsymsSymbol;
using kvm::testing::many_symbols;
using kvm::testing::write_kallsyms;

namespace {

constexpr std::uint64_t image = 0xffffffff81000000, tables_at = image + 0x40000;

struct Machine {
  FakeMemory memory;
  arch::Arch arch = *arch::find("x86_64");
  std::vector<KallsymsSymbol> symbols;
  KallsymsBytes tables;
  std::vector<std::string> remarks;
  std::uint64_t start = 0;

  Machine(KallsymsSpec spec, std::size_t count = 700) {
    if (spec.word == 4) spec.base = image & 0xffffffff;
    start = spec.base;
    if (start < image && spec.word == 8) arch = *arch::find("s390x");
    arch.pointer_bytes = static_cast<std::uint8_t>(spec.word);
    arch.endian = spec.endian;
    spec.at = start + 0x40000;
    memory.ram(0, 0x400000);
    symbols = many_symbols(count, spec.base);
    symbols.push_back({spec.base + 0x3f0000, 'B', "_end"});
    if (spec.encoding == KallsymsSpec::Encoding::absolute_percpu) symbols.insert(symbols.begin(), {0, 'A', "__per_cpu_start"});
    // Neighbours: numbers that rise, and what looks like the first tokens.
    for (std::uint64_t i = 0; i < 4000; ++i) memory.put_number({0x1000 + i * 2}, i, 2, spec.endian);
    tables = write_kallsyms(symbols, spec);
    memory.put({0x40000}, tables.bytes);
    for (std::uint64_t i = 0; i < 5000; ++i) memory.put_number({0x40000 + tables.bytes.size() + 8 + i * 4}, 0xffff0000 + i % 3, 4, spec.endian);
  }

  VirtAddr first() const { return {start}; }
  VirtAddr label(const std::string& name) const { return first() + 0x40000 + tables.labels.at(name); }

  Result<std::unique_ptr<Kallsyms>> find(const std::string& vmcoreinfo = {}) {
    const AddressSpace space(memory, {{first(), first() + 0x3fffff, Linear{{0}}, "kernel image"}});
    const os_linux::Window window{first(), 0x400000};
    return os_linux::find_kallsyms({arch, space}, Vmcoreinfo(vmcoreinfo), std::span(&window, 1), remarks);
  }

  std::string vmcoreinfo() const {
    std::string text = "OSRELEASE=6.1\n";
    for (const auto& [name, offset] : tables.labels)
      if (name != "kallsyms_markers" && name != "kallsyms_seqs_of_names") text += fmt::format("SYMBOL({})={:x}\n", name, label(name).raw);
    return text;
  }
};

void check_found(const Machine& machine, const Result<std::unique_ptr<Kallsyms>>& found) {
  REQUIRE(found);
  const std::vector<Symbol> all = (*found)->all();
  REQUIRE(all.size() == machine.symbols.size());
  for (std::size_t i = 0; i < all.size(); ++i)
    if (all[i].name != machine.symbols[i].name || all[i].address.raw != machine.symbols[i].address) FAIL(i << " " << all[i].name);
  CHECK(machine.remarks.empty());
}

std::vector<KallsymsSpec> all_specs() {
  using enum KallsymsSpec::Order;
  using enum KallsymsSpec::Encoding;
  std::vector<KallsymsSpec> specs;
  for (const std::endian endian : {std::endian::little, std::endian::big})
    for (const unsigned word : {8u, 4u})
      for (const auto order : {addresses_first, seqs_behind_markers, addresses_last})
        for (const auto encoding : {absolute, base_relative, absolute_percpu, place_relative}) {
          if (encoding == place_relative && order != addresses_last) continue;  // there was no such kernel
          KallsymsSpec spec{.order = order, .encoding = encoding, .endian = endian, .word = word};
          spec.alignment = encoding == place_relative ? 4 : word;
          spec.wide_lengths = order != addresses_first;
          specs.push_back(spec);
          if (order != addresses_first || word != 8) continue;
          spec.wide_markers = true;
          specs.push_back(spec);
        }
  return specs;
}

}  // namespace

TEST_CASE("tables found by their look, in every order and encoding", "[linux][kallsyms]") {
  for (const KallsymsSpec& spec : all_specs()) {
    INFO("order " << static_cast<int>(spec.order) << ", encoding " << static_cast<int>(spec.encoding) << ", " << spec.word << " bytes, "
                  << (spec.endian == std::endian::big ? "big" : "little") << "-endian" << (spec.wide_markers ? ", long markers" : ""));
    Machine machine(spec);
    check_found(machine, machine.find());
  }
}

TEST_CASE("tables of an image in low memory, as s390 has it", "[linux][kallsyms]") {
  for (KallsymsSpec spec : all_specs()) {
    if (spec.word == 4 || spec.encoding == KallsymsSpec::Encoding::absolute_percpu) continue;  // the latter is x86's
    spec.base = 0x100000;
    Machine machine(spec);
    check_found(machine, machine.find());
  }
}

TEST_CASE("tables that VMCOREINFO names", "[linux][kallsyms]") {
  for (const KallsymsSpec& spec : all_specs()) {
    if (spec.wide_markers) continue;  // long before the keys
    INFO("order " << static_cast<int>(spec.order) << ", encoding " << static_cast<int>(spec.encoding) << ", " << spec.word << " bytes");
    Machine machine(spec);
    check_found(machine, machine.find(machine.vmcoreinfo()));
  }
}

TEST_CASE("keys that lead nowhere: the tables are searched", "[linux][kallsyms]") {
  Machine machine({});
  std::string text = machine.vmcoreinfo();
  const std::size_t at = text.find("SYMBOL(kallsyms_token_index)=") + 29;
  text.replace(at, 16, fmt::format("{:x}", (machine.label("kallsyms_token_index") + 64).raw));
  check_found(machine, machine.find(text));
}

TEST_CASE("a banner elsewhere: these are another kernel's tables", "[linux][kallsyms]") {
  Machine machine({});
  machine.symbols.back() = {image + 0x3f0000, 'D', "linux_banner"};
  KallsymsSpec spec;
  spec.at = tables_at;
  machine.tables = write_kallsyms(machine.symbols, spec);
  machine.memory.put({0x40000}, machine.tables.bytes);
  SECTION("there") {
    machine.memory.put({machine.symbols.back().address - image}, "Linux version 6.1.0 (");
    check_found(machine, machine.find(machine.vmcoreinfo()));
  }
  SECTION("not there") {
    machine.memory.put({machine.symbols.back().address - image}, "something else altogether");
    CHECK(!machine.find(machine.vmcoreinfo()));
    CHECK(!machine.find());
  }
}

TEST_CASE("pages that the dump lacks", "[linux][kallsyms]") {
  Machine machine({}, 3000);
  const auto page_of = [&](const std::string& name, std::uint64_t offset = 0) {
    return PhysAddr{(0x40000 + machine.tables.labels.at(name) + offset) & ~std::uint64_t{4095}};
  };
  SECTION("of names: the other symbols are there, and one remark") {
    machine.memory.exclude(page_of("kallsyms_names", 8192));
    const auto found = machine.find(machine.vmcoreinfo());
    REQUIRE(found);
    CHECK((*found)->missing() > 100);
    CHECK((*found)->missing() < 1200);
    CHECK((*found)->find(machine.symbols[10].name));
    CHECK((*found)->find(machine.symbols[2900].name));
    REQUIRE(machine.remarks.size() == 1);
    CHECK(machine.remarks[0].starts_with(std::to_string((*found)->missing()) + " of the kernel's symbols"));
  }
  SECTION("of addresses") {
    machine.memory.lose(page_of("kallsyms_offsets", 6000));
    const auto found = machine.find(machine.vmcoreinfo());
    REQUIRE(found);
    CHECK((*found)->missing() > 500);
    CHECK((*found)->missing() <= 1024);
    CHECK(machine.remarks.size() == 1);
  }
  SECTION("of tokens: no name can be read") {
    machine.memory.exclude(page_of("kallsyms_token_index"));
    const auto found = machine.find(machine.vmcoreinfo());
    REQUIRE(!found);
    CHECK(found.error().code == Errc::not_in_dump);
    CHECK(found.error().note.find("kallsyms") != std::string::npos);
    CHECK(found.error().note.find("0xffffffff810") != std::string::npos);
  }
  SECTION("of their number") {
    machine.memory.lose(page_of("kallsyms_num_syms"));
    const auto found = machine.find(machine.vmcoreinfo());
    REQUIRE(!found);
    CHECK(found.error().code == Errc::lost);
  }
}

TEST_CASE("nothing to find", "[linux][kallsyms]") {
  Machine machine({});
  for (std::uint64_t at = 0x40000; at < 0x60000; at += 8) machine.memory.put_number({at}, 0);
  const auto found = machine.find();
  REQUIRE(!found);
  CHECK(found.error().code == Errc::not_found);
  CHECK(machine.find("SYMBOL(kallsyms_names)=1234\nSYMBOL(kallsyms_num_syms)=zzz\n").error().code == Errc::not_found);
}

namespace {

// The fake kernel's own symbols as tables inside its image, among others so that there are enough to be found.
void add_tables(FakeKernel& kernel, KallsymsSpec spec) {
  std::vector<KallsymsSymbol> symbols;
  for (const char* name : {"_text", "linux_banner", "swapper_pg_dir", "init_task", "modules"})
    symbols.push_back({kernel.symbols.find(name)->address.raw, name[0] == '_' ? 'T' : 'D', name});
  for (KallsymsSymbol& other : many_symbols(600, kernel.image().raw + 0x20000))
    if (other.name != "_text") symbols.push_back(std::move(other));
  symbols.push_back({kernel.image().raw + 0x1f0000, 'B', "_end"});
  std::ranges::sort(symbols, {}, &KallsymsSymbol::address);
  spec.base = kernel.image().raw;
  spec.at = kernel.image().raw + 0x60000;
  kernel.memory.put(kernel.image_phys() + 0x60000, write_kallsyms(symbols, spec).bytes);
}

}  // namespace

TEST_CASE("a kernel of which only its own tables tell", "[linux][kallsyms][map]") {
  using enum KallsymsSpec::Encoding;
  for (const auto encoding : {absolute, base_relative, place_relative})
    for (const bool five_level : {false, true})
      for (const std::uint64_t slide : {std::uint64_t{0}, std::uint64_t{0x1e00000}}) {
        INFO("encoding " << static_cast<int>(encoding) << ", slide " << slide);
        FakeKernel kernel(FakeKernelOptions{.slide = slide, .phys_base = 0x600000, .five_level = five_level});
        add_tables(kernel, {.encoding = encoding, .alignment = encoding == place_relative ? 4u : 8u});
        const Dump dump = kernel.dump();
        const auto map = os_linux::map_kernel(kernel.input(dump));
        REQUIRE(map);
        CHECK(map->source == "the kernel's symbol table, found in memory");
        CHECK(map->slide == slide);
        CHECK(map->phys_base == 0x600000);
        CHECK(map->mode == (five_level ? "5-level" : "4-level"));
        CHECK(map->build_id == FakeKernel::build_id);
        // The same tables, found again through the page tables, are the kernel's symbols.
        const AddressSpace space(*dump.memory, map->mappings);
        std::vector<std::string> remarks;
        const auto symbols = os_linux::read_kernel_symbols({*dump.arch, space, kernel.symbols, kernel.types}, *map, remarks, remarks);
        REQUIRE(symbols);
        CHECK((*symbols)->find("init_task")->address == kernel.init_task());
        CHECK(remarks.empty());
      }
}

TEST_CASE("the user's physical base narrows the search", "[linux][kallsyms][map]") {
  FakeKernel kernel(FakeKernelOptions{.slide = 0x600000, .phys_base = 0 - std::uint64_t{0x800000}});
  add_tables(kernel, {});
  const Dump dump = kernel.dump();
  OsInput input = kernel.input(dump);
  input.phys_base = 0 - std::uint64_t{0x800000};
  const auto map = os_linux::map_kernel(input);
  REQUIRE(map);
  CHECK(map->slide == 0x600000);
  CHECK(map->phys_base == *input.phys_base);
}

namespace {

// struct task_struct with the members and offsets of the fake kernel's.
std::vector<std::uint8_t> btf_of_tasks() {
  using enum kvm::testing::BtfNumber;
  kvm::testing::BtfWriter t;
  const auto integer = t.type("int", INT, 0, false, 4, {1u << 24 | 32});
  const auto chr = t.type("char", INT, 0, false, 1, {1u << 24 | 8});
  const auto comm = t.type("", ARRAY, 0, false, 0, {chr, integer, 16});
  const auto pointer = t.type("", PTR, 0, false, 0);
  const auto list = t.type("list_head", STRUCT, 2, false, 16, {t.string("next"), pointer, 0, t.string("prev"), pointer, 64});
  t.type("task_struct", STRUCT, 5, false, 0x200,
         {t.string("tasks"), list, 0x40 * 8, t.string("pid"), integer, 0x68 * 8, t.string("tgid"), integer, 0x6c * 8, t.string("real_parent"),
          pointer, 0x70 * 8, t.string("comm"), comm, 0xc0 * 8});
  const auto object = t.type("module_kobject", STRUCT, 1, false, 16, {t.string("mod"), pointer, 0});
  t.type("module", STRUCT, 3, false, 0x60,
         {t.string("list"), list, 0x8 * 8, t.string("name"), comm, 0x18 * 8, t.string("mkobj"), object, 0x50 * 8});
  t.type("btf_module", STRUCT, 3, false, 0x20,
         {t.string("list"), list, 0, t.string("module"), pointer, 0x10 * 8, t.string("btf"), pointer, 0x18 * 8});
  t.type("btf", STRUCT, 1, false, 0x20, {t.string("name"), comm, 0x8 * 8});
  return t.bytes();
}

}  // namespace

TEST_CASE("a kernel that names only functions: its first task and its types are found even so", "[linux][kallsyms]") {
  FakeKernel kernel;
  kernel.add_process({1, "swapper/0"});  // who is called so and is not the first
  const auto btf = btf_of_tasks();
  kernel.memory.put(kernel.image_phys() + 0x50001, "\x9f\xeb\x01");
  kernel.memory.put_number(kernel.image_phys() + 0x50010, 0x0001eb9f, 4);  // what only begins like BTF
  kernel.memory.put(kernel.image_phys() + 0x51003, btf);
  auto symbols = many_symbols(600, kernel.image().raw);
  std::erase_if(symbols, [](const KallsymsSymbol& symbol) { return symbol.kind != 't' && symbol.kind != 'T'; });
  for (std::size_t i = 0; i < 600; ++i) symbols.push_back({symbols.back().address + 16, 't', "more_" + std::to_string(i)});
  symbols.push_back({kernel.image().raw, 'T', "_stext"});
  symbols.push_back({kernel.image().raw + 0x7000, 'T', "_etext"});
  std::ranges::sort(symbols, {}, &KallsymsSymbol::address);
  KallsymsSpec spec;
  spec.at = kernel.image().raw + 0x60000;
  kernel.memory.put(kernel.image_phys() + 0x60000, write_kallsyms(symbols, spec).bytes);

  // Lists, of which one has an entry that is no module's.
  const VirtAddr modules = kernel.variable("modules", 16), parsed = kernel.variable("btf_modules", 16), other = kernel.variable("others", 16);
  const VirtAddr module = kernel.allocate(0x60), entry = kernel.allocate(0x20), stranger = kernel.allocate(0x60);
  for (const VirtAddr head : {modules, parsed, other}) kernel.list_init(head);
  kernel.put(module + 0x50, module.raw);
  const VirtAddr types = kernel.allocate(0x20);
  for (const VirtAddr name : {module + 0x18, types + 8}) kernel.put(name, 0x706f6f6c);  // "loop"
  kernel.put(entry + 0x10, module.raw);
  kernel.put(entry + 0x18, types.raw);
  kernel.list_add_tail(other, stranger + 8);
  kernel.list_add_tail(modules, module + 8);
  kernel.list_add_tail(parsed, entry);

  KernelMap map;
  map.vmcoreinfo = kernel.vmcoreinfo();
  const testing::FakeSymbols no_symbols;
  const testing::FakeTypes no_types;
  const KernelView view{*arch::find("x86_64"), kernel.space(), no_symbols, no_types};
  std::vector<std::string> remarks;
  const auto found = os_linux::read_kernel_symbols(view, map, remarks, remarks);
  REQUIRE(found);
  REQUIRE((*found)->find("init_task"));
  CHECK((*found)->find("init_task")->address == kernel.init_task());
  CHECK((*found)->find("__start_BTF")->address == kernel.image() + 0x51003);
  CHECK((*found)->find("__stop_BTF")->address == kernel.image() + 0x51003 + btf.size());
  CHECK((*found)->find("swapper_pg_dir")->address == kernel.image() + 0x4000);  // VMCOREINFO names it
  CHECK((*found)->find("more_7"));
  REQUIRE((*found)->find("modules"));
  CHECK((*found)->find("modules")->address == modules);
  REQUIRE((*found)->find("btf_modules"));
  CHECK((*found)->find("btf_modules")->address == parsed);
  REQUIRE(remarks.size() == 1);
  CHECK(remarks[0].find("CONFIG_KALLSYMS_ALL") != std::string::npos);
}
