// kallsyms' tables in every encoding, from a writer typed from the kernel's script; tables with holes and tables that lie.
#include "engine/symbols/kallsyms.h"

#include <algorithm>
#include <catch2/catch.hpp>

#include "engine/integers.h"
#include "tests/support/kallsyms_writer.h"

using namespace kvm;
using kvm::testing::KallsymsBytes;
using kvm::testing::KallsymsSpec;
using kvm::testing::KallsymsSymbol;
using kvm::testing::many_symbols;
using kvm::testing::write_kallsyms;

namespace {

constexpr std::uint64_t base = 0xffffffff81000000;

std::vector<std::uint8_t> slice(const KallsymsBytes& all, std::size_t from, std::size_t to) {
  return {all.bytes.begin() + static_cast<std::ptrdiff_t>(from), all.bytes.begin() + static_cast<std::ptrdiff_t>(to)};
}

// The tables cut at their labels, as one who knows where they are would read them.
KallsymsTables tables_of(const std::vector<KallsymsSymbol>& symbols, const KallsymsSpec& spec) {
  const KallsymsBytes all = write_kallsyms(symbols, spec);
  const auto at = [&](const char* label) { return all.labels.at(label); };
  KallsymsTables tables;
  tables.order = spec.endian;
  tables.word = static_cast<std::uint8_t>(spec.word);
  tables.count = static_cast<std::uint32_t>(symbols.size());
  tables.names.bytes = slice(all, at("kallsyms_names"), at("kallsyms_token_table"));
  for (const std::size_t marker : all.markers) tables.markers.push_back(static_cast<std::uint32_t>(marker));
  tables.tokens.bytes = slice(all, at("kallsyms_token_table"), at("kallsyms_token_index"));
  tables.token_index = slice(all, at("kallsyms_token_index"), at("kallsyms_token_index") + 512);
  if (spec.encoding == KallsymsSpec::Encoding::absolute) {
    tables.addresses.bytes = slice(all, at("kallsyms_addresses"), at("kallsyms_addresses") + symbols.size() * spec.word);
  } else {
    tables.offsets.bytes = slice(all, at("kallsyms_offsets"), at("kallsyms_offsets") + symbols.size() * 4);
    tables.offsets_at = {spec.at + at("kallsyms_offsets")};
  }
  if (all.labels.contains("kallsyms_relative_base")) tables.relative_base = spec.base;
  return tables;
}

void check_all(const Kallsyms& kallsyms, const std::vector<KallsymsSymbol>& symbols) {
  const std::vector<Symbol> all = kallsyms.all();
  REQUIRE(all.size() == symbols.size());
  for (std::size_t i = 0; i < symbols.size(); ++i) {
    INFO(i);
    REQUIRE(all[i].name == symbols[i].name);
    REQUIRE(all[i].address.raw == symbols[i].address);
    REQUIRE(all[i].kind == symbols[i].kind);
  }
}

std::vector<KallsymsSymbol> few() {
  return {{base, 'T', "_text"},           {base, 'T', "_stext"},        {base + 0x100, 't', "__pfx_helper"}, {base + 0x110, 't', "helper"},
          {base + 0x110, 'T', "exported"}, {base + 0x110, 't', "local"}, {base + 0x200, 't', "twice"},        {base + 0x300, 'T', "twice"},
          {base + 0x400, 'T', "_etext"},   {base + 0x1000, 'D', "__start_rodata"}, {base + 0x1000, 'd', "first_constant"},
          {base + 0x2000, 'D', "_edata"},  {base + 0x3000, 'B', "last"}};
}

}  // namespace

TEST_CASE("every encoding, byte order and word", "[kallsyms]") {
  using enum KallsymsSpec::Encoding;
  for (const std::endian endian : {std::endian::little, std::endian::big})
    for (const unsigned word : {8u, 4u})
      for (const auto encoding : {absolute, base_relative, absolute_percpu, place_relative}) {
        INFO(word << " bytes, encoding " << static_cast<int>(encoding) << (endian == std::endian::big ? ", big-endian" : ""));
        KallsymsSpec spec{.encoding = encoding, .endian = endian, .word = word};
        spec.base = word == 4 ? 0xc0100000 : base;
        spec.at = spec.base + 0x200000;
        auto symbols = many_symbols(700, spec.base);
        if (encoding == absolute_percpu)
          symbols.insert(symbols.begin(), {{0, 'A', "__per_cpu_start"}, {0x1000, 'A', "cpu_debug_store"}, {0x34000, 'A', "__per_cpu_end"}});
        auto kallsyms = Kallsyms::open(tables_of(symbols, spec));
        REQUIRE(kallsyms);
        check_all(**kallsyms, symbols);
        CHECK((*kallsyms)->missing() == 0);
      }
}

