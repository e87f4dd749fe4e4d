#include "engine/image/functions.h"

#include <algorithm>

namespace kvm::image {
namespace {

bool is_code(char kind) { return kind == 't' || kind == 'T' || kind == 'w' || kind == 'W'; }
bool is_global(char kind) { return kind >= 'A' && kind <= 'Z'; }

// Functions of one BTF by name.  Statics of several files can share a name.
class FunctionNames {
 public:
  FunctionNames(const TypeTable& types, TypeTable::Range range) : types_(types), index_(count(range)) {
    for (NodeId id = range.first; id < range.end; ++id) {
      if (types_[id].kind != BtfKind::function) continue;
      NodeId& known = index_.add(name_of(id), id, [this](NodeId n) { return name_of(n); });
      if (known != id && !same_prototype(known, id)) several_.push_back(known);
    }
    std::sort(several_.begin(), several_.end());
  }
  // 0: there is none, or nobody knows which one.
  NodeId find(std::string_view name) const {
    const NodeId* id = index_.find(name, [this](NodeId n) { return name_of(n); });
    if (!id || types_[types_[*id].target].kind != BtfKind::prototype) return 0;
    return std::binary_search(several_.begin(), several_.end(), *id) ? 0 : *id;
  }

 private:
  std::size_t count(TypeTable::Range range) const {
    std::size_t n = 0;
    for (NodeId id = range.first; id < range.end; ++id) n += types_[id].kind == BtfKind::function;
    return n;
  }
  std::string_view name_of(NodeId id) const { return types_.text(types_[id].name); }
  // But for the parameters' names.
  bool same_prototype(NodeId a, NodeId b) const {
    const Node &x = types_[types_[a].target], &y = types_[types_[b].target];
    bool same = x.kind == y.kind && types_.references(x) == types_.references(y);
    for (std::uint32_t i = 0; same && i < types_.references(x); ++i) same = types_.reference(x, i) == types_.reference(y, i);
    return same;
  }

  const TypeTable& types_;
  NameIndex index_;
  std::vector<NodeId> several_;  // the first of those with a name, where prototypes differ
};

}  // namespace

std::vector<FunctionPlan> find_functions(const Piece& piece, std::size_t number, TypeTable& types, const Places& places) {
  const FunctionNames functions(types, types.range(number));
  const std::vector<Symbol>& symbols = piece.symbols;
  std::vector<FunctionPlan> plans;
  VirtAddr end{0};  // of the functions so far
  auto row = piece.unwind.begin();
  // From the first to the last row of a signal frame among those from `from` up to `next`.  Asked in the order of addresses.
  const auto signal_frame = [&](VirtAddr from, VirtAddr next) {
    while (row != piece.unwind.end() && row->address < from) ++row;
    CodeRange found{from, 0};
    for (; row != piece.unwind.end() && row->address < next; ++row) {
      if (!row->breaks_order()) continue;
      if (found.size == 0) found.first = row->address;
      found.size = (std::next(row) == piece.unwind.end() ? next : std::min(next, std::next(row)->address)) - found.first;
    }
    return found;
  };
  for (std::size_t i = 0, next; i < symbols.size(); i = next) {
    // Names of one address are names of one function.  The first is the one that the kernel itself would print.
    const Symbol* first = nullptr;
    NodeId function = 0;
    for (next = i; next < symbols.size() && symbols[next].address == symbols[i].address; ++next) {
      if (!is_code(symbols[next].kind) || symbols[next].name.empty()) continue;
      if (!first) first = &symbols[next];
      if (function == 0) function = functions.find(symbols[next].name);
    }
    if (!first || first->address < end) continue;
    const CodeRange signal = signal_frame(first->address, next < symbols.size() ? symbols[next].address : VirtAddr{~std::uint64_t{0}});
    if (function == 0 && signal.size == 0) continue;
    const PlacedSection* section = places.at(first->address);
    if (!section || !section->code || !section->contains(first->address)) continue;
    std::uint64_t size = extent_of(symbols, static_cast<std::size_t>(first - symbols.data()), *section);
    size = std::min({size, section->first + section->size - first->address, std::uint64_t{1} << 31});
    if (next < symbols.size() && is_code(symbols[next].kind)) size = std::min(size, symbols[next].address - first->address);
    const Node node = types[function];
    const std::uint32_t name = function != 0 && types.text(node.name) == first->name ? node.name : types.add_string(first->name);
    plans.push_back({name, function != 0 ? node.target : 0, {first->address, size}, section->number, is_global(first->kind), {signal.first, std::min(signal.size, size - std::min(size, signal.first - first->address))}});
    end = first->address + size;
  }
  return plans;
}

}  // namespace kvm::image
