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

// Whether a frame of the code breaks the order of stacks.  Asked in the order of addresses.
class SignalFrames {
 public:
  explicit SignalFrames(const std::vector<UnwindRow>& rows) : row_(rows.begin()), end_(rows.end()) {}

  bool any(VirtAddr from, VirtAddr next) {
    while (row_ != end_ && std::next(row_) != end_ && std::next(row_)->address <= from) ++row_;
    const auto past = std::find_if(row_, end_, [&](const UnwindRow& row) { return row.address >= next; });
    return std::any_of(row_, past, [](const UnwindRow& row) { return row.breaks_order(); });
  }

 private:
  std::vector<UnwindRow>::const_iterator row_, end_;
};

// Names of one address are names of one function.  The first is the one that the kernel itself would print.
struct Names {
  const Symbol* first = nullptr;
  NodeId function = 0;
  std::size_t next = 0;  // the first symbol of another address
};
Names names_at(const std::vector<Symbol>& symbols, std::size_t index, const FunctionNames& functions) {
  Names names;
  for (names.next = index; names.next < symbols.size() && symbols[names.next].address == symbols[index].address; ++names.next) {
    const Symbol& symbol = symbols[names.next];
    if (!is_code(symbol.kind) || symbol.name.empty()) continue;
    if (!names.first) names.first = &symbol;
    if (names.function == 0) names.function = functions.find(symbol.name);
  }
  return names;
}

}  // namespace

std::vector<FunctionPlan> find_functions(const Piece& piece, std::size_t number, TypeTable& types, const Places& places) {
  const FunctionNames functions(types, types.range(number));
  const std::vector<Symbol>& symbols = piece.symbols;
  SignalFrames signal_frames(piece.unwind);
  std::vector<FunctionPlan> plans;
  VirtAddr end{0};  // of the functions so far
  Names names;
  for (std::size_t i = 0; i < symbols.size(); i = names.next) {
    names = names_at(symbols, i, functions);
    if (!names.first || names.first->address < end) continue;
    const Symbol& symbol = *names.first;
    const VirtAddr next = names.next < symbols.size() ? symbols[names.next].address : VirtAddr{~std::uint64_t{0}};
    const bool signal_frame = signal_frames.any(symbol.address, next);
    const PlacedSection* section = places.at(symbol.address);
    if ((names.function == 0 && !signal_frame) || !section || !section->code || !section->contains(symbol.address)) continue;
    std::uint64_t size = extent_of(symbols, static_cast<std::size_t>(&symbol - symbols.data()), *section);
    size = std::min({size, section->first + section->size - symbol.address, std::uint64_t{1} << 31});
    if (names.next < symbols.size() && is_code(symbols[names.next].kind)) size = std::min(size, next - symbol.address);
    const Node node = types[names.function];
    const bool told = names.function != 0 && types.text(node.name) == symbol.name;
    plans.push_back({told ? node.name : types.add_string(symbol.name), names.function != 0 ? node.target : 0, {symbol.address, size},
                     section->number, is_global(symbol.kind), signal_frame});
    end = symbol.address + size;
  }
  return plans;
}

}  // namespace kvm::image
