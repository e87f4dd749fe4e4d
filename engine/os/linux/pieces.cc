// Puts together what the other files find.
#include "engine/os/linux/pieces.h"

#include <algorithm>

#include "engine/os/linux/orc.h"

namespace kvm::os_linux {
namespace {

// Debuggers are told where the first segment of any file of this kernel lies (qOffsets): the image has to begin where a vmlinux does, also
// where the kernel does not name that place.
void begin_at(VirtAddr first, std::vector<PieceSection>& sections) {
  constexpr std::uint64_t longest_head = 1u << 20;
  const auto lowest = std::ranges::min_element(sections, {}, &PieceSection::address);
  if (lowest == sections.end() || first >= lowest->address || lowest->address - first > longest_head) return;
  lowest->size += lowest->address - first;
  lowest->address = first;
}

}  // namespace

Result<Pieces> collect_pieces(const KernelView& view, const KernelMap& map) {
  Pieces all;
  auto kernel_symbols = TRY(read_kernel_symbols(view, map, all.remarks, all.nature));
  Piece& kernel = all.pieces.emplace_back();
  kernel.sections = kernel_sections(*kernel_symbols);
  if (map.first) begin_at(*map.first, kernel.sections);
  kernel.symbols = kernel_symbols->all();
  if (auto btf = read_kernel_btf(view, *kernel_symbols)) kernel.btf = std::move(*btf);
  else all.remarks.push_back("the kernel's own types are missing: " + to_string(btf.error()) + ": functions and variables have no types");
  all.variables = known_variables(*kernel_symbols);
  const std::size_t remarks = all.remarks.size();
  kernel.unwind = kernel_unwind(view, *kernel_symbols, all.remarks);
  all.unwind_whole = all.remarks.size() == remarks;
  kernel.unwind = with_entry_code(code_unwind(view, kernel), kernel.unwind);
  add_interrupt_places(view, all);
  all.names.push_back(std::move(kernel_symbols));

  const auto modules = find_modules(view, all.remarks);
  if (!modules) return all;
  auto types = read_module_btf(view, all.remarks);
  std::size_t nameless = 0;
  for (const Module& module : *modules) {
    Piece& piece = all.pieces.emplace_back();
    piece.name = module.name;
    piece.sections = module_sections(module);
    piece.btf = std::move(types[module.handle.raw]);
    const std::size_t before = all.remarks.size();
    piece.unwind = module_unwind(view, module, all.remarks);
    all.unwind_whole &= all.remarks.size() == before;
    auto symbols = read_module_symbols(view, module);
    if (symbols) {
      piece.symbols = (*symbols)->all();
      all.names.push_back(std::move(*symbols));
    } else {
      ++nameless;
    }
    if (piece.unwind.empty()) piece.unwind = code_unwind(view, piece);
  }
  if (nameless) all.remarks.push_back("the symbols of " + std::to_string(nameless) + " module(s) cannot be read: their functions have no names");
  return all;
}

}  // namespace kvm::os_linux
