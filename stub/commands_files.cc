// The file-transfer packets.  gdb fetches the kernel image and modules through them.  Nothing but the names in the
// shared table can be opened, and only for reading: no path of the host is ever looked up for a client.
// gdb manual, "File-I/O Remote Protocol Extension" (errno values, struct stat) and "Host I/O Packets".
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>

#include "engine/integers.h"
#include "engine/symbols/elf_file.h"
#include "stub/documents.h"
#include "stub/handlers.h"

namespace kvm::rsp {
namespace {

// The protocol's own errno values; they travel in hexadecimal.
enum class FileError : unsigned { enoent = 2, ebadf = 9, eacces = 13, einval = 22, emfile = 24 };
constexpr std::size_t most_files = 64;  // open at once, per client
constexpr std::size_t reply_reserve = 32;

std::string refuse(FileError error) { return fmt::format("F-1,{:x}", static_cast<unsigned>(error)); }

std::string absolute(const std::string& path) {
  std::error_code error;
  const auto full = std::filesystem::absolute(path, error);
  return error ? path : full.string();
}

// struct stat of the protocol: big-endian, packed.
struct Stat {
  be32 device, inode, mode, links, user, group, special_device;
  be64 size, block_size, blocks;
  be32 accessed, modified, changed;
};
static_assert(sizeof(Stat) == 64);
constexpr std::uint32_t regular_read_only = 0100444;

std::optional<std::array<std::uint64_t, 3>> three_numbers(std::string_view args) {
  std::array<std::uint64_t, 3> numbers{};
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    const std::size_t comma = i + 1 < numbers.size() ? args.find(',') : args.size();
    const auto number = comma == args.npos ? std::nullopt : parse_hex(args.substr(0, comma));
    if (!number) return std::nullopt;
    numbers[i] = *number;
    args.remove_prefix(std::min(comma + 1, args.size()));
  }
  return numbers;
}

// EI_OSABI of the ELF header.
constexpr std::uint64_t os_abi_at = 7;

void clear_addresses(File& file) {
  const auto elf = ElfFile::open(file.path());
  if (!elf) return;
  const std::uint8_t zeros[8] = {};
  for (const ElfSection& section : elf->sections())
    if (section.addr != 0) (void)file.overlay(section.header + (elf->is_64() ? 16 : 12), Bytes(zeros, elf->is_64() ? 8 : 4));
}

const File* opened(const Session::State& s, std::uint64_t descriptor) {
  return descriptor < s.files.size() ? s.files[descriptor] : nullptr;
}

}  // namespace

// A module of Linux 6.4 and later links some of its sections above 0.  gdb then takes a relocatable file's section addresses
// at their word, all others stay at 0 on top of each other, and functions get each other's names.  Zeros put that right:
// with them gdb lays the sections out, and our library list says where they are.
bool has_own_addresses(const std::string& path) {
  constexpr std::uint16_t relocatable = 1;  // ET_REL
  const auto elf = ElfFile::open(path);
  return elf && elf->type() == relocatable && std::ranges::any_of(elf->sections(), [](const ElfSection& s) { return s.addr != 0; });
}

// gdb takes the system from the file before it takes it from the target's description.  One that it was not built for leaves it
// without the registers of the processor; the general ABI, 0, leaves the choice to the description.
bool has_foreign_system(const std::string& path) {
  const auto elf = ElfFile::open(path);
  const Bytes abi = elf ? elf->file().view(os_abi_at, 1) : Bytes();
  return !abi.empty() && abi[0] != 0;
}

std::string Shared::State::vmlinux() const { return kernel.vmlinux().empty() ? "" : absolute(kernel.vmlinux()); }

std::optional<std::uint64_t> Shared::State::image_segment() {
  std::call_once(segment_found_, [&] {
    if (const auto file = File::open(kernel.vmlinux())) segment_ = first_segment(*file);
  });
  return segment_;
}

const std::map<std::string, std::string>& Shared::State::module_files() {
  std::call_once(modules_found_, [&] {
    const auto& found = kernel.modules();
    if (!found) return;
    for (const Module& module : *found)
      if (std::string path = kernel.module_file(module); !path.empty()) module_files_.emplace(module.name, absolute(path));
  });
  return module_files_;
}

std::string Shared::State::offered(const std::string& path, bool as_it_is) const {
  if (!as_it_is || settings.client_folder.empty()) return path;
  // gdb fetches an absolute name from the target, and opens a relative one by itself (exec_file_find, solib_find).
  const auto relative = std::filesystem::path(path).lexically_relative(settings.client_folder);
  return relative.empty() ? path : relative.string();
}

std::string Shared::State::offered_made(std::string_view name) {
  const Opened& made = open(std::string(name));
  if (!made.file) return {};
  return made.path.empty() ? std::string(name) : offered(made.path, !settings.client_folder.empty() && made.path.starts_with('/'));
}

std::string Shared::State::kernel_file() {
  if (!kernel.vmlinux().empty()) return file_offered(vmlinux());
  return has_kernel_file() ? offered_made(image_name) : "";
}

