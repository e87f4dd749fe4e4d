// The entries of types.
#include <algorithm>

#include "engine/image/die_writer.h"

namespace kvm::image {
namespace {

constexpr std::uint32_t int_signed = 1, int_bool = 4;  // BTF_INT_ENCODING
constexpr std::uint8_t ate_boolean = 2, ate_float = 4, ate_signed = 5, ate_signed_char = 6, ate_unsigned = 7,
                       ate_unsigned_char = 8;  // DWARF 5, table 7.11

// BTF seldom tells that an integer is a character (pahole never does).
std::uint8_t encoding_of(std::uint32_t encoding, const Node& node, std::string_view name) {
  if (encoding & int_bool) return ate_boolean;
  const bool character = node.size == 1 && name.find("char") != name.npos;
  if (encoding & int_signed) return character ? ate_signed_char : ate_signed;
  return character ? ate_unsigned_char : ate_unsigned;
}

Shape alias_shape(BtfKind kind) {
  switch (kind) {
    case BtfKind::const_: return Shape::const_type;
    case BtfKind::volatile_: return Shape::volatile_type;
    case BtfKind::restrict_: return Shape::restrict_type;
    default: return Shape::type_def;
  }
}

}  // namespace

void DieWriter::entry(NodeId id, bool by_name) {
  const Node& node = types_[id];
  places_[key(id, by_name)] = {unit_, static_cast<std::uint32_t>(out_.info.size() - unit_start_)};
  switch (node.kind) {
    case BtfKind::integer: case BtfKind::floating: return integer(node);
    case BtfKind::pointer: {
      const Reference to = refer(node.broken ? 0 : node.target, true);
      begin(Shape::pointer_type, to.extra);
      reference(to);
      return out_.info.u8(word_);
    }
    case BtfKind::type_def: case BtfKind::const_: case BtfKind::volatile_: case BtfKind::restrict_: return alias(node, by_name);
    case BtfKind::array: return array(node);
    case BtfKind::structure: case BtfKind::union_: return by_name ? record_declaration(node) : record(node);
    case BtfKind::forward: return record_declaration(node);
    case BtfKind::enumeration: case BtfKind::enumeration64: return enumeration(node);
    default: return prototype(node);
  }
}

void DieWriter::integer(const Node& node) {
  begin(Shape::base_type, has_name);
  name(node.name);
  out_.info.u8(node.kind == BtfKind::floating ? ate_float : encoding_of(types_.integer_bits(node) >> 24, node, types_.text(node.name)));
  out_.info.uleb(node.size);
}

void DieWriter::alias(const Node& node, bool by_name) {
  const Reference to = refer(node.broken ? 0 : node.target, by_name);
  const Shape shape = alias_shape(node.kind);
  begin(shape, to.extra | (shape == Shape::type_def ? has_name : 0U));
  if (shape == Shape::type_def) name(node.name);
  reference(to);
}

void DieWriter::array(const Node& node) {
  const Reference element = refer(node.broken ? 0 : node.target, false);
  begin(Shape::array_type, element.extra | has_children);
  reference(element);
  // C's flexible arrays, and those of no elements, which BTF does not tell apart.
  const std::uint32_t count = types_.array_count(node);
  begin(Shape::subrange, count != 0 ? has_count : 0U);
  if (count != 0) out_.info.uleb(count);
  children_end();
}

void DieWriter::record_declaration(const Node& node) {
  const bool is_union = node.kind == BtfKind::union_ || (node.kind == BtfKind::forward && node.flag);
  begin(is_union ? Shape::union_declaration : Shape::structure_declaration, named(node.name));
  if (named(node.name)) name(node.name);
}

void DieWriter::record(const Node& node) {
  const std::uint32_t members = types_.references(node);
  begin(node.kind == BtfKind::union_ ? Shape::union_type : Shape::structure_type, named(node.name) | (members ? has_children : 0U));
  if (named(node.name)) name(node.name);
  out_.info.uleb(node.size);
  for (std::uint32_t i = 0; i < members; ++i) member(types_.member(node, i));
  if (members) children_end();
}

void DieWriter::member(const MemberInfo& member) {
  const Reference type = refer(member.type, false);
  begin(Shape::member, named(member.name) | type.extra | (member.bits ? is_bit_field : 0U));
  if (named(member.name)) name(member.name);
  reference(type);
  if (member.bits) out_.info.u8(static_cast<std::uint8_t>(member.bits));
  out_.info.uleb(member.bits ? member.bit_offset : member.bit_offset / 8);
}

void DieWriter::enumeration(const Node& node) {
  const Reference underlying = refer(types_.integer_of(node.size, node.flag), false);
  begin(Shape::enumeration_type, named(node.name) | underlying.extra | (node.count ? has_children : 0U));
  if (named(node.name)) name(node.name);
  out_.info.uleb(node.size);
  reference(underlying);
  for (std::uint32_t i = 0; i < node.count; ++i) {
    const Enumerator enumerator = types_.enumerator(node, i);
    begin(Shape::enumerator, has_name | (node.flag ? is_signed : 0U));
    name(enumerator.name);
    if (node.flag) out_.info.sleb(static_cast<std::int64_t>(enumerator.value));
    else out_.info.uleb(enumerator.value);
  }
  if (node.count) children_end();
}

void DieWriter::prototype(const Node& node) {
  const Reference result = refer(node.broken ? 0 : node.target, true);
  const bool has_parameters = types_.references(node) > 1;
  begin(Shape::subroutine_type, result.extra | (has_parameters ? has_children : 0U));
  reference(result);
  if (has_parameters) parameters(node);
}

void DieWriter::parameters(const Node& prototype) {
  for (std::uint32_t i = 0; i < prototype.count; ++i) {
    const Parameter parameter = types_.parameter(prototype, i);
    // A last one of no type stands for "..." (btf.rst, BTF_KIND_FUNC_PROTO).
    if (parameter.type == 0 && !named(parameter.name) && i + 1U == prototype.count) {
      begin(Shape::unspecified_parameters, 0);
      continue;
    }
    const Reference type = refer(parameter.type, true);
    begin(Shape::parameter, named(parameter.name) | type.extra);
    if (named(parameter.name)) name(parameter.name);
    reference(type);
  }
  children_end();
}

}  // namespace kvm::image
