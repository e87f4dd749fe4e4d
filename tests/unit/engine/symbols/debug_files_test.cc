// Debug files in folders made for the test: which place wins, which build is refused, what a dump may not make us open.
#include "engine/symbols/debug_files.h"

#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "tests/unit/engine/symbols/elf_image.h"

using namespace kvm;
namespace fs = std::filesystem;

namespace {

class Folder {
 public:
  Folder() {
    std::string name = (fs::temp_directory_path() / "debug-files-XXXXXX").string();
    REQUIRE(::mkdtemp(name.data()));
    path_ = name;
  }
  ~Folder() { fs::remove_all(path_); }

  // A file with this build id; its path.
  std::string add(const std::string& name, std::uint8_t build) const {
    test::ElfImage image;
    image.add_build_id({0xab, build});
    const auto bytes = image.bytes();
    fs::create_directories((path_ / name).parent_path());
    std::ofstream(path_ / name, std::ios::binary).write(reinterpret_cast<const char*>(bytes.data()), std::streamsize(bytes.size()));
    return (path_ / name).string();
  }
  std::string operator/(const std::string& name) const { return (path_ / name).string(); }

 private:
  fs::path path_;
};

struct Found {
  std::string path;
  std::vector<std::string> rejected;
};
Found vmlinux(const DebugFileQuery& query) {
  Found found;
  found.path = DebugFiles(query).vmlinux(found.rejected);
  return found;
}

}  // namespace

TEST_CASE("vmlinux is found wherever distributions and people put it") {
  const auto place = GENERATE(
      "mine/vmlinux", "mine/vmlinux-6.1", "mine/boot/vmlinux-6.1", "mine/usr/lib/debug/boot/vmlinux-6.1",
      "mine/lib/modules/6.1/vmlinux", "mine/.build-id/ab/01.debug", "mine/ab/01.debug",
      "mine/usr/lib/debug/.build-id/ab/01.debug", "sys/usr/lib/debug/.build-id/ab/01.debug",
      "sys/usr/lib/debug/boot/vmlinux-6.1", "sys/usr/lib/debug/lib/modules/6.1/vmlinux", "sys/usr/lib/modules/6.1/build/vmlinux",
      "sys/lib/modules/6.1/build/vmlinux", "sys/boot/vmlinux-6.1", "sys/usr/lib/debug/vmlinux-6.1");
  const Folder folder;
  const std::string path = folder.add(place, 1);
  const DebugFileQuery query{"6.1", "ab01", {folder / "mine"}, folder / "sys"};
  INFO(place);
  CHECK(vmlinux(query).path == path);
  CHECK(vmlinux(query).rejected.empty());
}

TEST_CASE("Another build of the right name is passed over and named") {
  const Folder folder;
  const std::string wrong = folder.add("mine/vmlinux-6.1", 2), right = folder.add("sys/boot/vmlinux-6.1", 1);
  const auto found = vmlinux({"6.1", "ab01", {folder / "mine"}, folder / "sys"});
  CHECK(found.path == right);
  CHECK(found.rejected == std::vector{wrong});
  // Without a build id the first one will do.
  CHECK(vmlinux({"6.1", "", {folder / "mine"}, folder / "sys"}).path == wrong);
}

TEST_CASE("A file may be named directly; a module is no candidate") {
  const Folder folder;
  const std::string module = folder.add("x.ko", 1), file = folder.add("any-name", 1);
  CHECK(vmlinux({"", "ab01", {module, file}, folder / "sys"}).path == file);
  CHECK(vmlinux({"", "ab02", {module, file}, folder / "sys"}).rejected == std::vector{file});
}

TEST_CASE("Names from a dump do not lead elsewhere") {
  const Folder folder;
  folder.add("vmlinux-6.1", 1);
  folder.add("x.ko", 1);
  fs::create_directories(folder / "sys/boot/vmlinux-");
  fs::create_directories(folder / "sys/lib/modules");
  for (const char* release : {"/../../../vmlinux-6.1", "..", "../..", "/", ""}) {
    INFO(release);
    CHECK(vmlinux({release, "", {}, folder / "sys"}).path.empty());
    CHECK(DebugFiles({release, "", {}, folder / "sys"}).module("x", "").empty());
  }
  CHECK(vmlinux({"6.1", "../../../vmlinux-6.1", {}, folder / "sys"}).path.empty());
  CHECK(DebugFiles({"6.1", "", {folder / "sys"}, folder / "sys"}).module("../../x", "").empty());
}

