// The kernel's circular doubly linked lists (include/linux/list.h), walked with a bound: a damaged list ends early.
#pragma once

#include <functional>
#include <string>
#include <unordered_set>

#include "engine/record.h"

namespace kvm::os_linux {

constexpr std::size_t list_limit = 1u << 22;  // Linux's own limit of tasks, PID_MAX_LIMIT

// From `head` on by the pointers at `link` in each node, until it comes back, or something ends the walk early: then that is returned.
inline std::string follow_links(const KernelView& view, VirtAddr head, std::uint64_t link, std::unordered_set<std::uint64_t>& seen,
                                const std::function<void(VirtAddr)>& visit) {
  auto node = view.pointer_at(head + link);
  while (node && *node != head) {
    if (!seen.insert(node->raw).second) return "it loops or runs into another list";
    if (seen.size() > list_limit) return "it is too long";
    visit(*node);
    node = view.pointer_at(*node + link);
  }
  return node ? "" : to_string(node.error());
}

// Calls `visit` with the address of each record on the list, whose list_head lies `offset` bytes into it.
// Returns what ended the walk early, empty when it came back to its head; what can be had from the other end is visited, too.
// `seen` are the nodes met so far: lists that share it are disjoint, so that all their walks together take no more steps than
// there are nodes.
inline std::string walk_list(const KernelView& view, VirtAddr head, std::uint64_t offset, std::unordered_set<std::uint64_t>& seen,
                             const std::function<void(VirtAddr)>& visit) {
  const auto record = [&](VirtAddr node) { visit(node - offset); };
  const std::string broken = follow_links(view, head, 0, seen, record);
  if (!broken.empty()) follow_links(view, head, view.arch.pointer_bytes, seen, record);
  return broken;
}

inline std::string walk_list(const KernelView& view, VirtAddr head, std::uint64_t offset, const std::function<void(VirtAddr)>& visit) {
  std::unordered_set<std::uint64_t> seen;
  return walk_list(view, head, offset, seen, visit);
}

}  // namespace kvm::os_linux