std::string Shared::State::unwind_file() { return kernel.vmlinux().empty() || !settings.unwind ? "" : offered_made(unwind_name); }

std::string Shared::State::file_offered(const std::string& path) {
  if (!has_own_addresses(path) && !has_foreign_system(path)) return offered(path, true);
  if (settings.client_folder.empty()) return path;
  const Opened& changed = open(path);
  return changed.path.empty() ? path : offered(changed.path, true);
}

Shared::State::Opened Shared::State::open_listed(const std::string& name) {
  if (name == image_name || name == unwind_name) {
    auto made = (name == image_name ? settings.image : settings.unwind)(kernel);
    return made ? Opened{std::move(made->file), made->path} : Opened{};
  }
  auto file = File::open(name);
  if (!file) return {};
  const bool addresses = name != vmlinux() && has_own_addresses(name), system = has_foreign_system(name);
  if (!addresses && !system) return {std::move(*file), {}};
  if (addresses) clear_addresses(*file);
  const std::uint8_t general = 0;
  if (system) (void)file->overlay(os_abi_at, Bytes(&general, 1));
  const auto elf = ElfFile::open(name);
  const std::string id = elf ? elf->build_id() : "";
  const bool wanted = settings.keep && !settings.client_folder.empty() && !id.empty();
  std::string kept = wanted ? settings.keep(id + "/" + std::filesystem::path(name).filename().string(), file->view(0)) : "";
  return {std::move(*file), std::move(kept)};
}

const Shared::State::Opened& Shared::State::open(const std::string& name) {
  const std::lock_guard guard(lock_);
  auto found = files_.find(name);
  if (found == files_.end()) found = files_.emplace(name, open_listed(name)).first;
  return found->second;
}

// Files that we make have a name, and where they are kept a path: what the client was told.
const File* Shared::State::file(const std::string& name) {
  const bool has_vmlinux = !kernel.vmlinux().empty();
  if (has_vmlinux ? settings.unwind != nullptr : has_kernel_file()) {
    const std::string ours(has_vmlinux ? unwind_name : image_name);
    const Opened& opened = open(ours);
    if (opened.file && (name == ours || name == opened.path)) return &*opened.file;
  }
  const bool listed = (has_vmlinux && name == vmlinux()) || std::ranges::any_of(module_files(), [&](const auto& entry) { return entry.second == name; });
  if (!listed) return nullptr;
  const Opened& opened = open(name);
  return opened.file ? &*opened.file : nullptr;
}

namespace handle {

Reply file_setfs(State&, Args) { return "F0"; }

// vFile:open:HEXNAME,FLAGS,MODE
Reply file_open(State& s, Args args) {
  const std::size_t comma = args.find(',');
  const auto name = comma == args.npos ? std::nullopt : unhex(args.substr(0, comma));
  const auto flags = name ? parse_hex_pair(args.substr(comma + 1)) : std::nullopt;
  if (!flags) return refuse(FileError::einval);
  if (flags->first != 0) return refuse(FileError::eacces);  // 0: for reading
  const File* file = s.shared.file(*name);
  if (!file) return refuse(FileError::enoent);
  auto slot = std::ranges::find(s.files, nullptr);
  if (slot == s.files.end()) {
    if (s.files.size() == most_files) return refuse(FileError::emfile);
    slot = s.files.insert(slot, nullptr);
  }
  *slot = file;
  return fmt::format("F{:x}", slot - s.files.begin());
}

// vFile:pread:DESCRIPTOR,COUNT,OFFSET
Reply file_pread(State& s, Args args) {
  const auto numbers = three_numbers(args);
  if (!numbers) return refuse(FileError::einval);
  const auto [descriptor, count, offset] = *numbers;
  const File* file = opened(s, descriptor);
  if (!file) return refuse(FileError::ebadf);
  const std::size_t room = s.shared.settings.packet_size - reply_reserve;
  const std::string_view bytes = as_text(file->view(offset, std::min<std::uint64_t>(count, room)));
  const std::size_t size = fitting(bytes, room);
  return fmt::format("F{:x};{}", size, bytes.substr(0, size));
}

Reply file_fstat(State& s, Args args) {
  const auto descriptor = parse_hex(args);
  const File* file = descriptor ? opened(s, *descriptor) : nullptr;
  if (!file) return refuse(FileError::ebadf);
  Stat stat{};
  stat.mode = regular_read_only;
  stat.links = 1;
  stat.size = file->size();
  stat.block_size = 4096;
  stat.blocks = (file->size() + 511) / 512;
  return fmt::format("F{:x};", sizeof stat).append(reinterpret_cast<const char*>(&stat), sizeof stat);
}

Reply file_close(State& s, Args args) {
  const auto descriptor = parse_hex(args);
  if (!descriptor || !opened(s, *descriptor)) return refuse(FileError::ebadf);
  s.files[*descriptor] = nullptr;
  return "F0";
}

Reply file_refuse(State&, Args) { return refuse(FileError::eacces); }
Reply file_readlink(State&, Args) { return refuse(FileError::einval); }  // as for a file that is no link

}  // namespace handle
}  // namespace kvm::rsp
