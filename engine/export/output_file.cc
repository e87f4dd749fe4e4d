#include "engine/export/output_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <utility>

namespace kvm {
namespace {

std::string temporary_name(const std::string& path) { return path + "." + std::to_string(getpid()) + ".tmp"; }

tl::unexpected<Error> cannot(const std::string& path, const char* why) { return fail(Errc::io, path + ": cannot be written: " + why); }

}  // namespace

Result<OutputFile> OutputFile::create(const std::string& path, const std::vector<std::string>& inputs) {
  struct stat there {};
  if (::stat(path.c_str(), &there) == 0) {
    if (!S_ISREG(there.st_mode)) return cannot(path, "it is not a regular file");
    for (const std::string& input : inputs) {
      struct stat other {};
      if (::stat(input.c_str(), &other) == 0 && other.st_dev == there.st_dev && other.st_ino == there.st_ino)
        return fail(Errc::bad_request, path + ": is what is being read; name another file");
    }
  }
  constexpr mode_t mode = 0666;
  std::string folder = std::filesystem::path(path).parent_path().string();
  if (folder.empty()) folder = ".";
  if (const int nameless = ::open(folder.c_str(), O_TMPFILE | O_WRONLY | O_CLOEXEC, mode); nameless >= 0) return OutputFile(path, nameless, {});
  std::string temporary = temporary_name(path);  // a file system without such files
  const int named = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
  if (named < 0) return cannot(path, std::strerror(errno));
  return OutputFile(path, named, std::move(temporary));
}

OutputFile::OutputFile(OutputFile&& other) noexcept
    : path_(std::move(other.path_)), temporary_(std::exchange(other.temporary_, {})), descriptor_(std::exchange(other.descriptor_, -1)) {}

OutputFile::~OutputFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

tl::unexpected<Error> OutputFile::failed() const { return cannot(path_, std::strerror(errno)); }

Result<void> OutputFile::write(std::uint64_t offset, Bytes bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::pwrite(descriptor_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return failed();
    offset += static_cast<std::uint64_t>(n);
    bytes = bytes.subspan(static_cast<std::size_t>(n));
  }
  return {};
}

// A file without a name cannot take the place of another: it gets a temporary name first.
Result<void> OutputFile::commit(std::uint64_t size) {
  if (::ftruncate(descriptor_, static_cast<off_t>(size)) != 0) return failed();
  if (temporary_.empty()) {
    const std::string temporary = temporary_name(path_), self = "/proc/self/fd/" + std::to_string(descriptor_);
    if (::linkat(AT_FDCWD, self.c_str(), AT_FDCWD, temporary.c_str(), AT_SYMLINK_FOLLOW) != 0) return failed();
    temporary_ = temporary;
  }
  if (::close(std::exchange(descriptor_, -1)) != 0 || std::rename(temporary_.c_str(), path_.c_str()) != 0) return failed();
  temporary_.clear();
  return {};
}

}  // namespace kvm