TEST_CASE("an image larger than the sign of its offsets", "[kallsyms]") {
  KallsymsSpec spec;
  spec.base = 0xffff800080000000;
  auto symbols = many_symbols(600, spec.base);
  for (std::size_t i = 300; i < symbols.size(); ++i) symbols[i].address += 0x9000'0000;
  const auto kallsyms = Kallsyms::open(tables_of(symbols, spec));
  REQUIRE(kallsyms);
  check_all(**kallsyms, symbols);
}

TEST_CASE("lengths of one and of two bytes", "[kallsyms]") {
  auto symbols = many_symbols(600, base);
  SECTION("since 6.1 a long name has two") {
    symbols[5].name = std::string(300, 'q');
    symbols[300].name = std::string(127, 'q');  // with its kind 128 bytes
    const auto kallsyms = Kallsyms::open(tables_of(symbols, {}));
    REQUIRE(kallsyms);
    check_all(**kallsyms, symbols);
  }
  SECTION("before, 128 was one byte") {
    symbols[5].name = std::string(127, 'q');
    KallsymsSpec spec;
    spec.wide_lengths = false;
    const auto kallsyms = Kallsyms::open(tables_of(symbols, spec));
    REQUIRE(kallsyms);
    check_all(**kallsyms, symbols);
  }
  SECTION("without markers") {
    symbols[5].name = std::string(300, 'q');
    KallsymsTables tables = tables_of(symbols, {});
    tables.markers.clear();
    const auto kallsyms = Kallsyms::open(tables);
    REQUIRE(kallsyms);
    check_all(**kallsyms, symbols);
  }
}

TEST_CASE("by name: a global symbol before a local one, few questions or many", "[kallsyms]") {
  const auto kallsyms = Kallsyms::open(tables_of(few(), {}));
  REQUIRE(kallsyms);
  for (int question = 0; question < 100; ++question) {
    REQUIRE((*kallsyms)->find("twice"));
    REQUIRE((*kallsyms)->find("twice")->address.raw == base + 0x300);
    REQUIRE((*kallsyms)->find("helper")->kind == 't');
    REQUIRE(!(*kallsyms)->find("nosuch"));
    REQUIRE(!(*kallsyms)->find(""));
  }
}

TEST_CASE("by address: the best of several names, and nothing behind the end of a stretch", "[kallsyms]") {
  auto symbols = few();
  symbols.insert(symbols.begin(), {{0, 'A', "__per_cpu_start"}, {0x40, 'A', "counter"}, {0x80, 'A', "__per_cpu_end"}});
  KallsymsSpec spec;
  spec.encoding = KallsymsSpec::Encoding::absolute_percpu;
  const auto kallsyms = Kallsyms::open(tables_of(symbols, spec));
  REQUIRE(kallsyms);
  const auto name_at = [&](std::uint64_t address) {
    const auto symbol = (*kallsyms)->at({address});
    return symbol ? std::string(symbol->name) : std::string();
  };
  CHECK(name_at(base + 0x150) == "exported");
  CHECK(name_at(base + 0x105) == "__pfx_helper");
  CHECK(name_at(base + 0x3ff) == "twice");
  CHECK(name_at(base + 0x400).empty());        // _etext
  CHECK(name_at(base + 0xfff).empty());
  CHECK(name_at(base + 0x1004) == "first_constant");
  CHECK(name_at(base + 0x2004).empty());       // _edata
  CHECK(name_at(base + 0x3000) == "last");
  CHECK(name_at(base + 0x3001).empty());       // nobody says how far it reaches
  CHECK(name_at(0x50).empty());                // an offset is no address
  CHECK(name_at(base - 1).empty());
}

