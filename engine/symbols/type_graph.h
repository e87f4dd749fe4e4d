// Answers questions about types from any source that can be seen as a graph of types (BTF, DWARF): walks member paths,
// looks through anonymous members and typedefs, and remembers the answers.  The sources only tell nodes and fields.
// They are untrusted: graphs may have cycles, so that depth and work are limited here, once for all.
//
// A graph provides, called by one thread at a time:
//   std::endian order();
//   TypeId find(std::string_view name);             a definition: records first, then typedefs, then others; 0: none
//   TypeNode node(TypeId);                          kind `other` for an id that makes no sense
//   void each_field(TypeId record, f);              calls bool f(const TypeField&) in order until it answers false
//   std::optional<std::int64_t> enumerator(std::string_view name);
#pragma once

#include <bit>
#include <charconv>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "engine/symbols.h"

namespace kvm {

using TypeId = std::uint64_t;  // 0: void

struct TypeNode {
  enum class Kind : std::uint8_t { other, integer, pointer, record, array, alias };  // alias: typedef, const, volatile ...
  Kind kind = Kind::other;
  std::string_view name;    // of the type; empty: anonymous
  std::uint64_t size = 0;   // in bytes; arrays and aliases: not used
  bool is_signed = false;
  TypeId target = 0;        // what a pointer, an array's element or an alias is
  std::uint64_t count = 0;  // of an array's elements
};

struct TypeField {
  std::string_view name;         // empty: anonymous
  TypeId type = 0;
  std::uint64_t bit_offset = 0;  // from the record's first bit in memory (on big-endian machines its most significant)
  std::uint32_t bit_size = 0;    // 0: not a bit-field
};

// One question about one member: the path's steps and their limits.
template <class Graph>
class MemberPath {
 public:
  explicit MemberPath(Graph& graph) : graph_(graph) {}

  // An empty path describes the type itself.
  Result<Member> resolve(std::string_view type, std::string_view path) {
    TypeField at;
    at.type = graph_.find(type);
    if (at.type == 0) return fail(Errc::not_found, "no type " + std::string(type));
    std::string_view rest = path;
    while (!rest.empty()) {
      const bool moved = rest.front() == '[' ? enter_element(at, rest) : enter_field(at, rest);
      if (!moved) return fail(Errc::not_found, "no member " + std::string(type) + "." + std::string(path));
    }
    return describe(at);
  }

 private:
  static constexpr int most_depth = 32;      // typedef chains, nested anonymous records, array dimensions
  static constexpr int most_fields = 1 << 20;  // looked at for one question

  struct Stripped {
    TypeId id;
    TypeNode node;
    std::string_view name;  // the type's own, else that of the last typedef on the way
  };
  Stripped strip(TypeId id) {
    std::string_view name;
    for (int depth = 0; depth < most_depth; ++depth) {
      const TypeNode node = graph_.node(id);
      if (!node.name.empty()) name = node.name;
      if (node.kind != TypeNode::Kind::alias) return {id, node, node.name.empty() ? name : node.name};
      id = node.target;
    }
    return {0, {}, {}};
  }

  // Takes "name" and the '.' after it off `rest`.
  bool enter_field(TypeField& at, std::string_view& rest) {
    const std::size_t length = std::min(rest.find_first_of(".["), rest.size());
    const std::string_view name = rest.substr(0, length);
    rest.remove_prefix(length);
    const Stripped type = strip(at.type);
    if (type.node.kind != TypeNode::Kind::record || name.empty()) return false;
    const auto field = find_field(type.id, name, 0);
    if (!field) return false;
    at = {field->name, field->type, at.bit_offset + field->bit_offset, field->bit_size};
    return leave_step(rest);
  }

  // Takes "[3]" and the '.' after it off `rest`.
  bool enter_element(TypeField& at, std::string_view& rest) {
    std::uint32_t index = 0;
    const auto [end, error] = std::from_chars(rest.data() + 1, rest.data() + rest.size(), index);
    rest.remove_prefix(static_cast<std::size_t>(end - rest.data()));
    const TypeNode type = strip(at.type).node;
    if (error != std::errc() || !rest.starts_with(']') || type.kind != TypeNode::Kind::array) return false;
    if (type.count != 0 && index >= type.count) return false;
    rest.remove_prefix(1);
    at = {{}, type.target, at.bit_offset + index * size_of(type.target) * 8, 0};
    return leave_step(rest);
  }

  static bool leave_step(std::string_view& rest) {
    if (rest.empty() || rest.front() == '[') return true;
    if (rest.front() != '.' || rest.size() == 1) return false;
    rest.remove_prefix(1);
    return rest.front() != '[';
  }

