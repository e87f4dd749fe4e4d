#include "engine/image/homes.h"

#include <numeric>

namespace kvm::image {
namespace {

// Members and enumerators, about.  gdb reads some ten thousand in the time that a person calls at once.
constexpr std::uint32_t unit_load = 1000;

enum class Group : std::uint8_t { simple, shared, private_ };

}  // namespace

Homes::Homes(const TypeTable& types) : user_(types.size()), root_(types.size()), unit_of_(types.size()) {
  for (std::uint32_t piece = 0; piece < types.pieces(); ++piece) {
    find_users(types, types.range(piece));
    find_roots(types, types.range(piece));
    cut_units(types, piece);
  }
}

// The record or enumeration that a typedef is another name of; 0: it names something else.
NodeId renamed(const TypeTable& types, const Node& node) {
  NodeId id = node.target;
  if (node.kind != BtfKind::type_def || node.broken) return 0;
  while ((types[id].is_alias() || types[id].kind == BtfKind::array) && !types[id].broken) id = types[id].target;
  return types[id].is_record() || types[id].is_enumeration() ? id : 0;
}

void Homes::find_users(const TypeTable& types, TypeTable::Range range) {
  for (NodeId id = range.first; id < range.end; ++id) {
    const Node& node = types[id];
    if (node.homed && renamed(types, node) == 0) {
      for (std::uint32_t i = 0; i < types.references(node); ++i)
        note_user(types, types.reference(node, i), refers_by_name(node, false), id);
    } else if (node.kind == BtfKind::function) {
      const Node& prototype = types[node.target];
      for (std::uint32_t i = 0; i < types.references(prototype); ++i) note_user(types, types.reference(prototype, i), true, several);
    }
  }
}

// What is not homed is spelled where it is used, and a typedef stands with what it names: these lead on to the same user.
void Homes::note_user(const TypeTable& types, NodeId type, bool by_name, NodeId user) {
  const Node& node = types[type];
  if (node.homed && by_name && node.declarable) return;
  if (node.homed) user_[type] = user_[type] == nobody || user_[type] == user ? user : several;
  if (node.homed && renamed(types, node) == 0) return;
  for (std::uint32_t i = 0; i < types.references(node); ++i)
    note_user(types, types.reference(node, i), refers_by_name(node, by_name && !node.homed), user);
}

NodeId Homes::stands_with(const TypeTable& types, NodeId id, TypeTable::Range range) const {
  const NodeId other = renamed(types, types[id]) ? renamed(types, types[id]) : user_[id];
  return other >= range.first && other < range.end ? other : id;
}

void Homes::find_roots(const TypeTable& types, TypeTable::Range range) {
  std::vector<NodeId> path;
  for (NodeId id = range.first; id < range.end; ++id) {
    NodeId at = id;
    for (NodeId next; root_[at] == 0 && (next = stands_with(types, at, range)) != at; at = next) {
      path.push_back(at);
      root_[at] = at;  // should they stand in a circle
    }
    if (root_[at] == 0) root_[at] = at;
    for (const NodeId step : path) root_[step] = root_[at];
    path.clear();
  }
}

void Homes::cut_units(const TypeTable& types, std::uint32_t piece) {
  const auto [first, end] = types.range(piece);
  // Lists of what stands with each root.
  std::vector<NodeId> next(end - first), last(end - first);
  std::iota(last.begin(), last.end(), first);
  for (NodeId id = first; id < end; ++id) {
    const NodeId root = root_[id];
    if (!types[id].homed || root == id) continue;
    next[last[root - first] - first] = id;
    last[root - first] = id;
  }
  const auto group_of = [&](NodeId root) {
    if (user_[root] != several) return Group::private_;
    return types[root].is_record() || types[root].is_enumeration() ? Group::shared : Group::simple;
  };
  for (const Group group : {Group::simple, Group::shared, Group::private_}) {
    std::uint32_t load = unit_load;
    for (NodeId root = first; root < end; ++root) {
      if (!types[root].homed || root_[root] != root || group_of(root) != group) continue;
      if (load >= unit_load) {
        const auto at = static_cast<std::uint32_t>(order_.size());
        units_.push_back({piece, at, at});
        load = 0;
      }
      for (NodeId id = root; id != 0; id = next[id - first]) {
        order_.push_back(id);
        unit_of_[id] = static_cast<std::uint32_t>(units_.size() - 1);
        load += 1 + types[id].count;
      }
      units_.back().end = static_cast<std::uint32_t>(order_.size());
    }
  }
}

}  // namespace kvm::image
