// Writes dumps for tests.  Typed from the formats' manuals and sharing nothing with the readers, so that a wrong
// constant there does not cancel out here.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace kvm::testing {

using Buffer = std::vector<std::uint8_t>;

// Appends and patches integers of a chosen byte order.
class Image {
 public:
  explicit Image(bool big_endian = false) : big_(big_endian) {}
  void put(std::size_t at, std::uint64_t value, int bytes);
  void put(std::size_t at, const Buffer& bytes);
  void put(std::size_t at, const std::string& text);
  std::size_t size() const { return bytes_.size(); }
  void pad_to(std::size_t size) {
    if (bytes_.size() < size) bytes_.resize(size);
  }
  Buffer take() { return std::move(bytes_); }

 private:
  bool big_;
  Buffer bytes_;
};

// A page whose contents depend on its number: compressible, and different from every other.
Buffer page_of(std::uint64_t number, std::size_t size = 4096);

struct NoteSpec {
  std::string owner;
  std::uint32_t type;
  Buffer desc;
};
Buffer note_area(const std::vector<NoteSpec>& notes, bool big_endian = false);

struct LoadSpec {
  std::uint64_t paddr, vaddr = 0;
  Buffer data;
  std::uint64_t memsz = 0;   // 0: the data's size
  std::uint64_t filesz = 0;  // 0: the data's size
};
struct ElfSpec {
  int bits = 64;
  bool big_endian = false;
  std::uint16_t type = 4, machine = 62;
  std::uint32_t flags = 0;
  std::vector<LoadSpec> loads;
  std::vector<NoteSpec> notes;
  bool count_in_section = false;  // PN_XNUM
};
Buffer write_elf(const ElfSpec& spec);

enum class Packing { none, zlib, lzo, snappy, zstd };
enum class Abi { lp64, i386, aligned32 };  // the three layouts of the sub header
struct KdumpSpec {
  std::string signature = "KDUMP   ";
  Abi abi = Abi::lp64;
  bool big_endian = false;
  int version = 6;
  std::uint32_t block_size = 4096, status = 0;
  Packing packing = Packing::none;
  std::string release = "6.1.0-test", machine = "x86_64", node = "host";
  std::uint64_t seconds = 1700000000;
  std::uint64_t max_pfn = 64;
  std::set<std::uint64_t> excluded;       // RAM, not dumped
  std::map<std::uint64_t, Buffer> pages;  // dumped
  std::set<std::uint64_t> unwritten;      // dumped, but the descriptor is zero
  bool split = false;
  std::uint64_t start_pfn = 0, end_pfn = 0;  // pages outside have a bit, but no descriptor
  std::uint64_t phys_base = 0;
  std::vector<NoteSpec> notes;
  std::string vmcoreinfo;
};
Buffer write_kdump(const KdumpSpec& spec);

// The flattened form: `pieces` are (offset, size) of `plain`, written in that order.
Buffer flatten(const Buffer& plain, const std::vector<std::pair<std::uint64_t, std::uint64_t>>& pieces, bool end_record = true);
Buffer flatten(const Buffer& plain, std::size_t record_size, bool end_record = true);

Buffer write_lime(const std::vector<std::pair<std::uint64_t, Buffer>>& ranges);

// A file that is removed with the object.
class TempFile {
 public:
  explicit TempFile(const Buffer& bytes, const std::string& name = {});
  ~TempFile();
  TempFile(const TempFile&) = delete;
  TempFile& operator=(const TempFile&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};
// A new directory, removed with what is in it.
class TempDir {
 public:
  TempDir();
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  // Writes a file and returns its path.
  std::string write(const std::string& name, const Buffer& bytes) const;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace kvm::testing
