#include "engine/image/cache.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "engine/image/frames.h"
#include "engine/image/image.h"
#include "engine/symbols/elf_file.h"

namespace kvm {
namespace {

namespace fs = std::filesystem;

// FNV-1a: the same in every process, which std::hash is not bound to be.
class Hash {
 public:
  void add(std::string_view text) {
    for (const char c : text) value_ = (value_ ^ static_cast<std::uint8_t>(c)) * 0x100000001b3;
    value_ = (value_ ^ 0xff) * 0x100000001b3;  // so that "ab","c" is not "a","bc"
  }
  void add(std::uint64_t number) { add({reinterpret_cast<const char*>(&number), sizeof number}); }
  std::uint64_t value() const { return value_; }

 private:
  std::uint64_t value_ = 0xcbf29ce484222325;
};

std::string hex(std::uint64_t value) {
  std::string text(16, '0');
  for (auto digit = text.rbegin(); digit != text.rend(); ++digit, value >>= 4) *digit = "0123456789abcdef"[value & 15];
  return text;
}

constexpr std::size_t kernel_digits = 24;
constexpr std::uint64_t revision = 5;  // of what images hold: one more with every change to it, so that older files are not found

// Empty when the image of this kernel cannot be told from another's.
std::string key_of(const Kernel& kernel, const std::string& producer, bool unwind_only) {
  const std::string& id = kernel.build_id();
  if (id.size() < kernel_digits || id.find_first_not_of("0123456789abcdef") != id.npos || !kernel.modules()) return {};
  Hash hash;
  hash.add(producer);
  hash.add(revision);
  hash.add(unwind_only);
  hash.add(id);
  hash.add(kernel.arch().name);
  hash.add(kernel.map().slide);
  for (const Cpu& cpu : kernel.cpus()) hash.add(cpu.registers ? cpu.registers->get(arch::Role::pc).value_or(0) : 0);
  for (const Module& module : *kernel.modules()) {
    hash.add(module.name);
    hash.add(module.build_id);
    for (const ModuleArea& area : module.areas) hash.add(area.base.raw), hash.add(area.size);
  }
  return id.substr(0, kernel_digits) + hex(hash.value());
}

// A file of the cache that is what its name says; marks it as used.
std::optional<File> find(const std::string& path, std::string_view build_id) {
  auto file = File::open(path);
  if (!file) return std::nullopt;
  auto elf = ElfFile::open(std::move(*file));
  if (!elf || !elf->build_id().starts_with(build_id)) return std::nullopt;
  utimensat(AT_FDCWD, path.c_str(), nullptr, 0);
  auto again = File::open(path);
  return again ? std::optional(std::move(*again)) : std::nullopt;
}

void make_room(const ImageCache& cache, const std::string& kept) {
  struct Old {
    fs::file_time_type used;
    std::uint64_t size;
    fs::path path;
  };
  std::vector<Old> files;
  std::uint64_t total = 0;
  std::error_code error;
  for (const auto& entry : fs::recursive_directory_iterator(cache.folder, error)) {
    if (!entry.is_regular_file(error)) continue;
    const Old old{entry.last_write_time(error), entry.file_size(error), entry.path()};
    total += old.size;
    if (old.path != kept) files.push_back(old);
  }
  std::ranges::sort(files, {}, &Old::used);
  for (auto file = files.begin(); file != files.end() && total > cache.capacity; ++file)
    if (fs::remove(file->path, error)) {
      total -= file->size;
      if (file->path.parent_path() != cache.folder) fs::remove(file->path.parent_path(), error);  // when it is empty
    }
}

// Only what a vmlinux lacks.  gdb takes a library for the owner of all code in its sections: one byte is enough to be a library.
void strip(Pieces& pieces) {
  pieces.variables.clear();
  for (Piece& piece : pieces.pieces) {
    piece.btf.clear();
    piece.symbols.clear();
    piece.unwind.clear();
    std::erase_if(piece.sections, [&](const PieceSection& section) { return !section.code || !piece.name.empty(); });
    if (!piece.sections.empty()) piece.sections.resize(1);
    for (PieceSection& section : piece.sections) section.size = 1;
  }
}

Result<KernelImage> find_or_make(const Kernel& kernel, const std::string& producer, const ImageCache& cache, bool unwind_only) {
  // Not the kernel's build id: debuggers keep indexes by it, and would take the vmlinux's for the image's.
  const std::string id = kernel.build_id().substr(0, kernel_digits), key = key_of(kernel, producer, unwind_only);
  const std::string name = key + (unwind_only ? ".unwind" : "/vmlinux");  // lldb shows file names
  if (const std::string path = cache.folder + "/" + name; !key.empty() && !cache.folder.empty())
    if (auto file = find(path, id)) return KernelImage{std::move(*file), path, {}};
  Pieces pieces = TRY(kernel.os().pieces());
  const auto frames = make_debug_frame(kernel.arch(), pieces);
  if (unwind_only && frames.empty()) return fail(Errc::not_found, "the kernel has no unwind tables");
  if (unwind_only) strip(pieces);
  Image image = TRY(make_image(kernel.arch(), pieces, {id, producer, frames}));
  std::vector<std::string> remarks = std::move(pieces.remarks);
  remarks.insert(remarks.end(), image.remarks.begin(), image.remarks.end());
  // What is missing in this dump may be in another of the same crash.
  const bool whole = unwind_only ? pieces.unwind_whole : remarks.empty();
  remarks.insert(remarks.begin(), pieces.nature.begin(), pieces.nature.end());
  std::string kept = !key.empty() && whole ? keep(cache, name, image.file) : "";
  return KernelImage{File::from_bytes(std::move(image.file), "image of " + kernel.path()), std::move(kept), std::move(remarks)};
}

}  // namespace

ImageCache user_image_cache() {
  const char* xdg = std::getenv("XDG_CACHE_HOME");
  const char* home = std::getenv("HOME");
  if (xdg && *xdg == '/') return {std::string(xdg) + "/inquest/images"};
  return home && *home == '/' ? ImageCache{std::string(home) + "/.cache/inquest/images"} : ImageCache{};
}

Result<void> write_whole(const std::string& path, Bytes bytes) {
  const auto failed = [&](const char* what) { return fail(Errc::io, path + ": " + what + ": " + std::strerror(errno)); };
  struct stat there {};
  if (::stat(path.c_str(), &there) == 0 && !S_ISREG(there.st_mode)) return fail(Errc::io, path + ": is not a regular file");
  const std::string temporary = path + "." + std::to_string(getpid()) + ".tmp";
  const int descriptor = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
  if (descriptor < 0) return failed("cannot be written");
  for (std::size_t done = 0; done < bytes.size();) {
    const ssize_t n = ::write(descriptor, bytes.data() + done, bytes.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      const auto why = failed("cannot be written");
      ::close(descriptor);
      ::unlink(temporary.c_str());
      return why;
    }
    done += static_cast<std::size_t>(n);
  }
  if (::close(descriptor) != 0 || std::rename(temporary.c_str(), path.c_str()) != 0) {
    const auto why = failed("cannot be written");
    ::unlink(temporary.c_str());
    return why;
  }
  return {};
}

// Best effort: without a cache the image is made each time.
std::string keep(const ImageCache& cache, const std::string& name, Bytes bytes) {
  if (cache.folder.empty() || bytes.size() > cache.capacity) return {};
  const std::string path = cache.folder + "/" + name;
  std::error_code error;
  fs::create_directories(fs::path(cache.folder).parent_path(), error);
  if (mkdir(cache.folder.c_str(), 0700) != 0 && errno != EEXIST) return {};
  fs::create_directories(fs::path(path).parent_path(), error);
  struct stat there {};
  if (::stat(path.c_str(), &there) == 0 && S_ISREG(there.st_mode) && static_cast<std::uint64_t>(there.st_size) == bytes.size()) {
    utimensat(AT_FDCWD, path.c_str(), nullptr, 0);
    return path;
  }
  if (!write_whole(path, bytes)) return {};
  make_room(cache, path);
  return path;
}

Result<KernelImage> kernel_image(const Kernel& kernel, const std::string& producer, const ImageCache& cache) {
  return find_or_make(kernel, producer, cache, false);
}

Result<KernelImage> unwind_image(const Kernel& kernel, const std::string& producer, const ImageCache& cache) {
  return find_or_make(kernel, producer, cache, true);
}

}  // namespace kvm
