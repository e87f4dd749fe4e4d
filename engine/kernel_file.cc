#include "engine/kernel_file.h"

#include <algorithm>
#include <filesystem>

#include "engine/integers.h"

namespace kvm {

void take_arch(const ElfFile& file, Dump& dump) {
  dump.arch = arch::find_elf(file.machine(), file.is_64() ? 8 : 4, file.order());
  if (dump.arch) std::erase_if(dump.remarks, [](const std::string& remark) { return remark.starts_with("processor: "); });
}

Result<ElfFile> open_kernel_file(const std::string& path, const std::string& build_id, const arch::Arch& arch) {
  ElfFile file = TRY(ElfFile::open(path));
  if (file.machine() != arch.elf_machine) return fail(Errc::bad_data, path + ": is for another processor than the dump's, " + std::string(arch.name));
  if (const std::string own = file.build_id(); !build_id.empty() && own != build_id)
    return fail(Errc::bad_data, path + ": is of another build: its build id is " + (own.empty() ? "missing" : own) +
                                    ", the crashed kernel's is " + build_id);
  return file;
}

void add_tree_of(const std::string& vmlinux, DebugFileQuery& query) {
  std::error_code ignored;
  const auto folder = std::filesystem::weakly_canonical(vmlinux, ignored).parent_path();
  if (!vmlinux.empty() && folder.filename() == "boot") query.symbol_dirs.push_back(folder.parent_path().string());
}

// A kernel's own build id is part of its image.
std::string contradiction(const ElfFile& file, const AddressSpace& space, std::uint64_t slide) {
  const ElfSection* note = file.section(".note.gnu.build-id");
  if (!note || !(note->flags & elf::shf_alloc) || note->addr == 0) return {};
  constexpr std::size_t header = 16;  // sizes of name and description, type, "GNU"
  const Bytes own = file.contents(*note);
  std::vector<std::uint8_t> memory(own.size());
  if (own.size() <= header || space.read(VirtAddr{note->addr + slide}, memory).value_or(0) != memory.size()) return {};
  const bool is_note = std::equal(own.begin(), own.begin() + header, memory.begin());
  if (!is_note || std::ranges::equal(own, memory)) return {};  // what is no note may be anything, also a page that was not dumped
  return file.file().path() + ": is of another build: its build id is " + hex_digits(own.subspan(header)) +
         ", the crashed kernel's is " + hex_digits(Bytes(memory).subspan(header));
}

// .gnu_debuglink names it (gdb manual, "Separate Debug Files").
std::string debug_companion(const ElfFile& file, const DebugFileQuery& query) {
  const ElfSection* link = file.section(".gnu_debuglink");
  if (!link || file.section(".debug_info")) return {};
  const Bytes contents = file.contents(*link);
  const std::string name(contents.begin(), std::ranges::find(contents, std::uint8_t{0}));
  if (name.empty() || name.find('/') != name.npos) return {};
  namespace fs = std::filesystem;
  std::error_code ignored;
  const fs::path folder = fs::weakly_canonical(file.file().path(), ignored).parent_path();
  std::vector<fs::path> places{folder / name, folder / ".debug" / name, fs::path("/usr/lib/debug") / folder.relative_path() / name};
  for (const std::string& dir : query.symbol_dirs) places.push_back(fs::path(dir) / name);
  for (const fs::path& place : places)
    if (auto companion = fs::is_regular_file(place, ignored) ? ElfFile::open(place.string()) : fail(Errc::not_found))
      if (companion->build_id() == file.build_id() && companion->machine() == file.machine() && companion->section(".debug_info")) return place.string();
  return {};
}

std::string missing_kernel_file(const KernelMap& map, const OsKind& kind, const std::vector<std::string>& rejected) {
  std::string text = "no " + std::string(kind.file_word) + " with debug information found for kernel " + (map.release.empty() ? "(unknown release)" : map.release);
  if (!map.build_id.empty()) text += ", build id " + map.build_id;
  for (const std::string& other : rejected) text += "; " + other + " is of another build";
  return text + "; name it after the dump, or give --symbols DIR" + (map.build_id.empty() ? "" : ", or set DEBUGINFOD_URLS");
}

}  // namespace kvm
