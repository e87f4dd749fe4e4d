// Where the sections of a module lie whose kernel tells only where it begins.
#include "engine/module_files.h"

#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <fstream>

#include "tests/unit/engine/symbols/elf_image.h"

using namespace kvm;

namespace {

// The sections by name and address of a file with these.
std::vector<std::pair<std::string, std::uint64_t>> placed(std::uint16_t type, const std::vector<test::ImageSection>& sections) {
  test::ElfImage image(true, std::endian::little, type);
  for (const test::ImageSection& section : sections) image.add(section);
  std::string name = "/tmp/module-XXXXXX";
  const int descriptor = ::mkstemp(name.data());
  REQUIRE(descriptor >= 0);
  ::close(descriptor);
  const auto bytes = image.bytes();
  std::ofstream(name, std::ios::binary).write(reinterpret_cast<const char*>(bytes.data()), std::streamsize(bytes.size()));
  std::vector<std::pair<std::string, std::uint64_t>> result;
  for (const ModuleSection& section : place_sections(name, {0xffffffff82000000})) result.emplace_back(section.name, section.address.raw);
  ::unlink(name.c_str());
  return result;
}

using Places = std::vector<std::pair<std::string, std::uint64_t>>;
constexpr std::uint64_t alloc = 2;
const std::vector<std::uint8_t> ten(10);

}  // namespace

TEST_CASE("a relocatable module's sections lie one behind the other, aligned") {
  CHECK(placed(1, {{".note.x", 7, alloc, 0, ten},  // SHT_NOTE: not loaded
                   {".text", 1, alloc | 4, 0, ten, 0, 0, 16},
                   {".comment", 1, 0, 0, ten},
                   {".empty", 1, alloc, 0, {}, 0, 0, 4096},
                   {".eh_frame", 0x70000001, alloc, 0, ten, 0, 0, 8},
                   {".bss", 8, alloc | 1, 0, {}, 0, 0, 64, 0x100},
                   {"set_sysinit_set", 1, alloc | 1, 0, ten, 0, 0, 8}}) ==
        Places{{".text", 0xffffffff82000000}, {".eh_frame", 0xffffffff82000010}, {".bss", 0xffffffff82000040}, {"set_sysinit_set", 0xffffffff82000140}});
}

TEST_CASE("a linked module's sections count from where it begins") {
  CHECK(placed(3, {{".text", 1, alloc | 4, 0x1000, ten}, {".data", 1, alloc | 1, 0x5000, ten}}) ==
        Places{{".text", 0xffffffff82001000}, {".data", 0xffffffff82005000}});
}

TEST_CASE("no file, no sections") { CHECK(place_sections("/nonexistent/x.ko", {0}).empty()); }
