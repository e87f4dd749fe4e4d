#include "engine/image/type_names.h"

#include <charconv>
#include <vector>

namespace kvm::image {
namespace {

// C's words for integers, and those of compilers, which BTF has.
constexpr std::pair<std::string_view, std::string_view> compilers_words[] = {
    {"unsigned", "unsigned int"}, {"long", "long int"}, {"unsigned long", "long unsigned int"},
    {"short", "short int"}, {"unsigned short", "short unsigned int"}, {"long long", "long long int"},
    {"unsigned long long", "long long unsigned int"}, {"bool", "_Bool"}};

bool is_named_type(const Node& node) {
  return node.kind == BtfKind::type_def || node.kind == BtfKind::integer || node.kind == BtfKind::floating;
}

std::string_view trim(std::string_view text) {
  while (text.starts_with(' ')) text.remove_prefix(1);
  while (text.ends_with(' ')) text.remove_suffix(1);
  return text;
}

}  // namespace

TypeNames::TypeNames(TypeTable& types, TypeTable::Range range)
    : types_(types), tags_(range.end - range.first), names_(range.end - range.first) {
  const auto name = [this](NodeId id) { return name_of(id); };
  for (NodeId id = range.first; id < range.end; ++id) {
    const Node& node = types_[id];
    if (name_of(id).empty()) continue;
    if (node.is_record() || node.is_enumeration()) tags_.add(name_of(id), id, name);
    else if (is_named_type(node)) names_.add(name_of(id), id, name);
  }
}

std::optional<NodeId> TypeNames::find(std::string_view text) {
  // A name, stars, and dimensions: "struct page *[4]".
  const std::size_t dimensions = std::min(text.find('['), text.size());
  std::string_view name = text.substr(0, dimensions);
  std::size_t stars = 0;
  for (name = trim(name); name.ends_with('*') && stars < 8; name = trim(name.substr(0, name.size() - 1))) ++stars;
  const auto base = find_base(name);
  if (!base) return {};
  NodeId type = *base;
  for (; stars != 0; --stars) type = types_.add_pointer(type);

  std::vector<std::uint32_t> counts;
  for (std::string_view rest = text.substr(dimensions); rest.starts_with('[') && counts.size() < 8;) {
    const std::size_t close = rest.find(']');
    if (close == rest.npos) return {};
    std::uint32_t count = 0;
    std::from_chars(rest.data() + 1, rest.data() + close, count);
    counts.push_back(count);
    rest = trim(rest.substr(close + 1));
  }
  for (; !counts.empty(); counts.pop_back()) type = types_.add_array(type, counts.back());
  return type;
}

std::optional<NodeId> TypeNames::find_base(std::string_view words) const {
  for (const std::string_view qualifier : {"const ", "volatile "})
    if (words.starts_with(qualifier)) return find_base(trim(words.substr(qualifier.size())));
  if (words == "void") return 0;
  bool tag = false;
  for (const std::string_view keyword : {"struct ", "union ", "enum "}) {
    if (tag || !words.starts_with(keyword)) continue;
    words = trim(words.substr(keyword.size()));
    tag = true;
  }
  const auto name = [this](NodeId id) { return name_of(id); };
  if (const NodeId* id = tags_.find(words, name)) return *id;
  if (tag) return {};
  if (const NodeId* id = names_.find(words, name)) return *id;
  for (const auto& [from, to] : compilers_words)
    if (words == from)
      if (const NodeId* id = names_.find(to, name)) return *id;
  return {};
}

}  // namespace kvm::image
