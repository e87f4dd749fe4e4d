#include "engine/image/homes.h"

#include <numeric>

namespace kvm::image {
namespace {

// Members and enumerators, about.  gdb reads some ten thousand in the time that a person calls at once.
constexpr std::uint32_t unit_load = 1000;

}  // namespace

Homes::Homes(const TypeTable& types) : user_(types.size()), root_(types.size()), unit_of_(types.size()) {
  for (std::uint32_t piece = 0; piece < types.pieces(); ++piece) {
    find_users(types, types.range(piece));
    find_roots(types.range(piece));
    cut_units(types, piece);
  }
}

void Homes::find_users(const TypeTable& types, TypeTable::Range range) {
  for (NodeId id = range.first; id < range.end; ++id) {
    const Node& node = types[id];
    if (node.homed) {
      for (std::uint32_t i = 0; i < types.references(node); ++i)
        note_user(types, types.reference(node, i), refers_by_name(node, false), id);
    } else if (node.kind == BtfKind::function) {
      const Node& prototype = types[node.target];
      for (std::uint32_t i = 0; i < types.references(prototype); ++i) note_user(types, types.reference(prototype, i), true, several);
    }
  }
}

// What is not homed is spelled where it is used: what it leads to has the same user.
void Homes::note_user(const TypeTable& types, NodeId type, bool by_name, NodeId user) {
  const Node& node = types[type];
  if (!node.homed) {
    for (std::uint32_t i = 0; i < types.references(node); ++i)
      note_user(types, types.reference(node, i), refers_by_name(node, by_name), user);
  } else if (!(by_name && node.declarable)) {
    NodeId& known = user_[type];
    known = known == nobody || known == user ? user : several;
  }
}

void Homes::find_roots(TypeTable::Range range) {
  std::vector<NodeId> path;
  for (NodeId id = range.first; id < range.end; ++id) {
    NodeId at = id;
    while (root_[at] == 0 && user_[at] >= range.first && user_[at] < range.end) {
      path.push_back(at);
      root_[at] = at;  // should the users go in a circle
      at = user_[at];
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
  for (const bool shared : {true, false}) {
    std::uint32_t load = unit_load;
    for (NodeId root = first; root < end; ++root) {
      if (!types[root].homed || root_[root] != root || (user_[root] == several) != shared) continue;
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
