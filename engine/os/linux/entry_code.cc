// Call-frame information of the code where interrupts and system calls come in, for kernels without ORC.  A vmlinux describes its
// compiled functions itself, but not these; and what such code saves, and where, only names tell.
#include <algorithm>

#include "engine/os/linux/orc.h"
#include "engine/registers.h"

namespace kvm::os_linux {
namespace {

// What lies below the record in the frame of kthreadd, which always sleeps.
std::optional<std::uint64_t> switch_gap(const KernelView& view) {
  const auto at = view.address_of("kthreadd_task");
  const auto task = at ? view.pointer_at(*at) : fail(Errc::not_found);
  for (const arch::SavedFrame& frame : view.arch.frames) {
    if (!task || frame.os != "linux" || !frame.below_caller) continue;
    const auto stack = Record(view, "task_struct", *task).pointer(frame.path);
    const auto caller = stack ? view.pointer_at(*stack) : fail(Errc::not_found);
    const auto size = view.types.size_of(frame.record);
    if (caller && size) return *caller - *stack - *size;
  }
  return std::nullopt;
}

std::optional<std::uint16_t> record_at(const KernelView& view, const arch::InterruptFrame& frame) {
  for (const arch::InterruptFrame::Depth& depth : frame.depths)
    if (depth.switch_gap == 0 || switch_gap(view) == depth.switch_gap) return depth.record_at;
  return std::nullopt;
}

UnwindRow row_of(const arch::Arch& arch, const arch::EntryCode& code) {
  UnwindRow row{.kind = UnwindRow::Kind::interrupt, .interrupted = true};
  const auto base = register_index(arch, code.base);
  if (base) row.cfa_register = static_cast<std::uint8_t>(arch.registers[*base].dwarf);
  row.cfa_offset = code.offset;
  if (!code.switches_stack) return row;
  row.kind = UnwindRow::Kind::call;
  row.fp = UnwindRow::Saved::at_cfa;
  row.fp_offset = static_cast<std::int16_t>(-2 * arch.pointer_bytes);
  return row;
}

}  // namespace

std::vector<UnwindRow> entry_code(const KernelView& view, const Symbols& symbols) {
  std::vector<UnwindRow> rows;
  const arch::InterruptFrame& frame = view.arch.linux_layout->interrupt_frame;
  const auto add = [&](std::string_view name, UnwindRow row, std::uint16_t from = 0) {
    const auto function = symbols.find(name);
    if (!function || function->size <= from) return;
    row.address = function->address + from;
    rows.push_back(row);
    rows.push_back({.address = function->address + function->size, .kind = UnwindRow::Kind::elsewhere});
  };
  for (std::string_view name : frame.outermost) add(name, {.kind = UnwindRow::Kind::end});
  const auto depth = record_at(view, frame);
  const auto sp = register_index(view.arch, arch::Role::sp);
  for (std::string_view name : frame.functions) {
    if (!depth || !sp) break;
    const bool call = !frame.call_prefix.empty() && name.starts_with(frame.call_prefix);
    UnwindRow row{.kind = UnwindRow::Kind::interrupt, .interrupted = !call};
    row.cfa_register = static_cast<std::uint8_t>(view.arch.registers[*sp].dwarf);
    row.cfa_offset = static_cast<std::int16_t>(*depth);
    add(name, row);
  }
  for (const arch::EntryCode& code : frame.codes) add(code.symbol, row_of(view.arch, code), code.at);
  // Where one function ends, another may begin.
  std::ranges::sort(rows, {}, [](const UnwindRow& row) { return std::pair(row.address, row.kind != UnwindRow::Kind::elsewhere); });
  std::vector<UnwindRow> kept;
  for (const UnwindRow& row : rows) {
    if (!kept.empty() && kept.back().address == row.address) kept.pop_back();
    kept.push_back(row);
  }
  return kept;
}

std::vector<UnwindRow> with_entry_code(const std::vector<UnwindRow>& rows, const std::vector<UnwindRow>& entry) {
  if (rows.empty()) return entry;
  std::vector<UnwindRow> all;
  auto row = rows.begin();
  bool elsewhere = true;
  for (const UnwindRow& over : entry) {
    for (; row != rows.end() && row->address < over.address; ++row)
      if (elsewhere) all.push_back(*row);
    elsewhere = over.kind == UnwindRow::Kind::elsewhere;
    if (!elsewhere) all.push_back(over);
    const bool goes_on = elsewhere && row != rows.begin() && (row == rows.end() || row->address != over.address);
    if (!goes_on) continue;
    all.push_back(row[-1]);
    all.back().address = over.address;
  }
  for (; row != rows.end(); ++row)
    if (elsewhere) all.push_back(*row);
  return all;
}

}  // namespace kvm::os_linux
