// The kernel's BTF lies between two symbols; the modules' are on a list of the BPF subsystem (kernel/bpf/btf.c): what a
// module's file brought is gone, what the kernel parsed and keeps builds on its own BTF, whatever it was made against.
#include "engine/os/linux/list.h"
#include "engine/os/linux/pieces.h"

namespace kvm::os_linux {
namespace {

constexpr std::uint64_t most_btf = 256u << 20;

Result<std::vector<std::uint8_t>> read_btf(const KernelView& view, VirtAddr at, std::uint64_t size) {
  if (size == 0 || size > most_btf) return fail(Errc::bad_data, at.raw, "BTF of a size that makes no sense");
  return read_whole({view.arch, view.space}, at, size);
}

}  // namespace

Result<std::vector<std::uint8_t>> read_kernel_btf(const KernelView& view, const Symbols& symbols) {
  const auto first = symbols.find("__start_BTF"), last = symbols.find("__stop_BTF");
  if (!first || !last || last->address <= first->address) return fail(Errc::not_found, "the kernel has no BTF");
  auto btf = read_btf(view, first->address, last->address - first->address);
  if (!btf) return fail(btf.error().code, btf.error().addr, "its BTF cannot be read: " + to_string(btf.error()));
  return btf;
}

std::map<std::uint64_t, std::vector<std::uint8_t>> read_module_btf(const KernelView& view, std::vector<std::string>& remarks) {
  std::map<std::uint64_t, std::vector<std::uint8_t>> found;
  const auto head = view.address_of("btf_modules");
  const auto list = view.types.member("btf_module", "list");
  if (!head || !list) return found;  // before v5.11, or without CONFIG_DEBUG_INFO_BTF_MODULES
  std::size_t lost = 0;
  const std::string why = walk_list(view, *head, list->offset, [&](VirtAddr at) {
    const Record entry(view, "btf_module", at);
    const auto module = entry.pointer("module");
    const auto btf = entry.follow("btf", "btf");
    const auto data = btf ? btf->pointer("data") : fail(Errc::not_found);
    const auto size = btf ? btf->number("data_size") : fail(Errc::not_found);
    auto bytes = module && data && size ? read_btf(view, *data, *size) : fail(Errc::not_found);
    if (bytes) found[module->raw] = std::move(*bytes);
    else ++lost;
  });
  if (!why.empty()) remarks.push_back("the list of modules' types is cut short: " + why + "; types of some modules are not known");
  if (lost) remarks.push_back("the types of " + std::to_string(lost) + " module(s) cannot be read");
  return found;
}

}  // namespace kvm::os_linux
