// The kernel's circular doubly linked lists (include/linux/list.h), walked with a bound: a damaged list ends early.
#pragma once

#include <functional>
#include <string>
#include <unordered_set>

#include "engine/record.h"

namespace kvm::os_linux {

constexpr std::size_t list_limit = 1u << 22;  // Linux's own limit of tasks, PID_MAX_LIMIT

// Calls `visit` with the address of each record on the list, whose list_head lies `offset` bytes into it.
// Returns what ended the walk early, empty when it came back to its head.
inline std::string walk_list(const KernelView& view, VirtAddr head, std::uint64_t offset, const std::function<void(VirtAddr)>& visit) {
  std::unordered_set<std::uint64_t> seen;
  auto next = view.pointer_at(head);
  while (next && *next != head) {
    if (!seen.insert(next->raw).second) return "it loops";
    if (seen.size() > list_limit) return "it is too long";
    visit(*next - offset);
    next = view.pointer_at(*next);
  }
  return next ? "" : to_string(next.error());
}

}  // namespace kvm::os_linux
