// The kernel image and modules as files and libraries.
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>

#include "tests/unit/stub/conversation.h"

using fake::Conversation;
using namespace kvm::rsp;
namespace fs = std::filesystem;

namespace {

void put(std::string& out, std::uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) out += static_cast<char>(i < 8 ? value >> (8 * i) : 0);
}

struct Section { std::string name; unsigned type, flags; std::uint64_t size; };

// A relocatable x86-64 object with these sections; their contents are zeros (System V ABI, "Object Files").
std::string object_file(const std::vector<Section>& sections) {
  std::string names("\0", 1), headers(64, '\0'), body;
  constexpr std::uint64_t header_size = 64;
  auto section = [&](const std::string& name, unsigned type, unsigned flags, std::uint64_t offset, std::uint64_t size) {
    put(headers, names.size(), 4), put(headers, type, 4), put(headers, flags, 8), put(headers, 0, 8), put(headers, offset, 8);
    put(headers, size, 8), put(headers, 0, 8), put(headers, 1, 8), put(headers, 0, 8);
    names += name + '\0';
  };
  for (const Section& s : sections) {
    section(s.name, s.type, s.flags, header_size + body.size(), s.size);
    if (s.type != 8) body += std::string(s.size, '\0');  // SHT_NOBITS has no bytes
  }
  const std::uint64_t names_at = header_size + body.size();
  section(".shstrtab", 3, 0, names_at, names.size() + 10);
  std::string file("\x7f" "ELF\2\1\1", 7);
  file.resize(16);
  put(file, 1, 2), put(file, 62, 2), put(file, 1, 4), put(file, 0, 16), put(file, names_at + names.size(), 8), put(file, 0, 4);
  put(file, 64, 2), put(file, 0, 4), put(file, 64, 2), put(file, sections.size() + 2, 2), put(file, sections.size() + 1, 2);
  return file + body + names + headers;
}

struct Folder {
  fs::path path = fs::temp_directory_path() / ("inquest-files-" + std::to_string(::getpid()));
  Folder() { fs::create_directories(path); }
  ~Folder() { fs::remove_all(path); }
  std::string write(const std::string& name, const std::string& bytes) const {
    std::ofstream(path / name) << bytes;
    return (path / name).string();
  }
};

}  // namespace

TEST_CASE("a module's sections, in file order, with the addresses of the crashed machine") {
  const Folder folder;
  const std::string path = folder.write(
      "dummy-mod.ko", object_file({{".note.gnu.build-id", 7, 2, 0x24}, {".text", 1, 6, 0x100}, {".comment", 1, 0, 0x10}, {".init.text", 1, 6, 0x80},
                                   {".data", 1, 3, 0x20}, {".bss", 8, 3, 0}}));
  Conversation c({.symbol_dirs = {folder.path.string()}});
  c.as_gdb();
  const std::string xml = c.read("libraries:read:");
  CHECK(xml == "<library-list>\n<library name=\"" + path + "\"><section address=\"0xffffffffffe00000\"/><section address=\"0xffff88800000a000\"/>"
               "<section address=\"0xffffffffffe01000\"/><section address=\"0xffff88800000b000\"/><section address=\"0xffffffffffe02000\"/></library>\n"
               "</library-list>\n");
  CHECK(c.ask("vFile:open:" + hex(path) + ",0,0") == "F0");
}