TEST_CASE("sizes are distances to the next symbol elsewhere", "[kallsyms]") {
  auto symbols = few();
  symbols.insert(symbols.begin(), {{0, 'A', "__per_cpu_start"}, {0x40, 'A', "counter"}});
  KallsymsSpec spec;
  spec.encoding = KallsymsSpec::Encoding::absolute_percpu;
  const auto kallsyms = Kallsyms::open(tables_of(symbols, spec));
  REQUIRE(kallsyms);
  CHECK((*kallsyms)->find("_text")->size == 0x100);
  CHECK((*kallsyms)->find("exported")->size == 0xf0);
  CHECK((*kallsyms)->find("helper")->size == 0xf0);
  CHECK((*kallsyms)->find("_etext")->size == 0);
  CHECK((*kallsyms)->find("last")->size == 0);
  CHECK((*kallsyms)->find("__per_cpu_start")->size == 0x40);
  CHECK((*kallsyms)->find("counter")->size == 0);  // what follows is no per-CPU symbol
}

TEST_CASE("pages that could not be read cost their own symbols", "[kallsyms]") {
  const auto symbols = many_symbols(2000, base);
  KallsymsTables tables = tables_of(symbols, {});
  const auto hide = [](PartialBytes& table, std::size_t first, std::size_t end) {
    std::fill(table.bytes.begin() + static_cast<std::ptrdiff_t>(first), table.bytes.begin() + static_cast<std::ptrdiff_t>(end), 0);
    table.gaps.push_back({first, end});
  };
  SECTION("of names") {
    hide(tables.names, tables.markers[2] + 100, tables.markers[3] + 50);
    const auto kallsyms = Kallsyms::open(tables);
    REQUIRE(kallsyms);
    CHECK((*kallsyms)->missing() > 256);
    CHECK((*kallsyms)->missing() < 512);
    for (const std::size_t i : {0u, 511u, 513u, 1024u, 1999u}) {
      INFO(symbols[i].name);
      REQUIRE((*kallsyms)->find(symbols[i].name));
      CHECK((*kallsyms)->find(symbols[i].name)->address.raw == symbols[i].address);
    }
    for (const Symbol& symbol : (*kallsyms)->all()) {
      const auto truth = std::ranges::find(symbols, symbol.name, &KallsymsSymbol::name);
      REQUIRE(truth != symbols.end());
      REQUIRE(truth->address == symbol.address.raw);
    }
  }
  SECTION("of addresses") {
    hide(tables.offsets, 400, 4400);
    const auto kallsyms = Kallsyms::open(tables);
    REQUIRE(kallsyms);
    CHECK((*kallsyms)->missing() == 1000);
    CHECK((*kallsyms)->find(symbols[99].name));
    CHECK(!(*kallsyms)->find(symbols[100].name));
    CHECK((*kallsyms)->find(symbols[1100].name)->address.raw == symbols[1100].address);
  }
  SECTION("names that are noise take their neighbours with them, up to the next marker") {
    tables.names.bytes[tables.markers[3] + 7] ^= 0x2a;
    tables.names.bytes[tables.markers[3]] = 3;
    const auto kallsyms = Kallsyms::open(tables);
    REQUIRE(kallsyms);
    CHECK((*kallsyms)->missing() == 256);
    CHECK((*kallsyms)->find(symbols[767].name));
    CHECK(!(*kallsyms)->find(symbols[800].name));
    CHECK((*kallsyms)->find(symbols[1024].name)->address.raw == symbols[1024].address);
  }
}

TEST_CASE("tables that make no sense", "[kallsyms]") {
  const auto symbols = many_symbols(600, base);
  KallsymsTables tables = tables_of(symbols, {});
  SECTION("no symbols") { tables.count = 0; }
  SECTION("more symbols than bytes") { tables.count = 1u << 30; }
  SECTION("no token index") { tables.token_index.clear(); }
  SECTION("a token beyond the table") { std::fill(tables.token_index.end() - 2, tables.token_index.end(), 0xff); }
  SECTION("no addresses") { tables.offsets.bytes.clear(); }
  SECTION("no names") { std::ranges::fill(tables.names.bytes, 0); }
  const auto kallsyms = Kallsyms::open(tables);
  REQUIRE(!kallsyms);
  CHECK(kallsyms.error().code == Errc::bad_data);
}

