// Files are mapped whole: opening costs the same for any size, and the kernel's page cache is the only copy.
#include "engine/file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace kvm {
namespace {

constexpr std::uint8_t zeros[64 << 10] = {};

tl::unexpected<Error> cannot(const std::string& path, std::string_view what) {
  return fail(Errc::io, fmt::format("{}: {}", path, what));
}

bool inside(Bytes part, Bytes whole) { return part.data() >= whole.data() && part.data() < whole.data() + whole.size(); }

}  // namespace

struct File::Backing {
  std::vector<std::uint8_t> vector;
  void* mapping = nullptr;
  std::size_t mapped = 0;
  int descriptor = -1;
  std::unique_ptr<FileSource> source;

  Backing() = default;
  Backing(const Backing&) = delete;
  Backing& operator=(const Backing&) = delete;
  ~Backing() {
    if (mapping) ::munmap(mapping, mapped);
    if (descriptor >= 0) ::close(descriptor);
  }
};

File::File(std::unique_ptr<Backing> backing, std::string path) : backing_(std::move(backing)), path_(std::move(path)) {
  stored_ =
      backing_->mapping ? Bytes{static_cast<const std::uint8_t*>(backing_->mapping), backing_->mapped} : Bytes{backing_->vector};
  stored_size_ = backing_->source ? backing_->source->size() : stored_.size();
  size_ = stored_size_;
}
File::File(File&&) noexcept = default;
File& File::operator=(File&&) noexcept = default;
File::~File() = default;

Result<File> File::open(const std::string& path) {
  auto backing = std::make_unique<Backing>();
  // O_NONBLOCK: opening a FIFO or a terminal must not wait; neither is accepted below.
  backing->descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
  if (backing->descriptor < 0) return cannot(path, std::strerror(errno));
  struct stat status;
  if (::fstat(backing->descriptor, &status) < 0) return cannot(path, std::strerror(errno));
  if (S_ISDIR(status.st_mode)) return cannot(path, "is a directory, expected a file");
  if (!S_ISREG(status.st_mode) && !S_ISBLK(status.st_mode)) return cannot(path, "is neither a regular file nor a block device");
  const off_t size = S_ISBLK(status.st_mode) ? ::lseek(backing->descriptor, 0, SEEK_END) : status.st_size;
  if (size < 0) return cannot(path, std::strerror(errno));
  if (size == 0) return cannot(path, "is empty");
  backing->mapped = static_cast<std::size_t>(size);
  void* mapping = ::mmap(nullptr, backing->mapped, PROT_READ, MAP_PRIVATE | MAP_NORESERVE, backing->descriptor, 0);
  if (mapping == MAP_FAILED) return cannot(path, fmt::format("cannot be mapped: {}", std::strerror(errno)));
  backing->mapping = mapping;
  return File(std::move(backing), path);
}

// The mapping is private: only the pages that are changed are copied.
Result<void> File::overlay(std::uint64_t offset, Bytes bytes) {
  if (!pieces_.empty() || offset > stored_.size() || bytes.size() > stored_.size() - offset)
    return fail(Errc::bad_request, path_ + ": an overlay lies outside the file");
  if (!backing_->mapping) {
    std::ranges::copy(bytes, backing_->vector.begin() + static_cast<std::ptrdiff_t>(offset));
    return {};
  }
  if (::mprotect(backing_->mapping, backing_->mapped, PROT_READ | PROT_WRITE) != 0) return cannot(path_, std::strerror(errno));
  std::memcpy(static_cast<std::uint8_t*>(backing_->mapping) + offset, bytes.data(), bytes.size());
  ::mprotect(backing_->mapping, backing_->mapped, PROT_READ);
  return {};
}

File File::from_bytes(std::vector<std::uint8_t> bytes, std::string name) {
  auto backing = std::make_unique<Backing>();
  backing->vector = std::move(bytes);
  return File(std::move(backing), std::move(name));
}

File File::from_source(std::unique_ptr<FileSource> source, std::string path) {
  auto backing = std::make_unique<Backing>();
  backing->source = std::move(source);
  return File(std::move(backing), std::move(path));
}

File File::rearranged(std::vector<FilePiece> pieces, Gaps gaps) && {
  // A view of a part of the file is seen through once more: its one piece says where it lies.
  if (rearranged_ && !pieces_.empty())
    for (FilePiece& piece : pieces) piece.stored += pieces_.front().stored;
  pieces_ = std::move(pieces);
  rearranged_ = true;
  gaps_ = gaps;
  size_ = pieces_.empty() ? 0 : pieces_.back().offset + pieces_.back().size;
  return std::move(*this);
}

int File::descriptor() const { return backing_->descriptor; }

const FilePiece* File::piece_at(std::uint64_t offset) const {
  const auto piece = std::upper_bound(pieces_.begin(), pieces_.end(), offset,
                                      [](std::uint64_t at, const FilePiece& p) { return at < p.offset + p.size; });
  return piece == pieces_.end() ? nullptr : &*piece;
}