TEST_CASE("gdb is told where the image's first segment is, others the slide") {
  std::string file("\x7f" "ELF\2\1\1", 7);
  file.resize(16);
  put(file, 2, 2), put(file, 62, 2), put(file, 1, 4), put(file, 0, 8), put(file, 64, 8), put(file, 0, 8), put(file, 0, 4);
  put(file, 64, 2), put(file, 56, 2), put(file, 2, 2), put(file, 64, 2), put(file, 0, 4);
  for (const std::uint64_t type : {4, 1})  // PT_NOTE, then PT_LOAD
    put(file, type, 4), put(file, 5, 4), put(file, 0, 8), put(file, 0xffffffff81000000 + type - 1, 8), put(file, 0, 32);
  const Folder folder;
  const fake::Options options{.vmlinux = folder.write("vmlinux", file)};
  CHECK(Conversation(options).as_gdb().ask("qOffsets") == "TextSeg=ffffffff9b000000");
  CHECK(Conversation({.first = kvm::VirtAddr{0xffffffff9a000000}}).as_gdb().ask("qOffsets") == "TextSeg=ffffffff9a000000");
  CHECK(Conversation(options).as_lldb().ask("qOffsets") == "Text=1a000000;Data=1a000000;Bss=1a000000");
  CHECK(Conversation({.build_id = "c0ffee"}).as_lldb().ask("qOffsets").empty());  // it may have an image; a vmlinux it knows by the build id
  CHECK(Conversation({.build_id = "c0ffee"}).as_lldb().ask("qProcessInfo").find("main-binary-uuid:c0ffee;main-binary-slide:1a000000;") != std::string::npos);
  CHECK(Conversation({.build_id = "c0ffee"}, {.image_only = true}).as_lldb().ask("qProcessInfo").find("main-binary") == std::string::npos);
  CHECK(Conversation({.vmlinux = folder.write("empty", "x")}).as_gdb().ask("qOffsets") == "Text=1a000000;Data=1a000000;Bss=1a000000");
}

TEST_CASE("the image is offered as the program, and read through the table") {
  const Folder folder;
  const std::string bytes = "#$}*" + std::string(1000, 'a') + std::string("\0\n", 2);
  const std::string path = folder.write("vmlinux", bytes);
  Conversation c({.vmlinux = path}, {.packet_size = 0x200});
  CHECK(c.ask(fake::gdb_hello).find(";qXfer:exec-file:read+") != std::string::npos);
  c.as_gdb();
  CHECK(c.ask("qXfer:exec-file:read:1:0,fff") == "l" + path);
  CHECK(c.ask("qXfer:exec-file:read::0,fff") == "l" + path);
  CHECK(c.ask("vFile:setfs:0") == "F0");
  CHECK(c.ask("vFile:open:" + hex(path) + ",0,1c0") == "F0");
  CHECK(c.ask("vFile:open:" + hex(path) + ",0,1c0") == "F1");

  const std::string stat = c.ask("vFile:fstat:1");
  REQUIRE(stat.size() == 4 + 64);
  CHECK(stat.starts_with("F40;"));
  CHECK(stat.substr(4 + 8, 4) == std::string("\0\0\x81\x24", 4));  // S_IFREG | 0444
  CHECK(stat.substr(4 + 28, 8) == std::string("\0\0\0\0\0\0\x03\xee", 8));

  std::string all;
  for (;;) {
    char request[64];
    std::snprintf(request, sizeof request, "vFile:pread:1,10000,%zx", all.size());
    const std::string reply = c.ask(request);
    CHECK(encode(reply).size() <= 0x204);
    const std::string data = reply.substr(reply.find(';') + 1);
    CHECK(parse_hex(reply.substr(1, reply.find(';') - 1)) == data.size());
    if (data.empty()) break;
    all += data;
  }
  CHECK(all == bytes);
  CHECK(c.ask("vFile:pread:1,ffffffffffffffff,ffffffffffffffff") == "F0;");
  CHECK(c.ask("vFile:close:1") == "F0");
  CHECK(c.ask("vFile:close:1") == "F-1,9");
  CHECK(c.ask("vFile:pread:1,1,0") == "F-1,9");
  CHECK(c.ask("vFile:open:" + hex(path) + ",0,0") == "F1");
  for (int i = 2; i < 64; ++i) c.ask("vFile:open:" + hex(path) + ",0,0");
  CHECK(c.ask("vFile:open:" + hex(path) + ",0,0") == "F-1,18");
}
