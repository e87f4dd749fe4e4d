// Variables with types: those of the BTF (per-CPU ones) and those that the OS model knows.
#include <algorithm>
#include <optional>

#include "engine/image/functions.h"
#include "engine/image/type_names.h"

namespace kvm::image {
namespace {

struct Wanted {
  std::string_view name;
  NodeId type;
  std::optional<std::uint32_t> offset;  // in its section
};

bool is_global(char kind) { return kind >= 'A' && kind <= 'Z'; }
bool is_code(char kind) { return kind == 't' || kind == 'T' || kind == 'w' || kind == 'W'; }

// The symbols of a piece that have one of the wanted names.
class Candidates {
 public:
  Candidates(const Piece& piece, const std::vector<Wanted>& wanted) : wanted_(wanted), index_(wanted.size()), found_(wanted.size()) {
    const auto name_of = [&](std::uint32_t n) { return wanted[n].name; };
    for (std::uint32_t i = 0; i < wanted.size(); ++i) index_.add(wanted[i].name, i, name_of);
    if (wanted.empty()) return;
    for (const Symbol& symbol : piece.symbols) {
      if (is_code(symbol.kind)) continue;
      if (const std::uint32_t* n = index_.find(symbol.name, name_of)) found_[*n].push_back(&symbol);
      if (symbol.name == "__per_cpu_start") section_start_ = symbol.address;
    }
  }

  // Statics of several files can share a name: then the offset in the section tells.
  const Symbol* choose(std::uint32_t n) const {
    const auto name_of = [&](std::uint32_t i) { return wanted_[i].name; };
    const auto& symbols = found_[*index_.find(wanted_[n].name, name_of)];
    if (symbols.size() == 1) return symbols[0];
    for (const Symbol* symbol : symbols)
      if (wanted_[n].offset && (symbol->address - section_start_ == *wanted_[n].offset || symbol->address.raw == *wanted_[n].offset))
        return symbol;
    return nullptr;
  }

 private:
  const std::vector<Wanted>& wanted_;
  NameIndex index_;
  std::vector<std::vector<const Symbol*>> found_;  // by number of the first that wants the name
  VirtAddr section_start_{0};
};

std::vector<Wanted> described_by_btf(const TypeTable& types, TypeTable::Range range) {
  std::vector<Wanted> wanted;
  for (NodeId id = range.first; id < range.end; ++id) {
    if (types[id].kind != BtfKind::section) continue;
    for (std::uint32_t i = 0; i < types[id].count; ++i) {
      const SectionVariable in_section = types.section_variable(types[id], i);
      const Node& variable = types[in_section.variable];
      const std::string_view name = types.text(variable.name);
      if (in_section.variable != 0 && !name.empty()) wanted.push_back({name, variable.target, in_section.offset});
    }
  }
  return wanted;
}

}  // namespace

std::vector<VariablePlan> find_variables(const arch::Arch& arch, const Pieces& pieces, TypeTable& types) {
  std::vector<VariablePlan> plans;
  for (std::size_t number = 0; number < types.pieces(); ++number) {
    const Piece& piece = pieces.pieces[number];
    auto wanted = described_by_btf(types, types.range(number));
    if (number == 0 && !pieces.variables.empty()) {
      TypeNames names(types, types.range(0));
      for (const PieceVariable& variable : pieces.variables)
        if (const auto type = names.find(variable.type)) wanted.push_back({variable.name, *type, {}});
    }
    const Candidates candidates(piece, wanted);
    for (std::uint32_t n = 0; n < wanted.size(); ++n)
      if (const Symbol* symbol = candidates.choose(n)) {
        const NodeId type = wanted[n].offset ? wanted[n].type : types.fill_array(wanted[n].type, symbol->size, arch.pointer_bytes);
        plans.push_back({0, type, symbol->address, is_global(symbol->kind), number, symbol->name});
      }
  }
  for (VariablePlan& plan : plans) plan.name = types.add_string(plan.symbol_name);
  return plans;
}

}  // namespace kvm::image
