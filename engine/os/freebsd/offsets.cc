// Constants, and the offsets of structures.
#include <algorithm>

#include "engine/integers.h"
#include "engine/os/freebsd/model.h"

namespace kvm::os_freebsd {
namespace {

// By exported constant, else by debug information.
Result<std::uint64_t> offset(const KernelView& view, std::string_view constant, std::string_view type, std::string_view member) {
  constexpr std::uint64_t largest_record = 1 << 20;
  if (auto value = read_constant(view, constant); value && *value < largest_record) return value;
  if (auto found = view.types.member(type, member)) return found->offset;
  return fail(Errc::not_found, "the kernel exports no usable " + std::string(constant) + ", and there is no debug information of " + std::string(type) + "::" + std::string(member));
}

}  // namespace

Result<std::uint64_t> read_constant(const KernelView& view, std::string_view symbol, std::size_t bytes) {
  const VirtAddr at = TRY(view.address_of(symbol));
  auto value = view.number_at(at, bytes);
  if (value && *value) return value;
  if (const Bytes own = view.symbols.contents(at, bytes); own.size() == bytes)
    if (const std::uint64_t number = load_unsigned(own, view.arch.endian); number || !value) return number;
  return value;
}

std::optional<std::int64_t> read_int(const KernelView& view, std::string_view symbol) {
  const auto at = view.address_of(symbol);
  const auto value = at ? view.number_at(*at, 4) : fail(Errc::not_found);
  return value ? std::optional<std::int64_t>(static_cast<std::int32_t>(*value)) : std::nullopt;
}

std::uint64_t os_version(const KernelView& view) { return read_constant(view, "osreldate").value_or(0); }

Result<Offsets> read_offsets(const KernelView& view) {
  Offsets all{};
  all.pid = TRY(offset(view, "proc_off_p_pid", "proc", "p_pid"));
  all.comm = TRY(offset(view, "proc_off_p_comm", "proc", "p_comm"));
  all.list = TRY(offset(view, "proc_off_p_list", "proc", "p_list"));
  all.threads = TRY(offset(view, "proc_off_p_threads", "proc", "p_threads"));
  all.tid = TRY(offset(view, "thread_off_td_tid", "thread", "td_tid"));
  all.name = TRY(offset(view, "thread_off_td_name", "thread", "td_name"));
  all.oncpu = TRY(offset(view, "thread_off_td_oncpu", "thread", "td_oncpu"));
  all.pcb = TRY(offset(view, "thread_off_td_pcb", "thread", "td_pcb"));
  all.next_thread = TRY(offset(view, "thread_off_td_plist", "thread", "td_plist"));
  if (auto hash = offset(view, "proc_off_p_hash", "proc", "p_hash")) all.hash = *hash;
  if (auto oncpu = view.types.member("thread", "td_oncpu"); oncpu && oncpu->size == 1) all.oncpu_bytes = 1;
  return all;
}

const arch::SavedFrame* layout_of(const KernelView& view, std::span<const arch::SavedFrame> rows, std::uint64_t size) {
  const arch::SavedFrame* last = nullptr;
  const std::uint64_t version = os_version(view);
  bool contradicted = false;
  for (const arch::SavedFrame& row : rows) {
    if (row.os != "freebsd") continue;
    last = &row;
    if (row.mark.empty()) return last;
    if (const auto mark = view.types.member(row.record, row.mark)) {
      if (mark->offset == row.mark_at) return last;
      contradicted = true;
    } else if (version ? version >= row.since : size && size < row.smaller_than) {
      return last;
    }
  }
  return contradicted ? nullptr : last;
}

}  // namespace kvm::os_freebsd