  std::optional<TypeField> find_field(TypeId record, std::string_view name, int depth) {
    std::optional<TypeField> found;
    graph_.each_field(record, [&](const TypeField& field) {
      if (++fields_ > most_fields) return false;
      if (field.name == name) found = field;
      else if (field.name.empty() && field.bit_size == 0 && depth < most_depth) {
        const Stripped inner = strip(field.type);
        if (inner.node.kind == TypeNode::Kind::record) found = find_field(inner.id, name, depth + 1);
        if (found) found->bit_offset += field.bit_offset;
      }
      return !found;
    });
    return found;
  }

  std::uint64_t size_of(TypeId id) {
    std::uint64_t elements = 1;
    for (int depth = 0; depth < most_depth; ++depth) {
      const TypeNode node = strip(id).node;
      if (node.kind != TypeNode::Kind::array) return elements * node.size;
      elements *= node.count;  // may wrap on nonsense; callers check what they read anyway
      id = node.target;
    }
    return 0;
  }

  Result<Member> describe(const TypeField& at) {
    Member member;
    member.offset = at.bit_offset / 8;
    member.size = size_of(at.type);
    if (at.bit_size != 0) {
      // The fewest bytes that hold it: unlike the declared type's unit, they are always inside the record.
      const std::uint64_t before = at.bit_offset % 8;
      member.size = (before + at.bit_size + 7) / 8;
      if (member.size > 8) return fail(Errc::unsupported, "a bit-field that spans nine bytes");
      const bool little = graph_.order() == std::endian::little;
      member.bit_offset = static_cast<std::uint8_t>(little ? before : member.size * 8 - before - at.bit_size);
      member.bit_size = static_cast<std::uint8_t>(at.bit_size);
    }
    Stripped type = strip(at.type);
    member.kind = kind_of(type.node.kind);
    if (type.node.kind == TypeNode::Kind::array) {
      member.count = type.node.count;
      member.element_size = size_of(type.node.target);
      for (int depth = 0; depth < most_depth && type.node.kind == TypeNode::Kind::array; ++depth) type = strip(type.node.target);
    }
    member.is_signed = type.node.is_signed;
    if (type.node.kind == TypeNode::Kind::pointer) type = strip(type.node.target);
    if (type.node.kind == TypeNode::Kind::record) member.type_name = std::string(type.name);
    return member;
  }

  static Member::Kind kind_of(TypeNode::Kind kind) {
    switch (kind) {
      case TypeNode::Kind::integer: return Member::Kind::integer;
      case TypeNode::Kind::pointer: return Member::Kind::pointer;
      case TypeNode::Kind::record: return Member::Kind::record;
      case TypeNode::Kind::array: return Member::Kind::array;
      default: return Member::Kind::other;
    }
  }

  Graph& graph_;
  int fields_ = 0;
};

// Types over a graph.  Locks: many readers of what is remembered, one asker of the graph.
template <class Graph>
class GraphTypes final : public Types {
 public:
  explicit GraphTypes(Graph graph) : graph_(std::move(graph)) {}

  Result<Member> member(std::string_view type, std::string_view path) const override {
    return remember(members_, {type, path}, [&] { return MemberPath<Graph>(graph_).resolve(type, path); });
  }
  Result<std::uint64_t> size_of(std::string_view type) const override {
    return member(type, {}).map([](const Member& m) { return m.size; });
  }
  std::optional<std::int64_t> enumerator(std::string_view name) const override {
    return remember(enumerators_, {name, {}}, [&] { return graph_.enumerator(name); });
  }

 private:
  using Question = std::pair<std::string_view, std::string_view>;
  using Kept = std::pair<std::string, std::string>;
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(const Question& q) const {
      const std::hash<std::string_view> hash;
      return hash(q.first) * 31 + hash(q.second);
    }
    std::size_t operator()(const Kept& kept) const { return (*this)(Question(kept)); }
  };
  struct Equal {
    using is_transparent = void;
    bool operator()(const Question& a, const Question& b) const { return a == b; }
  };
  template <class Answer>
  using Answers = std::unordered_map<Kept, Answer, Hash, Equal>;

  template <class Answer, class Ask>
  Answer remember(Answers<Answer>& answers, Question question, const Ask& ask) const {
    {
      std::shared_lock lock(mutex_);
      if (const auto found = answers.find(question); found != answers.end()) return found->second;
    }
    std::unique_lock lock(mutex_);
    return answers.try_emplace(Kept(question), ask()).first->second;
  }

  mutable Graph graph_;
  mutable std::shared_mutex mutex_;
  mutable Answers<Result<Member>> members_;
  mutable Answers<std::optional<std::int64_t>> enumerators_;
};

}  // namespace kvm
