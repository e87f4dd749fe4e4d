// The copies of debug files that lldb 19 needs.
#include "stub/lldb_files.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <unistd.h>

#include "engine/symbols/elf_file.h"
#include "tests/unit/engine/symbols/elf_image.h"

using namespace kvm;
namespace fs = std::filesystem;

namespace {

// A folder that is also the user's cache, while it lives.
struct Folder {
  Folder() : path(fs::temp_directory_path() / ("inquest-lldb-" + std::to_string(getpid()))) {
    fs::create_directories(path);
    setenv("XDG_CACHE_HOME", (path / "cache").c_str(), 1);
  }
  ~Folder() {
    unsetenv("XDG_CACHE_HOME");
    fs::remove_all(path);
  }
  std::string write(const std::string& name, const std::vector<std::uint8_t>& bytes) const {
    std::ofstream(path / name, std::ios::binary).write(reinterpret_cast<const char*>(bytes.data()), std::streamsize(bytes.size()));
    return (path / name).string();
  }
  fs::path path;
};

std::vector<std::uint8_t> bytes_of(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

// A function of 0x40 bytes with a cold half of 0x10, and relocations that the linker kept.
test::ElfImage split_kernel() {
  test::ElfImage image;
  image.add_build_id({0x3b, 0x43, 0xfa});
  image.add({.name = ".rela.text", .type = 4, .bytes = std::vector<std::uint8_t>(48, 0xaa)});
  image.add_symbols({{"f", 0x1000, 0x40, 2, 1}, {"f.cold", 0x2000, 0x10, 2, 1}});
  image.add({.name = ".debug_rnglists", .bytes = {31, 0, 0, 0, 5, 0, 8, 0, 0, 0, 0, 0,           // the header
                                                  7, 0, 0x10, 0, 0, 0, 0, 0, 0, 0x40,           // 0x1000, 0x40 bytes
                                                  7, 0, 0x20, 0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0}});  // 0x2000, 0x10 bytes
  return image;
}

}  // namespace

TEST_CASE("lldb gets a copy without cold ranges, made once") {
  const Folder folder;
  std::vector<std::uint8_t> original = split_kernel().bytes();
  const std::string path = folder.write("vmlinux", original);
  const auto given = rsp::file_for_lldb(path);
  REQUIRE(given);
  CHECK(*given == (folder.path / "cache/inquest/lldb/3b43fa/vmlinux").string());

  const auto elf = ElfFile::open(path);
  REQUIRE(elf);
  original[elf->section(".debug_rnglists")->offset + 22] = 0;
  std::fill_n(original.begin() + std::ptrdiff_t(elf->section(".rela.text")->offset), 48, 0);
  CHECK(bytes_of(*given) == original);
  CHECK(bytes_of(path) != original);

  const auto time = fs::last_write_time(*given);
  CHECK(rsp::file_for_lldb(path) == *given);
  CHECK(fs::last_write_time(*given) == time);
  CHECK(std::distance(fs::directory_iterator(folder.path / "cache/inquest/lldb/3b43fa"), {}) == 1);
}

TEST_CASE("what needs no copy is taken as it is") {
  const Folder folder;
  test::ElfImage whole;
  whole.add_build_id({1, 2, 3});
  CHECK(rsp::file_for_lldb(folder.write("whole", whole.bytes())) == (folder.path / "whole").string());
  CHECK_FALSE(rsp::file_for_lldb((folder.path / "none").string()));
  CHECK_FALSE(fs::exists(folder.path / "cache"));
}

// A module of a machine (e_machine) with debug information that no linker has put in place.
std::vector<std::uint8_t> module_of(std::uint8_t machine) {
  test::ElfImage image(true, std::endian::little, 1);
  image.add_build_id({4, 5, machine});
  image.add({.name = ".text", .flags = 6, .bytes = std::vector<std::uint8_t>(8)});
  image.add({.name = ".rela.text", .type = 4, .bytes = std::vector<std::uint8_t>(24)});
  image.add({.name = ".debug_info", .bytes = std::vector<std::uint8_t>(16)});
  image.add({.name = ".rela.debug_info", .type = 4, .bytes = std::vector<std::uint8_t>(24)});
  image.add_symbols({{"f", 0, 8, 2, 2}, {".LPFE1", 4, 0, 0, 2}, {"$xrv64i2p1", 0, 0, 0, 2}, {"$xy", 0, 0, 0, 2}, {"x", 0, 0, 0, 2}, {"", 0, 0, 3, 2}});
  std::vector<std::uint8_t> bytes = image.bytes();
  bytes[18] = machine;
  return bytes;
}

TEST_CASE("a module has no debug information where lldb cannot relocate it") {
  const Folder folder;
  CHECK(rsp::file_for_lldb(folder.write("x86.ko", module_of(62))) == (folder.path / "x86.ko").string());
  const auto given = rsp::file_for_lldb(folder.write("s390.ko", module_of(22)));
  REQUIRE(given);
  const auto elf = ElfFile::open(*given);
  REQUIRE(elf);
  CHECK(elf->section(".text"));
  CHECK(elf->section(".rela.text"));
  CHECK_FALSE(elf->section(".debug_info"));
  CHECK_FALSE(elf->section(".rela.debug_info"));
  CHECK(std::ranges::count(elf->sections(), 0u, &ElfSection::type) == 3);  // with the one that is always first
}

TEST_CASE("a RISC-V module's labels and marks are no symbols to lldb") {
  const Folder folder;
  const auto given = rsp::file_for_lldb(folder.write("riscv.ko", module_of(243)));
  REQUIRE(given);
  const auto elf = ElfFile::open(*given);
  REQUIRE(elf);
  REQUIRE(elf->section(".symtab"));
  const Bytes table = elf->contents(*elf->section(".symtab"));
  REQUIRE(table.size() == 7 * 24);
  const auto named = [&](std::size_t number) { return table[number * 24] != 0; };
  CHECK(named(1));
  for (const std::size_t blank : {2, 3, 4, 6}) CHECK(std::ranges::all_of(table.subspan(blank * 24, 24), [](auto byte) { return byte == 0; }));
  CHECK(named(5));
}

TEST_CASE("a FreeBSD kernel without a build id gets a copy that says no system, and another one when it changes") {
  const Folder folder;
  std::vector<std::uint8_t> bytes = test::ElfImage().bytes();
  bytes.at(7) = 9;  // EI_OSABI: FreeBSD
  const std::string path = folder.write("kernel", bytes);
  const auto given = rsp::file_for_lldb(path);
  REQUIRE(given);
  CHECK(*given != path);
  CHECK(bytes_of(*given).at(7) == 0);
  CHECK(rsp::file_for_lldb(path) == *given);
  CHECK(rsp::prepared_for_lldb(path));
  fs::last_write_time(path, fs::last_write_time(path) + std::chrono::seconds(1));
  CHECK(rsp::file_for_lldb(path) != *given);
}

TEST_CASE("a cache that cannot be written is an error") {
  const Folder folder;
  const std::string path = folder.write("vmlinux", split_kernel().bytes());
  folder.write("cache", {1});
  const auto given = rsp::file_for_lldb(path);
  REQUIRE_FALSE(given);
  CHECK(given.error().code == Errc::io);
}

TEST_CASE("words for lldb's command line") {
  CHECK(rsp::lldb_word("/a b/c") == "\"/a b/c\"");
  CHECK(rsp::lldb_word("a\"b\\c") == "\"a\\\"b\\\\c\"");
}
