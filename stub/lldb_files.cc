// See lldb_files.h.
#include "stub/lldb_files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <iterator>

#include "engine/integers.h"
#include "engine/symbols/cold_ranges.h"
#include "stub/image_file.h"

namespace kvm::rsp {
namespace {

namespace fs = std::filesystem;

constexpr std::uint32_t sht_rel = 9, sht_rela = 4;

fs::path cache_folder() {
  const char* xdg = std::getenv("XDG_CACHE_HOME");
  const char* home = std::getenv("HOME");
  return (xdg && *xdg ? fs::path(xdg) : fs::path(home ? home : "/tmp") / ".cache") / "inquest" / "lldb";
}

Error file_error(const fs::path& path) { return {Errc::io, 0, path.string() + ": " + std::strerror(errno)}; }

// A file under construction: gone unless it was completed.
class NewFile {
 public:
  static Result<NewFile> create(const fs::path& path) {
    const fs::path draft = path.string() + "." + std::to_string(getpid());
    const int fd = ::open(draft.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0) return tl::unexpected(file_error(draft));
    return NewFile(fd, draft, path);
  }
  NewFile(NewFile&& other) noexcept : fd_(std::exchange(other.fd_, -1)), draft_(std::move(other.draft_)), path_(std::move(other.path_)) {}
  ~NewFile() {
    if (fd_ < 0) return;
    close(fd_);
    unlink(draft_.c_str());
  }

  Result<void> write(std::uint64_t at, Bytes bytes) {
    while (!bytes.empty()) {
      const ssize_t count = pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(at));
      if (count < 0 && errno == EINTR) continue;
      if (count <= 0) return tl::unexpected(file_error(draft_));
      at += static_cast<std::uint64_t>(count);
      bytes = bytes.subspan(static_cast<std::size_t>(count));
    }
    return {};
  }
  Result<void> complete(std::uint64_t size) {
    if (ftruncate(fd_, static_cast<off_t>(size)) != 0 || rename(draft_.c_str(), path_.c_str()) != 0) return tl::unexpected(file_error(path_));
    close(std::exchange(fd_, -1));
    return {};
  }

