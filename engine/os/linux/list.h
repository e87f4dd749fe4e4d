// The kernel's circular doubly linked lists (include/linux/list.h), walked with a bound: a damaged list ends early.
#pragma once

#include <functional>
#include <string>
#include <unordered_set>

#include "engine/record.h"

namespace kvm::os_linux {

constexpr std::size_t list_limit = 1u << 22;  // Linux's own limit of tasks, PID_MAX_LIMIT

// Calls `visit` with the address of each record on the list, whose list_head lies `offset` bytes into it.
// Returns what ended the walk early, empty when it came back to its head.  `seen` are the nodes met so far: lists that
// share it are disjoint, so that all their walks together take no more steps than there are nodes.
inline std::string walk_list(const KernelView& view, VirtAddr head, std::uint64_t offset, std::unordered_set<std::uint64_t>& seen,
                             const std::function<void(VirtAddr)>& visit) {
  auto next = view.pointer_at(head);
  while (next && *next != head) {
    if (!seen.insert(next->raw).second) return "it loops or runs into another list";
    if (seen.size() > list_limit) return "it is too long";
    visit(*next - offset);
    next = view.pointer_at(*next);
  }
  return next ? "" : to_string(next.error());
}

inline std::string walk_list(const KernelView& view, VirtAddr head, std::uint64_t offset, const std::function<void(VirtAddr)>& visit) {
  std::unordered_set<std::uint64_t> seen;
  return walk_list(view, head, offset, seen, visit);
}

}  // namespace kvm::os_linux
