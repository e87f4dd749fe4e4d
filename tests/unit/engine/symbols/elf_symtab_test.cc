// Names and addresses from symbol tables written by hand: what is slid, and who wins where several share an address.
#include "engine/symbols/elf_symtab.h"

#include <catch2/catch.hpp>
#include <algorithm>
#include <atomic>
#include <thread>

#include "tests/unit/engine/symbols/elf_image.h"

using namespace kvm;
using test::ElfImage;

namespace {

constexpr std::uint8_t local = 0x00, local_func = 0x02, global = 0x10, global_func = 0x12, global_object = 0x11, weak_func = 0x22;
constexpr std::uint16_t text = 1, percpu = 2, data = 3, bss = 4, debug = 5, absolute = 0xfff1;

ElfFile kernel(bool is_64 = true, std::endian order = std::endian::little) {
  ElfImage image(is_64, order);
  image.add({.name = ".text", .flags = 6, .addr = 0x81000000, .bytes = std::vector<std::uint8_t>(0x1000)});
  image.add({.name = ".data..percpu", .flags = 3, .addr = 0, .bytes = std::vector<std::uint8_t>(0x100)});
  image.add({.name = ".rodata", .flags = 2, .addr = 0x81001000, .bytes = std::vector<std::uint8_t>(0x100)});
  image.add({.name = ".bss", .type = 8, .flags = 3, .addr = 0x82000000, .size = 0x1000});
  image.add({.name = ".debug", .bytes = {1}});
  image.add_symbols({
      {"file.c", 0, 0, 0x04, absolute},
      {"", 0x81000000, 0, 0x03, text},
      {"start_label", 0x81000000, 0, local, text},
      {"start", 0x81000000, 0x40, global_func, text},
      {"$x", 0x81000010, 0, local, text},
      {"inner_label", 0x81000020, 0, global, text},
      {"__pfx_twice", 0x81000070, 0x10, local_func, text},
      {"twice", 0x81000080, 0x20, local_func, text},
      {"twice", 0x81000100, 0x20, global_func, text},
      {"maybe", 0x81000200, 0x10, weak_func, text},
      {"_etext", 0x81001000, 0, global, text},
      {"current_task", 0x40, 8, global_object, percpu},
      {"banner", 0x81001000, 0x20, global_object, data},
      {"counter", 0x82000ff8, 8, global_object, bss},
      {"_end", 0x82001000, 0, global, bss},
      {"crc", 0x1234, 0, global, absolute},
      {"missing", 0, 0, global, 0},
      {"debugged", 0x7, 0, local, debug},
      {"nowhere", 0x7, 0, local, 77},
  });
  return *ElfFile::open(File::from_bytes(image.bytes(), "vmlinux"));
}

std::string at(const Symbols& symbols, std::uint64_t address) {
  const auto symbol = symbols.at({address});
  return symbol ? std::string(symbol->name) : "";
}

}  // namespace

TEST_CASE("Symbols are found by name, in both classes and byte orders, and slid where they are addresses") {
  const bool is_64 = GENERATE(true, false);
  const auto order = GENERATE(std::endian::little, std::endian::big);
  const ElfFile file = kernel(is_64, order);
  const auto symbols = open_elf_symbols(file, 0x1000000);
  REQUIRE(symbols);
  const auto start = (*symbols)->find("start");
  REQUIRE(start);
  CHECK(start->address.raw == 0x82000000);
  CHECK(start->size == 0x40);
  CHECK(start->kind == 'T');
  CHECK((*symbols)->find("current_task")->address.raw == 0x40);
  CHECK((*symbols)->find("crc")->address.raw == 0x1234);
  CHECK((*symbols)->find("crc")->kind == 'A');
  CHECK((*symbols)->find("debugged")->address.raw == 0x7);
  CHECK((*symbols)->find("counter")->kind == 'B');
  CHECK((*symbols)->find("banner")->kind == 'R');
  CHECK((*symbols)->find("maybe")->kind == 'T');
  CHECK((*symbols)->find("inner_label")->kind == 'T');
  CHECK((*symbols)->find("start_label")->kind == 't');
  // The global one, although a local one comes first.
  CHECK((*symbols)->find("twice")->address.raw == 0x82000100);
  for (const char* name : {"", "file.c", "missing", "nowhere", "$x", "star", "startx"}) CHECK_FALSE((*symbols)->find(name));
}