TEST_CASE("Modules: debug files first, dashes are underscores, other builds are passed over") {
  const Folder folder;
  const std::string plain = folder.add("sys/lib/modules/6.1/kernel/net/snd-pcm.ko", 1);
  const DebugFileQuery query{"6.1", "", {}, folder / "sys"};
  CHECK(DebugFiles(query).module("snd_pcm", "") == plain);
  CHECK(DebugFiles(query).module("snd-pcm", "ab01") == plain);
  CHECK(DebugFiles(query).module("snd_pcm", "ab02").empty());
  CHECK(DebugFiles(query).module("snd", "").empty());

  const std::string debug = folder.add("sys/usr/lib/debug/lib/modules/6.1/kernel/net/snd-pcm.ko.debug", 1);
  CHECK(DebugFiles(query).module("snd_pcm", "") == debug);
  const std::string other = folder.add("mine/deep/down/snd_pcm.ko", 3);
  CHECK(DebugFiles({"6.1", "", {folder / "mine"}, folder / "sys"}).module("snd_pcm", "") == other);
  CHECK(DebugFiles({"6.1", "", {folder / "mine"}, folder / "sys"}).module("snd_pcm", "ab01") == debug);
  CHECK(DebugFiles({"6.1", "", {other}, folder / "sys"}).module("snd_pcm", "ab03") == other);

  const std::string by_id = folder.add("mine/.build-id/ab/01.debug", 1);
  CHECK(DebugFiles({"6.1", "", {folder / "mine"}, folder / "sys"}).module("snd_pcm", "ab01") == by_id);
}

TEST_CASE("Of several releases in one folder, the dump's is taken") {
  const Folder folder;
  folder.add("mine/6.0/m.ko", 1);
  const std::string right = folder.add("mine/6.1/m.ko", 2);
  folder.add("mine/6.2/m.ko", 3);
  CHECK(DebugFiles({"6.1", "", {folder / "mine"}, folder / "sys"}).module("m", "") == right);
}

TEST_CASE("another system's places: beside the dump, its own folders, modules beside the kernel") {
  static constexpr std::string_view in_folder[] = {"kernel.debug", "kernel"}, in_system[] = {"usr/lib/debug/boot/kernel/kernel.debug", "boot/kernel/kernel"},
                             modules[] = {"usr/lib/debug/boot/kernel", "boot/kernel"};
  static constexpr DebugPlaces places{in_folder, in_system, modules, in_folder};
  const Folder folder;
  DebugFileQuery query{.symbol_dirs = {folder / "mine"}, .system_root = folder / "sys", .places = &places, .dump_folder = folder / "crash"};
  const std::string installed = folder.add("sys/boot/kernel/kernel", 1);
  folder.add("sys/boot/vmlinux-", 1);
  CHECK(vmlinux(query).path == installed);
  const std::string debug = folder.add("sys/usr/lib/debug/boot/kernel/kernel.debug", 1);
  CHECK(vmlinux(query).path == debug);
  const std::string beside = folder.add("crash/kernel", 1);
  CHECK(vmlinux(query).path == beside);
  const std::string named = folder.add("mine/kernel.debug", 1);
  CHECK(vmlinux(query).path == named);

  const std::string plain = folder.add("sys/boot/kernel/zfs.ko", 2);
  CHECK(DebugFiles(query).module("zfs.ko", "") == plain);
  const std::string with_debug = folder.add("sys/usr/lib/debug/boot/kernel/zfs.ko.debug", 2);
  CHECK(DebugFiles(query).module("zfs.ko", "") == with_debug);
  const std::string mine = folder.add("mine/zfs.ko", 2);
  query.kernel_folder = folder / "mine";
  CHECK(DebugFiles(query).module("zfs.ko", "") == mine);
  CHECK(DebugFiles(query).module("../zfs.ko", "").empty());
}