Bytes File::view(std::uint64_t offset, std::uint64_t limit) const {
  if (offset >= size_ || backing_->source) return {};
  if (!rearranged_) return stored_.subspan(offset, std::min(limit, size_ - offset));
  const FilePiece* piece = piece_at(offset);
  if (!piece) return {};
  if (offset < piece->offset) {
    if (gaps_ == Gaps::absent) return {};
    return Bytes{zeros}.first(std::min({limit, piece->offset - offset, std::uint64_t{sizeof zeros}}));
  }
  const std::uint64_t skip = offset - piece->offset;
  return stored_.subspan(piece->stored + skip, std::min(limit, piece->size - skip));
}

// A piece's part of a source, or zeros in a gap that shows them.
std::size_t File::read_source(std::uint64_t offset, MutableBytes out) const {
  if (!rearranged_) return backing_->source->read(offset, out);
  const FilePiece* piece = piece_at(offset);
  if (!piece || (offset < piece->offset && gaps_ == Gaps::absent)) return 0;
  if (offset < piece->offset) {
    const std::size_t gap = std::min<std::uint64_t>(out.size(), piece->offset - offset);
    std::memset(out.data(), 0, gap);
    return gap;
  }
  const std::uint64_t skip = offset - piece->offset;
  return backing_->source->read(piece->stored + skip, out.first(std::min<std::uint64_t>(out.size(), piece->size - skip)));
}

std::size_t File::read(std::uint64_t offset, MutableBytes out) const {
  std::size_t done = 0;
  while (backing_->source && done < out.size() && offset + done < size_) {
    const std::size_t got = read_source(offset + done, out.subspan(done));
    if (got == 0) break;
    done += got;
  }
  if (backing_->source) return done;
  while (done < out.size()) {
    const Bytes part = view(offset + done, out.size() - done);
    if (part.empty()) break;
    std::memcpy(out.data() + done, part.data(), part.size());
    done += part.size();
  }
  return done;
}

std::size_t File::scan(std::uint64_t offset, MutableBytes out) const {
  if (backing_->descriptor < 0) return read(offset, out);
  std::size_t done = 0;
  while (done < out.size()) {
    const Bytes part = view(offset + done, out.size() - done);  // only its place counts; nothing is touched
    if (part.empty()) break;
    if (inside(part, stored_)) {
      const auto got = ::pread(backing_->descriptor, out.data() + done, part.size(), part.data() - stored_.data());
      if (got <= 0) break;
      done += static_cast<std::size_t>(got);
    } else {
      std::memset(out.data() + done, 0, part.size());
      done += part.size();
    }
  }
  return done;
}

std::uint64_t File::next_data(std::uint64_t offset, std::uint64_t limit) const {
  if (rearranged_ || backing_->descriptor < 0 || offset >= size_) return offset;
  const off_t found = ::lseek(backing_->descriptor, static_cast<off_t>(offset), SEEK_DATA);
  if (found >= 0) return std::min(static_cast<std::uint64_t>(found), limit);
  // ENXIO: only a hole is left.  Anything else: a file system without holes.
  return errno == ENXIO ? limit : offset;
}

std::optional<File::Present> File::next_present(std::uint64_t offset) const {
  if (offset >= size_) return std::nullopt;
  if (!rearranged_) return Present{offset, size_ - offset};
  const FilePiece* piece = piece_at(offset);
  if (!piece) return std::nullopt;
  const std::uint64_t first = gaps_ == Gaps::zero ? offset : std::max(offset, piece->offset);
  const FilePiece* const end = pieces_.data() + pieces_.size();
  while (piece + 1 != end && (gaps_ == Gaps::zero || piece[1].offset == piece->offset + piece->size)) ++piece;
  return Present{first, piece->offset + piece->size - first};
}

Result<std::vector<std::uint8_t>> File::bytes(std::uint64_t offset, std::uint64_t size) const {
  if (size > stored_size_) return fail(Errc::lost, offset);
  // A source's size may be no more than a bound.
  constexpr std::uint64_t step = 1 << 20;
  std::vector<std::uint8_t> copy;
  while (copy.size() < size) {
    const std::size_t done = copy.size(), wanted = backing_->source ? std::min(step, size - done) : size;
    copy.resize(done + wanted);
    if (read(offset + done, MutableBytes{copy}.subspan(done)) != wanted) return fail(Errc::lost, offset);
  }
  return copy;
}

std::optional<std::uint64_t> File::stored_at(std::uint64_t offset) const {
  const Bytes part = view(offset, 1);
  if (part.empty() || !inside(part, stored_)) return std::nullopt;
  return static_cast<std::uint64_t>(part.data() - stored_.data());
}

}  // namespace kvm
