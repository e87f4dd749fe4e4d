// The frames of entry code.  It is assembly that no debug information describes; kernel debuggers know it by the names of its
// functions (fbsd-kern.c of the processors in FreeBSD's gdb; sys/PROCESSOR/PROCESSOR/db_trace.c).
#include <algorithm>

#include "engine/os/freebsd/model.h"
#include "engine/symbols/labels.h"

namespace kvm::os_freebsd {
namespace {

// Of assembly functions few have a size: one ends where the next symbol is.
struct Function {
  VirtAddr first, end;
  const arch::TrapEntry* entry;
};

const arch::TrapEntry* entry_of(std::span<const arch::TrapEntry> entries, std::string_view name) {
  const auto goes_on = [](std::string_view rest) { return !rest.empty() && ((rest[0] >= 'a' && rest[0] <= 'z') || (rest[0] >= '0' && rest[0] <= '9')); };
  for (const arch::TrapEntry& entry : entries)
    if (name == entry.name || (entry.prefix && name.starts_with(entry.name) && goes_on(name.substr(entry.name.size())))) return &entry;
  return nullptr;
}

std::vector<Function> entry_functions(const KernelView& view, const arch::FreebsdTraps& traps) {
  std::vector<Symbol> all = view.symbols.all();
  std::erase_if(all, [](const Symbol& symbol) { return (symbol.kind != 't' && symbol.kind != 'T') || is_mere_label(symbol.name); });
  std::ranges::sort(all, {}, [](const Symbol& symbol) { return std::pair(symbol.address, symbol.name); });
  std::vector<Function> functions;
  for (std::size_t i = 0; i < all.size(); ++i) {
    const arch::TrapEntry* entry = entry_of(traps.entries, all[i].name);
    if (!entry) continue;
    VirtAddr end = all[i].address + std::max<std::uint64_t>(all[i].size, 1);
    for (std::size_t next = i + 1; next < all.size() && !all[i].size; ++next)
      if (all[next].address != all[i].address) {
        end = all[next].address;
        break;
      }
    if (functions.empty() || functions.back().end <= all[i].address) functions.push_back({all[i].address, end, entry});
  }
  return functions;
}

std::uint8_t dwarf_number(const arch::Arch& arch, std::optional<std::size_t> index) {
  return index ? static_cast<std::uint8_t>(std::max<int>(arch.registers[*index].dwarf, 0)) : std::uint8_t{0};
}

// The cfa is the trap frame's end, which is not the cfa of what the entry code calls: debuggers take two such frames for one.  Where
// user code is told by a word of the frame, the cfa is its beginning.
std::int64_t frame_bytes(const KernelView& view, const arch::FreebsdTraps& traps) {
  const arch::SavedFrame* frame = traps.user_register.empty() ? layout_of(view, traps.frames, 0) : nullptr;
  std::int64_t bytes = 0;
  for (const arch::SavedRegister& saved : frame ? frame->regs : std::span<const arch::SavedRegister>())
    bytes = std::max<std::int64_t>(bytes, saved.word_at + view.arch.pointer_bytes);
  return bytes;
}

void add_rows(const KernelView& view, const std::vector<Function>& functions, std::int64_t bytes, std::uint64_t moved, std::vector<UnwindRow>& rows) {
  for (const Function& function : functions) {
    UnwindRow row{.address = function.first + moved};
    row.kind = function.entry->outermost ? UnwindRow::Kind::end : UnwindRow::Kind::interrupt;
    row.interrupted = !function.entry->outermost && !function.entry->call;
    row.cfa_register = dwarf_number(view.arch, register_index(view.arch, arch::Role::sp));
    row.cfa_offset = static_cast<std::int16_t>(function.entry->offset + bytes);
    if (!rows.empty() && rows.back().address == row.address) rows.pop_back();
    rows.push_back(row);
    rows.push_back({.address = function.end + moved, .kind = UnwindRow::Kind::elsewhere});
  }
}

void add_places(const KernelView& view, const arch::FreebsdTraps& traps, std::int64_t bytes, Pieces& pieces) {
  const arch::SavedFrame* frame = layout_of(view, traps.frames, 0);
  for (const arch::SavedRegister& saved : frame ? frame->regs : std::span<const arch::SavedRegister>()) {
    const auto index = register_index(view.arch, saved.reg);
    if (!index) continue;
    if (saved.reg == traps.user_register) {
      pieces.user_sign = {saved.word_at, traps.user_mask};
      if (traps.users_stack_only) pieces.stack_switch = StackSwitch{saved.word_at, static_cast<std::uint8_t>(traps.user_mask)};
    }
    if (view.arch.registers[*index].role == arch::Role::pc && view.arch.registers[*index].dwarf < 0) {
      pieces.pc_column = traps.pc_column;
      pieces.interrupt_frame.push_back({traps.pc_column, saved.word_at - bytes});
    }
    if (view.arch.registers[*index].dwarf < 0) continue;
    pieces.interrupt_frame.push_back({dwarf_number(view.arch, index), saved.word_at - bytes});
  }
}

}  // namespace

Pieces trap_pieces(const KernelView& view) {
  Pieces all;
  Piece& kernel = all.pieces.emplace_back();
  const arch::FreebsdTraps* traps = view.arch.freebsd_traps;
  const auto functions = traps ? entry_functions(view, *traps) : std::vector<Function>();
  if (functions.empty() || !layout_of(view, traps->frames, 0)) return all;
  kernel.sections.push_back({".text", functions.front().first, functions.back().end - functions.front().first, true, false});
  const std::int64_t bytes = frame_bytes(view, *traps);
  add_rows(view, functions, bytes, 0, kernel.unwind);
  if (const auto moved = traps->moved.empty() ? std::nullopt : read_int(view, traps->moved); moved && *moved)
    add_rows(view, functions, bytes, static_cast<std::uint64_t>(*moved) & (view.arch.pointer_bytes == 4 ? 0xffff'ffff : ~std::uint64_t{0}), kernel.unwind);
  std::ranges::sort(kernel.unwind, {}, &UnwindRow::address);
  add_places(view, *traps, bytes, all);
  return all;
}

}  // namespace kvm::os_freebsd
