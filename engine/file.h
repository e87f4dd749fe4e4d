// A read-only file: mapped, or a vector of bytes, or a *rearranged* view in which pieces of the file appear
// at other offsets (the flattened dump formats).  Every access is bounds-checked; offsets are untrusted.
// One limit: whoever cuts the file short while it is mapped sends a reader SIGBUS; a program that must survive that
// handles the signal.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

#include "engine/result.h"
#include "engine/types.h"

namespace kvm {

// `size` bytes that lie at `stored` in the file belong at offset `offset`.
struct FilePiece {
  std::uint64_t offset, size, stored;
};

// What a rearranged view shows where no piece lies.
enum class Gaps : std::uint8_t {
  absent,  // nothing: the file was cut, so the piece may have existed
  zero,    // zeros, as when a complete file is rearranged by seeking and writing
};

// Bytes that come into being when they are read: what a decompressor or decipherer yields.
class FileSource {
 public:
  virtual ~FileSource() = default;
  // Copies until `out` is full or the bytes end; returns the count.  Safe from several threads.
  virtual std::size_t read(std::uint64_t offset, MutableBytes out) const = 0;
  // No byte lies behind this.  Exact where finding it out is cheap.
  virtual std::uint64_t size() const = 0;
};

class File {
 public:
  // Maps a regular file or block device; a directory, a FIFO, an unreadable or an empty file is an error naming the path.
  static Result<File> open(const std::string& path);
  static File from_bytes(std::vector<std::uint8_t> bytes, std::string name);
  // `path` is for people.  Nothing can be viewed of such a file, only read.
  static File from_source(std::unique_ptr<FileSource> source, std::string path);
  // The same file seen through `pieces`: sorted by offset, disjoint, inside the file.  Of a view of one piece there can be another.
  File rearranged(std::vector<FilePiece> pieces, Gaps gaps = Gaps::absent) &&;

  File(File&&) noexcept;
  File& operator=(File&&) noexcept;
  ~File();

  const std::string& path() const { return path_; }
  std::uint64_t size() const { return size_; }                  // of the view
  std::uint64_t stored_size() const { return stored_size_; }    // of the file itself
  int descriptor() const;                                       // -1 when there is none
  bool is_rearranged() const { return rearranged_; }

  // Puts other bytes into what this File shows; the file on disk stays as it is.  For whole files, not rearranged views.
  Result<void> overlay(std::uint64_t offset, Bytes bytes);

  // The bytes that lie contiguously at `offset`: at most `limit`, fewer at a piece's or the file's end, maybe none.
  Bytes view(std::uint64_t offset, std::uint64_t limit = ~std::uint64_t{0}) const;
  // Copies until `out` is full or the bytes end; returns the count.
  std::size_t read(std::uint64_t offset, MutableBytes out) const;
  // As read(), but through the descriptor where there is one: a long scan does not swell the resident set.
  std::size_t scan(std::uint64_t offset, MutableBytes out) const;
  // The first offset from `offset` on that is not in a hole of a sparse file, at most `limit`.
  std::uint64_t next_data(std::uint64_t offset, std::uint64_t limit) const;
  // The first bytes from `offset` on that read() can give, and how many at most lie there together; none up to the end.
  struct Present {
    std::uint64_t offset, size;
  };
  std::optional<Present> next_present(std::uint64_t offset) const;
  // Exactly `size` bytes, or `lost`.  Never allocates much more than there is.
  Result<std::vector<std::uint8_t>> bytes(std::uint64_t offset, std::uint64_t size) const;
  // A trivially copyable struct, or `lost` with the offset.
  template <class T>
  Result<T> at(std::uint64_t offset) const {
    static_assert(std::is_trivially_copyable_v<T>);
    T value;
    if (read(offset, {reinterpret_cast<std::uint8_t*>(&value), sizeof value}) != sizeof value) return fail(Errc::lost, offset);
    return value;
  }
  // Where the byte at `offset` of the view lies in the file; none in a gap or past the end.
  std::optional<std::uint64_t> stored_at(std::uint64_t offset) const;

 private:
  struct Backing;  // the mapping, the vector or the source
  File(std::unique_ptr<Backing> backing, std::string path);
  std::size_t read_source(std::uint64_t offset, MutableBytes out) const;
  const FilePiece* piece_at(std::uint64_t offset) const;  // the first piece that ends after `offset`

  std::unique_ptr<Backing> backing_;
  std::string path_;
  Bytes stored_;                             // empty with a source
  std::uint64_t size_ = 0, stored_size_ = 0;
  bool rearranged_ = false;
  Gaps gaps_ = Gaps::absent;
  std::vector<FilePiece> pieces_;
};

}  // namespace kvm
