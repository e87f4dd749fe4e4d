// What must hold before types are written: no cycles but through records, no endless chains, and which names mean what.
#include "engine/image/type_table.h"
#include "engine/symbols/name_index.h"

namespace kvm::image {
namespace {

// C has no limit to how deep types nest, nor to how many it takes to spell one; in real kernels neither goes beyond 32.
constexpr std::uint8_t deepest = 64, heaviest = 128;

bool is_definition(const Node& node) { return node.is_record() || node.is_enumeration(); }

// Types with a name of their own, which people ask for.
bool is_named_kind(const Node& node) {
  return is_definition(node) || node.kind == BtfKind::type_def || node.kind == BtfKind::integer || node.kind == BtfKind::floating;
}

}  // namespace

// C cannot express a type that contains itself, nor one that leads to itself other than through a record: so there are
// two walks, one that does not enter records, and one that enters only what lies inside by value.
void TypeTable::break_cycles() {
  break_cycles([](const Node& node) { return !is_definition(node); }, true);
  break_cycles([](const Node& node) { return node.is_record() || node.is_alias() || node.kind == BtfKind::array; }, false);
}

// Depth first, without recursion.  A type that refers to one still being walked, or from which it goes too deep, is broken.
template <class Follow>
void TypeTable::break_cycles(const Follow& follow, bool weigh) {
  constexpr std::uint8_t unseen = 0xff, open = 0xfe;
  struct Step {
    NodeId id;
    std::uint32_t next, references;
    std::uint8_t depth;
  };
  std::vector<std::uint8_t> depths(nodes_.size(), unseen);
  std::vector<Step> stack;
  const auto enter = [&](NodeId id) {
    const bool inside = follow(nodes_[id]);
    depths[id] = open;
    stack.push_back({id, 0, inside ? references(nodes_[id]) : 0, 0});
  };
  for (NodeId root = 1; root < nodes_.size(); ++root) {
    if (depths[root] == unseen) enter(root);
    while (!stack.empty()) {
      Step& step = stack.back();
      Node& node = nodes_[step.id];
      if (step.next < step.references) {
        const NodeId child = reference(node, step.next);
        if (child != 0 && depths[child] == unseen) {
          enter(child);
          continue;  // and come back to the same reference
        }
        ++step.next;
        if (weigh) node.weight = static_cast<std::uint8_t>(std::min(0xff, node.weight + nodes_[child].weight));
        if (child == 0) continue;
        if (depths[child] == open || depths[child] + 1 > deepest) {
          node.broken = true;
          step.next = step.references;
          step.depth = 0;
        } else {
          step.depth = std::max<std::uint8_t>(step.depth, static_cast<std::uint8_t>(depths[child] + 1));
        }
        continue;
      }
      depths[step.id] = step.depth;
      node.homed = is_named_kind(node);
      node.broken |= node.weight > heaviest;
      if (node.broken || node.homed) node.weight = 1;  // to whoever refers to it
      stack.pop_back();
    }
  }
}

// Whether the types would become far more DWARF than BTF: those that are not homed are written in each unit that uses them.
bool TypeTable::weighs_too_much() const {
  std::uint64_t weight = 0, size = 0;
  for (const Node& node : nodes_) {
    size += 1 + std::uint64_t{node.count} / 2;
    const Node& user = node.kind == BtfKind::function ? nodes_[node.target] : node;
    if (user.homed == (node.kind == BtfKind::function)) continue;
    for (std::uint32_t i = 0; i < references(user); ++i) weight += nodes_[reference(user, i)].weight;
  }
  return weight > 16 * size + 4096;
}

void TypeTable::find_declarable_records() {
  const auto name_of = [this](std::uint32_t id) { return text(nodes_[id].name); };
  std::vector<NodeId> records;
  for (NodeId id = 1; id < nodes_.size(); ++id)
    if (nodes_[id].is_record() && !name_of(id).empty()) records.push_back(id);
  NameIndex index(records.size());
  const auto first_of_name = [&](NodeId id) -> Node& { return nodes_[index.add(name_of(id), id, name_of)]; };
  for (const NodeId id : records) {
    Node& first = first_of_name(id);
    // Modules repeat types that are not in the kernel's BTF.  In one BTF, types are repeated only because they differ.
    first.declarable = &first == &nodes_[id] || (first.declarable && first.piece != nodes_[id].piece && looks_same(first, nodes_[id]));
  }
  for (const NodeId id : records) nodes_[id].declarable = first_of_name(id).declarable;
}

bool TypeTable::looks_same(const Node& a, const Node& b) const {
  if (a.kind != b.kind || a.size != b.size || a.count != b.count) return false;
  for (std::uint32_t i = 0; i < a.count; ++i) {
    const MemberInfo x = member(a, i), y = member(b, i);
    if (x.bit_offset != y.bit_offset || x.bits != y.bits || (x.name != y.name && text(x.name) != text(y.name))) return false;
  }
  return true;
}

}  // namespace kvm::image
