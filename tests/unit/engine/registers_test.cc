// Register values, and the description that debuggers read.
#include "engine/registers.h"

#include <catch2/catch.hpp>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "tests/support/xml_check.h"

using namespace kvm;

namespace {

constexpr arch::Register wide_registers[] = {
    {"a", 32, 0, "f"},
    {"pc", 64, 1, "f", "code_ptr", arch::Role::pc},
    {"q", 128, -1, "g", "uint128"},
};
constexpr arch::Arch big{.name = "big", .gdb_name = "big", .pointer_bytes = 8, .endian = std::endian::big, .registers = wide_registers};
constexpr arch::Arch little{.name = "little", .gdb_name = "little", .pointer_bytes = 8, .endian = std::endian::little, .registers = wide_registers};

std::vector<int> bytes_of(std::optional<Bytes> bytes) { return bytes ? std::vector<int>(bytes->begin(), bytes->end()) : std::vector<int>{}; }

}  // namespace

TEST_CASE("a register that was not set is absent, not zero", "[registers]") {
  RegisterFile file(little);
  CHECK(file.empty());
  CHECK(!file.get(std::size_t{0}));
  CHECK(!file.get("a"));
  CHECK(!file.get(arch::Role::pc));
  file.set("a", 0);
  CHECK(!file.empty());
  CHECK(file.get("a") == 0u);
  CHECK(!file.get("pc"));
}

TEST_CASE("values are kept in the target's byte order and width", "[registers]") {
  for (const arch::Arch* arch : {&big, &little}) {
    RegisterFile file(*arch);
    file.set("a", 0x11223344'55667788);  // only the low half fits
    file.set("pc", 0x0102030405060708);
    CHECK(file.get("a") == 0x55667788u);
    CHECK(file.get(arch::Role::pc) == 0x0102030405060708u);
    const bool is_big = arch == &big;
    CHECK(bytes_of(file.get(std::size_t{0})) == (is_big ? std::vector<int>{0x55, 0x66, 0x77, 0x88} : std::vector<int>{0x88, 0x77, 0x66, 0x55}));
    CHECK(bytes_of(file.get(std::size_t{1}))[is_big ? 7 : 0] == 8);
  }
}

TEST_CASE("a register wider than 64 bits is extended with zeros", "[registers]") {
  RegisterFile file(little);
  file.set("q", 0x1234);
  CHECK(bytes_of(file.get(std::size_t{2})) == std::vector<int>{0x34, 0x12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0});
  RegisterFile other(big);
  other.set("q", 0x1234);
  CHECK(bytes_of(other.get(std::size_t{2})) == std::vector<int>{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x12, 0x34});
}

TEST_CASE("the value of a wide register is its low 64 bits in both byte orders", "[registers]") {
  for (const arch::Arch* arch : {&big, &little}) {
    RegisterFile file(*arch);
    file.set("q", 0x1234);
    CHECK(file.get("q") == 0x1234u);
  }
}

TEST_CASE("unknown registers are dropped, indexes are checked", "[registers]") {
  RegisterFile file(little);
  file.set("zmm31", 1);
  CHECK(file.empty());
  CHECK(!file.get(std::size_t{3}));
  CHECK(!file.get("zmm31"));
  CHECK(!file.get(arch::Role::ra));
  CHECK(register_index(little, "q") == 2u);
  CHECK(!register_index(little, "zmm31"));
  CHECK(register_index(little, arch::Role::pc) == 1u);
}

TEST_CASE("features are opened and closed around their registers", "[registers][xml]") {
  CHECK(target_xml(little) ==
        "<?xml version=\"1.0\"?>\n<!DOCTYPE target SYSTEM \"gdb-target.dtd\">\n<target version=\"1.0\">\n"
        "<architecture>little</architecture>\n<osabi>none</osabi>\n"
        "<feature name=\"f\">\n"
        "  <reg name=\"a\" bitsize=\"32\" type=\"int64\" dwarf_regnum=\"0\" ehframe_regnum=\"0\" group=\"general\"/>\n"
        "  <reg name=\"pc\" bitsize=\"64\" type=\"code_ptr\" dwarf_regnum=\"1\" ehframe_regnum=\"1\" group=\"general\" generic=\"pc\"/>\n"
        "</feature>\n<feature name=\"g\">\n"
        "  <reg name=\"q\" bitsize=\"128\" type=\"uint128\" group=\"general\"/>\n"
        "</feature>\n</target>\n");
}

TEST_CASE("register descriptions are the golden ones", "[registers][xml][golden]") {
  for (const arch::Arch* arch : arch::arches()) {
    const auto path = std::filesystem::path(TEST_DATA) / "golden/xml" / (std::string(arch->name) + ".xml");
    INFO(path);
    std::ifstream file(path);
    REQUIRE(file);
    const std::string golden{std::istreambuf_iterator<char>(file), {}};
    CHECK(target_xml(*arch) == golden);
  }
}

TEST_CASE("the XML checker sees what is wrong", "[registers][xml]") {
  const auto problem = [](const std::string& body) { return testing::xml_problem("<?xml version=\"1.0\"?>" + body); };
  CHECK(problem("<a><b c=\"1\" d=\"2\"/></a>") == "");
  CHECK(problem("<a><b></a></b>") != "");
  CHECK(problem("<a>") != "");
  CHECK(problem("<a b=\"1\" b=\"2\"/>") != "");
  CHECK(problem("<a b=1/>") != "");
  CHECK(problem("<a b=\"1\"c=\"2\"/>") != "");
  CHECK(problem("<a/><b/>") != "");
  CHECK(problem("<a b=\"<\"/>") != "");
  CHECK(testing::xml_problem("<a/>") != "");
}