namespace {

// One Elf_Sym (System V gABI).
void put_symbol(std::vector<std::uint8_t>& table, unsigned word, std::endian order, std::uint32_t name, std::uint8_t info, std::uint16_t section,
                std::uint64_t value, std::uint64_t size) {
  const std::size_t at = table.size();
  table.resize(at + (word == 8 ? 24 : 16));
  std::uint8_t* out = table.data() + at;
  store<std::uint32_t>(out, name, order);
  if (word == 8) {
    out[4] = info;
    store<std::uint16_t>(out + 6, section, order);
    store<std::uint64_t>(out + 8, value, order);
    store<std::uint64_t>(out + 16, size, order);
  } else {
    store<std::uint32_t>(out + 4, static_cast<std::uint32_t>(value), order);
    store<std::uint32_t>(out + 8, static_cast<std::uint32_t>(size), order);
    out[12] = info;
    store<std::uint16_t>(out + 14, section, order);
  }
}

ModuleKallsyms module_tables(unsigned word, std::endian order, int age) {  // 0: typetab, 1: kinds in st_size, 2: in st_info
  ModuleKallsyms tables;
  tables.order = order;
  tables.word = static_cast<std::uint8_t>(word);
  const std::string names = std::string("\0helper\0exported\0panic\0table\0", 29);
  tables.strtab.bytes.assign(names.begin(), names.end());
  auto& out = tables.symtab.bytes;
  const auto info = [&](std::uint8_t elf, char kind) { return age == 2 ? static_cast<std::uint8_t>(kind) : elf; };
  const auto size = [&](std::uint64_t elf, char kind) { return age == 1 ? static_cast<std::uint64_t>(kind) : elf; };
  put_symbol(out, word, order, 0, 0, 0, 0, 0);
  put_symbol(out, word, order, 1, info(0x02, 't'), 1, 0xc0000100, size(0x20, 't'));   // STB_LOCAL, STT_FUNC
  put_symbol(out, word, order, 8, info(0x12, 't'), 1, 0xc0000000, size(0x80, 't'));   // STB_GLOBAL
  put_symbol(out, word, order, 17, info(0x10, 'U'), 0, 0xffffffff, size(0, 'U'));     // of the kernel
  put_symbol(out, word, order, 23, info(0x01, 'd'), 3, 0xc0002000, size(0x40, 'd'));  // STT_OBJECT
  put_symbol(out, word, order, 0, info(0x03, 't'), 1, 0xc0000000, size(0, 't'));      // a section
  if (age == 0) for (const char kind : {'?', 't', 't', 'U', 'd', 't'}) tables.kinds.bytes.push_back(static_cast<std::uint8_t>(kind));
  return tables;
}

}  // namespace

TEST_CASE("a module's symbols, with their kinds where kernels kept them", "[kallsyms]") {
  for (const std::endian order : {std::endian::little, std::endian::big})
    for (const unsigned word : {8u, 4u})
      for (const int age : {0, 1, 2}) {
        INFO(word << " bytes, age " << age);
        const auto kallsyms = Kallsyms::open(module_tables(word, order, age));
        REQUIRE(kallsyms);
        const std::vector<Symbol> all = (*kallsyms)->all();
        REQUIRE(all.size() == 3);
        CHECK(all[0].name == "exported");
        CHECK(all[0].kind == (age == 2 ? 't' : 'T'));  // st_info held nothing else then
        CHECK(all[0].size == (age == 1 ? 0x100 : 0x80));
        CHECK(all[1].name == "helper");
        CHECK(all[1].address.raw == 0xc0000100);
        CHECK(all[2].kind == 'd');
        CHECK((*kallsyms)->find("helper"));
        CHECK(!(*kallsyms)->find("panic"));
        CHECK((*kallsyms)->at({0xc0000110})->name == "helper");
      }
}

TEST_CASE("a module's tables that lie", "[kallsyms]") {
  ModuleKallsyms tables = module_tables(8, std::endian::little, 0);
  SECTION("names beyond the strings") {
    store<std::uint32_t>(tables.symtab.bytes.data() + 24, 0xfffffff0, std::endian::little);
    const auto kallsyms = Kallsyms::open(tables);
    REQUIRE(kallsyms);
    CHECK((*kallsyms)->missing() == 1);
    CHECK((*kallsyms)->all().size() == 2);
  }
  SECTION("no end of the strings") {
    tables.strtab.bytes.resize(26);
    const auto kallsyms = Kallsyms::open(tables);
    REQUIRE(kallsyms);
    CHECK((*kallsyms)->missing() == 1);
  }
  SECTION("nothing") {
    tables.symtab.bytes.clear();
    CHECK(!Kallsyms::open(tables));
  }
}
