// Knows the places where distributions put debug files.  Release, build id and module names come from a dump: they must
// not lead out of these places.
#include "engine/symbols/debug_files.h"

#include <algorithm>
#include <filesystem>
#include <span>

#include "engine/symbols/elf_file.h"

namespace kvm {
namespace {

namespace fs = std::filesystem;

// '@' stands for the release, '#' for a build id as a path, "3b/43fad5".
constexpr std::string_view places_in_folder[] = {
    ".build-id/#.debug", "#.debug",          "vmlinux",
    "vmlinux-@",         "boot/vmlinux-@",   "lib/modules/@/vmlinux",
    "@/vmlinux",
};
constexpr std::string_view places_in_system[] = {
    "usr/lib/debug/.build-id/#.debug",
    "usr/lib/debug/boot/vmlinux-@",              // Debian
    "usr/lib/debug/boot/vmlinux-@.debug",        // SUSE
    "usr/lib/debug/lib/modules/@/vmlinux",       // Fedora
    "usr/lib/debug/usr/lib/modules/@/vmlinux",
    "usr/lib/modules/@/build/vmlinux",           // built here
    "lib/modules/@/build/vmlinux",
    "boot/vmlinux-@",
    "usr/lib/debug/vmlinux-@",
};
constexpr std::string_view module_trees[] = {
    "usr/lib/debug/lib/modules/@", "usr/lib/debug/usr/lib/modules/@", "lib/modules/@", "usr/lib/modules/@",
};
constexpr DebugPlaces linux_places{places_in_folder, places_in_system, module_trees};
constexpr std::string_view build_id_places[] = {".build-id/#.debug", "#.debug", "usr/lib/debug/.build-id/#.debug"};

constexpr int most_depth = 16, most_entries = 500'000;  // of a folder that the user named; it may be anything

// One component of a path, and nothing else.
bool is_plain_name(std::string_view name) {
  return !name.empty() && name.find('/') == name.npos && name.find("..") == name.npos && name.find('\0') == name.npos;
}

bool is_hex(std::string_view text) {
  return text.size() > 2 && text.find_first_not_of("0123456789abcdef") == text.npos;
}

// The path that a place stands for; empty when it needs a release or a build id that we do not have.
std::string fill_in(std::string_view place, const std::string& release, std::string_view build_id) {
  std::string path;
  for (const char c : place) {
    if (c == '@' && !is_plain_name(release)) return {};
    if (c == '#' && !is_hex(build_id)) return {};
    if (c == '@') path += release;
    else if (c == '#') path.append(build_id.substr(0, 2)).append("/").append(build_id.substr(2));
    else path += c;
  }
  return path;
}

std::string join(const std::string& root, const std::string& path) { return (fs::path(root) / path).string(); }

bool is_file(const std::string& path) {
  std::error_code error;
  return fs::is_regular_file(path, error);
}

// An ELF file, and of the wanted build when that is known.
bool is_build(const std::string& path, std::string_view build_id) {
  const auto file = ElfFile::open(path);
  return file && (build_id.empty() || file->build_id() == build_id);
}

std::string module_name(std::string name) {
  if (name.ends_with(".ko")) name.resize(name.size() - 3);
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

}  // namespace

DebugFiles::DebugFiles(DebugFileQuery query) : query_(std::move(query)) {
  if (!query_.places) query_.places = &linux_places;
}
DebugFiles::~DebugFiles() = default;

std::string DebugFiles::vmlinux(std::vector<std::string>& rejected) const {
  const auto accepted = [&](const std::string& path) {
    if (!is_file(path)) return false;
    if (is_build(path, query_.build_id)) return true;
    if (std::find(rejected.begin(), rejected.end(), path) == rejected.end()) rejected.push_back(path);
    return false;
  };
  const auto search = [&](const std::string& root, std::span<const std::string_view> places) -> std::string {
    for (const std::string_view place : places) {
      const std::string path = fill_in(place, query_.release, query_.build_id);
      if (!path.empty() && accepted(join(root, path))) return join(root, path);
    }
    return {};
  };
  const DebugPlaces& places = *query_.places;
  for (const std::string& dir : query_.symbol_dirs) {
    if (is_file(dir)) {
      // Modules may be named one by one too; they are not candidates.
      if (const std::string type = fs::path(dir).extension(); type != ".ko" && accepted(dir)) return dir;
      continue;
    }
    if (std::string path = search(dir, places.in_folder); !path.empty()) return path;
    if (std::string path = search(dir, places.in_system); !path.empty()) return path;
  }
  if (!query_.dump_folder.empty())
    if (std::string path = search(query_.dump_folder, places.beside_dump); !path.empty()) return path;
  return search(query_.system_root, places.in_system);
}

std::string DebugFiles::module(std::string_view name, std::string_view build_id) const {
  if (!is_plain_name(name)) return {};
  const std::string wanted = module_name(std::string(name));
  const std::string release_folder = "/" + query_.release + "/";
  std::vector<std::string> roots = query_.symbol_dirs;
  roots.push_back(query_.system_root);

  if (std::string path = beside_kernel(wanted, build_id); !path.empty()) return path;
  const std::lock_guard lock(mutex_);
  for (std::size_t i = 0; i < roots.size(); ++i) {
    for (const std::string_view place : build_id_places) {
      const std::string path = fill_in(place, query_.release, build_id);
      if (!path.empty() && is_file(join(roots[i], path)) && is_build(join(roots[i], path), build_id)) return join(roots[i], path);
    }
    for (const std::string& folder : module_folders(roots[i], i + 1 == roots.size())) {
      const auto [first, last] = listing(folder).equal_range(wanted);
      // A folder that the user named may hold several kernels' modules: this release's first.
      for (const bool of_release : {true, false})
        for (auto entry = first; entry != last; ++entry)
          if ((entry->second.find(release_folder) != std::string::npos) == of_release && is_build(entry->second, build_id))
            return entry->second;
    }
  }
  return {};
}

// Not through a listing: the folder may hold anything.
std::string DebugFiles::beside_kernel(const std::string& wanted, std::string_view build_id) const {
  if (query_.kernel_folder.empty()) return {};
  for (const std::string_view suffix : {".ko.debug", ".ko.symbols", ".ko"})
    if (std::string path = join(query_.kernel_folder, wanted + std::string(suffix)); is_file(path) && is_build(path, build_id)) return path;
  return {};
}

// The trees of this release under a root, debug files first; a folder without any is a tree itself.
std::vector<std::string> DebugFiles::module_folders(const std::string& root, bool is_system) const {
  std::vector<std::string> folders;
  for (const std::string_view tree : query_.places->modules) {
    const std::string path = fill_in(tree, query_.release, {});
    std::error_code error;
    if (!path.empty() && fs::is_directory(join(root, path), error)) folders.push_back(join(root, path));
  }
  if (folders.empty() && !is_system) folders.push_back(root);
  return folders;
}

// Does not follow links to folders: lib/modules/REL/build leads to a whole kernel tree.
const DebugFiles::Listing& DebugFiles::listing(const std::string& folder) const {
  if (const auto known = listings_.find(folder); known != listings_.end()) return known->second;
  Listing debug_files, modules;
  const auto note = [&](const fs::path& path) {
    if ((path.extension() == ".debug" || path.extension() == ".symbols") && path.stem().extension() == ".ko")
      debug_files.emplace(module_name(path.stem().stem().string()), path.string());
    else if (path.extension() == ".ko")
      modules.emplace(module_name(path.stem().string()), path.string());
  };
  if (is_file(folder)) note(folder);
  std::error_code error;
  int entries = 0;
  for (fs::recursive_directory_iterator it(folder, fs::directory_options::skip_permission_denied, error), end;
       !error && it != end && ++entries < most_entries; it.increment(error)) {
    if (it.depth() >= most_depth) it.disable_recursion_pending();
    std::error_code ignored;
    if (it->is_regular_file(ignored)) note(it->path());
  }
  debug_files.merge(modules);  // equal names keep their order: debug files come first
  return listings_.emplace(folder, std::move(debug_files)).first->second;
}

}  // namespace kvm
