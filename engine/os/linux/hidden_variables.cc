// A kernel without CONFIG_KALLSYMS_ALL names only its functions.  The variables that most depends on can be found even so:
// VMCOREINFO names some, BTF has a header of its own, the first task is called "swapper" and is its own parent, and a list's head
// lies in the image while its entries do not: what leads to entries that know who they are is the list.
#include <algorithm>

#include "engine/integers.h"
#include "engine/os/linux/kallsyms_search.h"
#include "engine/os/linux/pieces.h"
#include "engine/symbols/btf.h"

namespace kvm::os_linux {
namespace {

using Names = std::vector<std::pair<std::string, VirtAddr>>;

// Calls `visit` with each place of `text` in the windows, until it returns true.
void each_place(const ImageMemory& memory, std::span<const Window> windows, std::string_view text, const std::function<bool(VirtAddr)>& visit) {
  bool over = false;
  for (const Window& window : windows)
    if (!over)
      each_chunk(memory, window, text.size(), [&](VirtAddr at, Bytes chunk) {
        const std::string_view bytes(reinterpret_cast<const char*>(chunk.data()), chunk.size());
        for (std::size_t found = bytes.find(text); found != bytes.npos && !over; found = bytes.find(text, found + 1)) over = visit(at + found);
        return over;
      });
}

// struct btf_header (include/uapi/linux/btf.h): the strings follow the types.
std::uint64_t btf_size(const KernelView& view, VirtAddr at) {
  const auto word = [&](std::uint64_t offset) { return view.number_at(at + offset, 4).value_or(0); };
  const std::uint64_t header = word(4), types = word(12), strings = word(20);
  constexpr std::uint64_t most = 256u << 20;
  return header >= 24 && header < 256 && word(8) == 0 && word(16) == types && types < most && strings < most ? header + types + strings : 0;
}

std::unique_ptr<Types> find_btf(const KernelView& view, std::span<const Window> windows, Names& names) {
  const bool little = view.arch.endian == std::endian::little;
  const std::string_view magic(little ? "\x9f\xeb\x01\x00" : "\xeb\x9f\x01\x00", 4);  // BTF_MAGIC, version 1, no flags
  std::unique_ptr<Types> types;
  each_place({view.arch, view.space}, windows, magic, [&](VirtAddr at) {
    const std::uint64_t size = btf_size(view, at);
    auto bytes = size ? read_whole({view.arch, view.space}, at, size) : fail(Errc::not_found);
    auto opened = bytes ? open_btf(std::move(*bytes), view.arch.pointer_bytes) : tl::unexpected(bytes.error());
    if (!opened || !(*opened)->size_of("task_struct")) return false;
    types = std::move(*opened);
    names.emplace_back("__start_BTF", at);
    names.emplace_back("__stop_BTF", at + size);
    return true;
  });
  return types;
}

bool is_first_task(const KernelView& view, VirtAddr at) {
  const Record task(view, "task_struct", at);
  const auto list = task.address_of("tasks");
  const auto next = list ? view.pointer_at(*list) : fail(Errc::not_found);
  const auto back = next ? view.pointer_at(*next + view.arch.pointer_bytes) : fail(Errc::not_found);
  return task.number("pid").value_or(1) == 0 && task.number("tgid").value_or(1) == 0 && task.pointer("real_parent").value_or(VirtAddr{}) == at &&
         back && *back == *list;
}

// Lists that modules are on, and the path to what is a module's address in an entry.
struct ListKind {
  const char *symbol, *type, *module;
};
constexpr std::size_t most_heads = 1 << 21;  // a kernel has fewer pointers
constexpr ListKind lists[] = {{"modules", "module", "mkobj.mod"}, {"btf_modules", "btf_module", "module"}};

bool is_entry(const KernelView& view, const ListKind& kind, VirtAddr at) {
  const Record entry(view, kind.type, at);
  const auto module = entry.pointer(kind.module);
  if (!module || !module->raw || Record(view, "module", *module).pointer("mkobj.mod").value_or(VirtAddr{}) != *module) return false;
  if (kind.type == lists[0].type) return *module == at;
  const auto types = entry.follow("btf", "btf");
  const auto name = types ? types->text("name") : fail(Errc::not_found);
  return name && *name == Record(view, "module", *module).text("name").value_or("");
}

// Behind the code, each two words that could be a list's head.
void find_lists(const KernelView& view, std::span<const Window> windows, Names& names) {
  const auto code = view.symbols.find("_stext"), code_end = view.symbols.find("_etext");
  if (!code || !code_end) return;
  const std::uint64_t word = view.arch.pointer_bytes, kernel_half = code->address.raw >> (8 * word - 1) << (8 * word - 1);
  const auto is_data = [&](std::uint64_t at) {
    return at >= kernel_half && at % word == 0 && (at < code->address.raw || at >= code_end->address.raw);
  };
  for (const ListKind& kind : lists) {
    const auto node = view.types.member(kind.type, "list");
    if (!node) continue;
    std::size_t looked_at = 0;
    for (const Window& window : windows)
      each_chunk({view.arch, view.space}, window, word, [&](VirtAddr at, Bytes chunk) {
        if (at + chunk.size() <= code_end->address && at >= code->address) return false;
        const auto number = [&](std::size_t where) { return load_unsigned(chunk.subspan(where, word), view.arch.endian); };
        for (std::size_t i = -at.raw & (word - 1); i + 2 * word <= chunk.size(); i += word) {
          const std::uint64_t next = number(i), head = (at + i).raw;
          if (!is_data(next) || next == head || !is_data(number(i + word)) || number(i + word) == head) continue;
          if (++looked_at > most_heads) return true;
          if (view.pointer_at(VirtAddr{next} + word).value_or(VirtAddr{}).raw != head || !is_entry(view, kind, VirtAddr{next} - node->offset)) continue;
          names.emplace_back(kind.symbol, VirtAddr{head});
          return true;
        }
        return false;
      });
  }
}

}  // namespace

Names find_variables(const KernelView& view, const Vmcoreinfo& info, std::span<const Window> windows) {
  Names names;
  for (auto& [name, address] : info.symbols()) names.emplace_back(std::move(name), VirtAddr{address});
  const auto types = find_btf(view, windows, names);
  const auto comm = types ? types->member("task_struct", "comm") : fail(Errc::not_found);
  if (!comm) return names;
  const KernelView typed{view.arch, view.space, view.symbols, *types};
  each_place({view.arch, view.space}, windows, "swapper", [&](VirtAddr at) {
    if (!is_first_task(typed, at - comm->offset)) return false;
    names.emplace_back("init_task", at - comm->offset);
    return true;
  });
  find_lists(typed, windows, names);
  return names;
}

}  // namespace kvm::os_linux