 private:
  NewFile(int fd, fs::path draft, fs::path path) : fd_(fd), draft_(std::move(draft)), path_(std::move(path)) {}
  int fd_;
  fs::path draft_, path_;
};

// Everything but the relocations of a linked file, which nobody needs: they stay a hole.
Result<void> copy(const ElfFile& elf, NewFile& out) {
  std::vector<const ElfSection*> left_out;
  for (const ElfSection& section : elf.sections())
    if (elf.type() != elf::et_rel && (section.type == sht_rela || section.type == sht_rel) && !(section.flags & elf::shf_alloc))
      left_out.push_back(&section);
  std::ranges::sort(left_out, {}, &ElfSection::offset);
  std::uint64_t at = 0;
  for (const ElfSection* section : left_out) {
    if (section->offset < at || section->size > elf.file().size() || section->offset > elf.file().size() - section->size) continue;
    TRY(out.write(at, elf.file().view(at, section->offset - at)));
    at = section->offset + section->size;
  }
  return out.write(at, elf.file().view(at));
}

Result<void> make_copy(const ElfFile& elf, const std::vector<Blank>& blanks, const fs::path& path) {
  std::error_code error;
  fs::create_directories(path.parent_path(), error);
  if (error) return fail(Errc::io, path.parent_path().string() + ": " + error.message());
  NewFile out = TRY(NewFile::create(path));
  TRY(copy(elf, out));
  for (const Blank& blank : blanks) TRY(out.write(blank.offset, std::vector<std::uint8_t>(blank.size)));
  return out.complete(elf.file().size());
}

// A file without a build id is told from another build's by its name, its size and its time.
std::string id_of(const ElfFile& elf) {
  if (const std::string id = elf.build_id(); !id.empty()) return id;
  std::error_code error;
  const fs::path path = fs::absolute(elf.file().path(), error);
  const auto time = fs::last_write_time(path, error);
  if (error) return {};
  return fmt::format("file-{:x}", std::hash<std::string>()(fmt::format("{} {} {}", path.string(), elf.file().size(), time.time_since_epoch().count())));
}

// Empty when a copy could not be told from another build's.
fs::path place_of_copy(const ElfFile& elf) {
  const std::string id = id_of(elf);
  return id.empty() ? fs::path() : cache_folder() / id / fs::path(elf.file().path()).filename();
}

bool is_copy(const fs::path& path, const ElfFile& elf) {
  std::error_code error;
  return fs::file_size(path, error) == elf.file().size() && !error;
}

// lldb 19 does a linker's work on a module's debug information for these machines only, and says an error for each relocation of others
// (ObjectFileELF::ApplyRelocations()): without it there is nothing but wrong names.
bool lacks_linker(const ElfFile& elf) {
  constexpr std::uint16_t relocated[] = {3, 40, 62, 183, 258};  // i386, arm, x86-64, aarch64, loongarch
  return elf.type() == elf::et_rel && !std::ranges::count(relocated, elf.machine());
}

// Debug information, and its relocations: neither name nor type is left.
std::vector<Blank> useless_sections(const ElfFile& elf) {
  std::vector<Blank> blanks;
  for (const ElfSection& section : elf.sections())
    if (section.name.find(".debug_") != section.name.npos) blanks.push_back({section.header, 8});
  return blanks;
}

// What only a linker needs: sections' symbols, which have no name and hide the first function, and on RISC-V the assembler's labels and
// marks, which lldb 19 takes for functions.
std::vector<Blank> useless_symbols(const ElfFile& elf) {
  constexpr std::uint16_t riscv = 243;
  std::vector<Blank> blanks;
  const ElfSection* table = elf.section(".symtab");
  if (!table || table->link >= elf.sections().size()) return blanks;
  const Bytes entries = elf.contents(*table), names = elf.contents(elf.sections()[table->link]);
  const std::size_t entry_bytes = elf.is_64() ? 24 : 16, info_at = elf.is_64() ? 4 : 12;
  for (std::size_t at = 0; at + entry_bytes <= entries.size(); at += entry_bytes) {
    const std::uint64_t name = load_unsigned(entries.subspan(at, 4), elf.order());
    const std::string_view start = name + 2 <= names.size() ? std::string_view(reinterpret_cast<const char*>(names.data()) + name, 2) : "";
    const bool section = (entries[at + info_at] & 15) == 3;
    const bool mark = elf.machine() == riscv && (start == ".L" || start == "$x" || start == "$d");
    if (mark || (section && lacks_linker(elf))) blanks.push_back({table->offset + at, entry_bytes});
  }
  return blanks;
}

// What lldb must not see: cold ranges, and EI_OSABI.  For files of FreeBSD lldb 19 looks for a kernel in the process's memory, and crashes
// where the page with its ELF header is not in the dump (DynamicLoaderFreeBSDKernel::CheckForKernelImageAtAddress()).
std::vector<Blank> blanks_of(const ElfFile& elf) {
  constexpr std::uint64_t os_abi_at = 7;
  std::vector<Blank> blanks = lacks_linker(elf) ? useless_sections(elf) : cold_ranges(elf);
  std::ranges::copy(useless_symbols(elf), std::back_inserter(blanks));
  if (const Bytes abi = elf.file().view(os_abi_at, 1); !abi.empty() && abi[0] != 0) blanks.push_back({os_abi_at, 1});
  return blanks;
}

std::string usable(const std::string& path) { return file_for_lldb(path).value_or(path); }

}  // namespace

Result<std::string> file_for_lldb(const std::string& path) {
  const ElfFile elf = TRY(ElfFile::open(path));
  const fs::path copy = place_of_copy(elf);
  if (is_copy(copy, elf)) return copy.string();
  const std::vector<Blank> blanks = blanks_of(elf);
  if (blanks.empty() || copy.empty()) return path;
  TRY(make_copy(elf, blanks, copy));
  return copy.string();
}

bool prepared_for_lldb(const std::string& path) {
  const auto elf = ElfFile::open(path);
  return !elf || is_copy(place_of_copy(*elf), *elf) || blanks_of(*elf).empty();
}

LldbKernel kernel_for_lldb(const Kernel& kernel) {
  if (!kernel.vmlinux().empty()) return {usable(kernel.vmlinux()), {}};
  if (!kernel.os_missing().empty()) return {};  // a remark of the kernel's says so
  auto image = image_on_disk(kernel);
  if (!image) return {{}, {to_string(image.error())}};
  std::erase_if(image->remarks, [&](const std::string& remark) { return std::ranges::count(kernel.remarks(), remark) > 0; });
  return {std::move(image->path), std::move(image->remarks)};
}

std::vector<LldbModule> modules_for_lldb(const Kernel& kernel) {
  std::vector<LldbModule> files;
  if (const auto& modules = kernel.modules(); modules && !kernel.vmlinux().empty())
    for (const Module& module : *modules)
      if (const std::string path = kernel.module_file(module); !path.empty()) files.push_back({usable(path), module.sections});
  return files;
}

std::string lldb_word(std::string_view text) {
  std::string word = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') word += '\\';
    word += c;
  }
  return word + '"';
}

}  // namespace kvm::rsp