TEST_CASE("An address belongs to the best symbol that covers it") {
  const ElfFile file = kernel();
  const auto opened = open_elf_symbols(file, 0);
  const Symbols& symbols = **opened;
  CHECK(at(symbols, 0x81000000) == "start");       // a sized function before a label
  CHECK(at(symbols, 0x81000018) == "start");       // not the mapping symbol
  CHECK(at(symbols, 0x81000024) == "start");       // not the label inside it
  CHECK(at(symbols, 0x81000050) == "inner_label");  // nothing covers it: the nearest
  CHECK(at(symbols, 0x81000074) == "__pfx_twice");
  CHECK(at(symbols, 0x81000080) == "twice");
  CHECK(at(symbols, 0x81000fff) == "maybe");
  CHECK(at(symbols, 0x81001000) == "banner");      // not _etext
  CHECK(at(symbols, 0x82000fff) == "counter");
  CHECK(at(symbols, 0x82000000).empty());          // before the section's first symbol
  CHECK(at(symbols, 0x82001000).empty());
  CHECK(at(symbols, 0x80ffffff).empty());
  CHECK(at(symbols, 0x40).empty());                // a per-CPU offset is no address
  CHECK(at(symbols, ~std::uint64_t{0}).empty());
}

TEST_CASE("A module's symbols follow its sections") {
  ElfImage image(true, std::endian::little, 1);
  image.add({.name = ".text", .flags = 6, .bytes = std::vector<std::uint8_t>(0x100)});
  image.add({.name = ".init.text", .flags = 6, .bytes = std::vector<std::uint8_t>(0x100)});
  image.add_symbols({{"work", 0x10, 0x20, global_func, 1}, {"begin", 0x10, 0x20, local_func, 2}});
  const auto file = ElfFile::open(File::from_bytes(image.bytes(), "m.ko"));
  const std::vector<std::pair<std::string, VirtAddr>> sections{{".text", {0xffffffffc0000000}}};
  const auto symbols = open_module_symbols(*file, sections);
  REQUIRE(symbols);
  CHECK((*symbols)->find("work")->address.raw == 0xffffffffc0000010);
  CHECK_FALSE((*symbols)->find("begin"));
  CHECK(at(**symbols, 0xffffffffc0000018) == "work");
  CHECK(at(**symbols, 0x18).empty());
}

TEST_CASE("A file without symbols says so") {
  const auto file = ElfFile::open(File::from_bytes(ElfImage().bytes(), "stripped"));
  CHECK(open_elf_symbols(*file, 0).error().code == Errc::not_found);
}

TEST_CASE("The first questions may come from several threads at once") {
  const ElfFile file = kernel();
  const auto symbols = open_elf_symbols(file, 0);
  std::vector<std::thread> threads;
  std::atomic<int> right = 0;
  for (int i = 0; i < 8; ++i)
    threads.emplace_back([&] { right += (*symbols)->find("start").has_value() && at(**symbols, 0x81000004) == "start"; });
  for (auto& thread : threads) thread.join();
  CHECK(right == 8);
}

TEST_CASE("Thousands of symbols at uneven distances come out in order") {
  ElfImage image;
  image.add({.name = ".text", .flags = 6, .addr = 0x1000, .size = 0x40000000});
  std::vector<test::ImageSymbol> symbols;
  std::uint64_t state = 1;
  std::vector<std::uint64_t> values;
  for (int i = 0; i < 5000; ++i) {
    state = state * 6364136223846793005 + 1442695040888963407;
    values.push_back(0x1000 + (i % 3 ? state >> 56 : state >> 35));
    symbols.push_back({"s" + std::to_string(i), values.back(), 1, global_func, 1});
  }
  image.add_symbols(symbols);
  const auto file = ElfFile::open(File::from_bytes(image.bytes(), "many"));
  const auto opened = open_elf_symbols(*file, 0);
  std::sort(values.begin(), values.end());
  for (std::uint64_t address = 0x1000; address < 0x20000000; address += 0x12345) {
    const auto next = std::upper_bound(values.begin(), values.end(), address);
    const auto symbol = (*opened)->at({address});
    REQUIRE(symbol.has_value() == (next != values.begin()));
    if (symbol) REQUIRE(symbol->address.raw == *(next - 1));
  }
}
