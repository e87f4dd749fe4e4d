// Loaded files (struct linker_file, sys/sys/linker.h).  Where their sections lie follows from the files themselves.
#include <unordered_set>

#include "engine/os/freebsd/model.h"

namespace kvm::os_freebsd {
namespace {

constexpr std::size_t most_files = 1 << 14, longest_path = 1024;

// sys/kern/kern_linker.c exports these.
struct FileOffsets {
  std::uint64_t address, filename, pathname, next;
};

Result<std::uint64_t> file_offset(const KernelView& view, std::string_view constant, std::string_view member) {
  if (auto value = read_constant(view, constant)) return value;
  return TRY(view.types.member("linker_file", member)).offset;
}

Result<FileOffsets> read_file_offsets(const KernelView& view) {
  return FileOffsets{TRY(file_offset(view, "kld_off_address", "address")), TRY(file_offset(view, "kld_off_filename", "filename")),
                     TRY(file_offset(view, "kld_off_pathname", "pathname")), TRY(file_offset(view, "kld_off_next", "link"))};
}

std::string text_behind(const KernelView& view, VirtAddr pointer) {
  const auto at = view.pointer_at(pointer);
  return at && at->raw ? view.text_at(*at, longest_path).value_or("") : "";
}

}  // namespace

Result<std::vector<Module>> find_modules(const KernelView& view, std::vector<std::string>& remarks) {
  const VirtAddr head = TRY(view.address_of("linker_files"));
  const FileOffsets offsets = TRY(read_file_offsets(view));
  const auto kernel = view.address_of("linker_kernel_file");
  const VirtAddr own = kernel ? view.pointer_at(*kernel).value_or(VirtAddr{}) : VirtAddr{};
  std::vector<Module> modules;
  std::unordered_set<std::uint64_t> seen;
  auto at = view.pointer_at(head);
  for (; at && at->raw; at = view.pointer_at(*at + offsets.next)) {
    if (!seen.insert(at->raw).second || seen.size() > most_files) {
      remarks.push_back("the list of modules is cut short: it loops");
      return modules;
    }
    if (*at == own) continue;
    Module module;
    module.handle = *at;
    module.name = text_behind(view, *at + offsets.filename);
    module.path = text_behind(view, *at + offsets.pathname);
    const auto base = view.pointer_at(*at + offsets.address);
    // `size` follows `address` (a size_t, as wide as a pointer).
    const auto size = view.pointer_at(*at + offsets.address + view.arch.pointer_bytes);
    if (!base || module.name.empty() || (!own.raw && seen.size() == 1)) continue;  // the kernel itself comes first
    module.base = *base;
    module.size = size ? size->raw : 0;
    module.placing = Module::Placing::from_file;
    modules.push_back(std::move(module));
  }
  if (!at) remarks.push_back("the list of modules is cut short: " + to_string(at.error()));
  return modules;
}

}  // namespace kvm::os_freebsd
