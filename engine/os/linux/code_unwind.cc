// The code and where its functions begin, for engine/code_frames.h.
#include <algorithm>

#include "engine/code_frames.h"
#include "engine/os/linux/kallsyms_search.h"
#include "engine/os/linux/pieces.h"
#include "engine/symbols/labels.h"

namespace kvm::os_linux {

// What is missing of the code reads as zeros, which are no instructions.
std::vector<UnwindRow> code_unwind(const KernelView& view, const Piece& piece) {
  constexpr std::uint64_t most_code = 256u << 20;
  std::vector<UnwindRow> rows;
  if (!view.arch.frame_code || !view.arch.linux_layout) return rows;
  const std::string_view entry = view.arch.linux_layout->interrupt_frame.call_prefix;
  for (const PieceSection& section : piece.sections) {
    if (!section.code || section.size > most_code) continue;
    std::vector<CodeFunction> functions;
    const auto first = std::ranges::lower_bound(piece.symbols, section.address, {}, &Symbol::address);
    for (auto symbol = first; symbol != piece.symbols.end() && symbol->address - section.address < section.size; ++symbol) {
      const bool code = symbol->kind == 't' || symbol->kind == 'T' || symbol->kind == 'w' || symbol->kind == 'W';
      if (code && !is_mere_label(symbol->name) && (functions.empty() || functions.back().address != symbol->address))
        functions.push_back({symbol->address, !entry.empty() && symbol->name.starts_with(entry)});
    }
    if (functions.empty()) continue;
    const PartialBytes code = read_table({view.arch, view.space}, section.address, section.size);
    const auto found = frames_of_code(view.arch, section.address, code.bytes, functions);
    rows.insert(rows.end(), found.begin(), found.end());
  }
  return rows;
}

}  // namespace kvm::os_linux
