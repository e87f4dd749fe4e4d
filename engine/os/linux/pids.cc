// The table of process ids, an XArray (lib/xarray.c, since v4.20): how to find tasks when their list is cut.
#include <unordered_set>

#include "engine/os/linux/model.h"

namespace kvm::os_linux {
namespace {

constexpr unsigned deepest = 11;  // levels of 6 bits for a 64-bit index
constexpr std::uint64_t most_slots = 64, most_pids = 1u << 22;  // XA_CHUNK_SIZE, PID_MAX_LIMIT

// An entry whose low bits are 10 is a node; leaves are pointers with low bits 00.
bool is_node(VirtAddr entry) { return (entry.raw & 3) == 2 && entry.raw > 4096; }

// `nodes` are those already entered: a damaged tree may lead back into itself.
void collect(const KernelView& view, VirtAddr entry, unsigned depth, std::unordered_set<std::uint64_t>& nodes, std::vector<VirtAddr>& pids) {
  if (pids.size() >= most_pids || depth > deepest) return;
  if (!is_node(entry)) {
    if (entry.raw && (entry.raw & 3) == 0) pids.push_back(entry);
    return;
  }
  if (!nodes.insert(entry.raw).second) return;
  auto slots = Record(view, "xa_node", VirtAddr{entry.raw - 2}).address_of("slots");
  if (!slots) return;
  for (std::uint64_t i = 0; i < most_slots; ++i)
    if (auto slot = view.pointer_at(*slots + i * view.arch.pointer_bytes)) collect(view, *slot, depth + 1, nodes, pids);
}

}  // namespace

std::vector<VirtAddr> tasks_by_pid(const KernelView& view) {
  std::vector<VirtAddr> pids, tasks;
  auto space = view.address_of("init_pid_ns");
  auto head = space ? Record(view, "pid_namespace", *space).pointer("idr.idr_rt.xa_head") : fail(Errc::not_found);
  auto link = view.types.member("task_struct", "pid_links[0]");  // since v4.19
  if (!head || !link) return tasks;
  std::unordered_set<std::uint64_t> nodes;
  collect(view, *head, 0, nodes, pids);
  for (VirtAddr pid : pids)
    if (auto first = Record(view, "pid", pid).pointer("tasks[0].first"); first && first->raw) tasks.push_back(*first - link->offset);
  return tasks;
}

}  // namespace kvm::os_linux
