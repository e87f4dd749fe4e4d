#include "engine/image/type_table.h"

#include <bit>
#include <cstring>

namespace kvm::image {
namespace {

// A distribution's kernel has 5 MB, with all its modules some 30 MB.
constexpr std::size_t most_btf = 64 << 20;
constexpr std::size_t most_pieces = 0xffff;
constexpr int most_tags = 32;  // in a row
// gdb's max-value-size.  A kernel's own symbols have no sizes, only distances to the next one, which can be far off.
constexpr std::uint64_t most_array_bytes = 65536;

constexpr std::uint8_t int_signed = 1, int_char = 2, int_bool = 4;  // BTF_INT_ENCODING

bool has_target(BtfKind kind) {
  switch (kind) {
    case BtfKind::pointer: case BtfKind::type_def: case BtfKind::volatile_: case BtfKind::const_: case BtfKind::restrict_:
    case BtfKind::function: case BtfKind::prototype: case BtfKind::variable: case BtfKind::type_tag: return true;
    default: return false;
  }
}

// Things that have an entry in the list of types and are not types.
bool is_type(BtfKind kind) {
  switch (kind) {
    case BtfKind::nothing: case BtfKind::function: case BtfKind::variable: case BtfKind::section: case BtfKind::declaration_tag:
    case BtfKind::type_tag: return false;
    default: return true;
  }
}

std::string title(const Piece& piece) { return piece.name.empty() ? "the kernel" : "module " + piece.name; }

}  // namespace

TypeTable::TypeTable(const Pieces& pieces, std::vector<std::string>& remarks) : strings_(std::endian::native) {
  strings_.u8(0);  // the name of what has none
  std::size_t btf_size = 0;
  for (const Piece& piece : pieces.pieces) {
    if (ranges_.size() == most_pieces) break;
    const NodeId first = size();
    origins_.push_back({});
    ranges_.push_back({first, first});
    btf_size += piece.btf.size();
    if (piece.btf.empty()) continue;
    if (btf_size <= most_btf) add_piece(piece, remarks);
    else remarks.push_back("no types of " + title(piece) + ": there is more BTF than kernels have");
    ranges_.back().end = size();
  }
  for (const Range range : ranges_) resolve_targets(range);
  break_cycles();
  if (weighs_too_much()) {
    remarks.push_back("no types: the BTF makes no sense");
    forget_types();
  }
  find_declarable_records();
}

void TypeTable::add_piece(const Piece& piece, std::vector<std::string>& remarks) {
  const auto btf = BtfEntries::open(piece.btf);
  if (!btf) {
    remarks.push_back("no types of " + title(piece) + ": " + to_string(btf.error()));
    return;
  }
  Origin& origin = origins_.back();
  const bool is_kernel = origins_.size() == 1;
  const Origin& base = origins_.front();
  // Split BTF goes on where the kernel's ends, in ids and in strings (btf.rst, section 4.1 of the older text: "base BTF").
  if (!is_kernel && !base.whole) {
    remarks.push_back("no types of " + title(piece) + ": they build on the kernel's, which are not whole");
    return;
  }
  origin.own_first = is_kernel ? 1 : ranges_.front().end;
  origin.own_name = is_kernel ? 0 : base.strings_size;
  origin.strings = static_cast<std::uint32_t>(strings_.size());
  origin.strings_size = static_cast<std::uint32_t>(btf->strings().size());
  add_string({reinterpret_cast<const char*>(btf->strings().data()), btf->strings().size()});
  order_ = btf->order();
  add_nodes(*btf);
  origin.whole = !btf->damage();
  if (!origin.whole) remarks.push_back("not all types of " + title(piece) + ": " + to_string(*btf->damage()));
}

void TypeTable::add_nodes(const BtfEntries& btf) {
  const std::size_t piece = origins_.size() - 1;
  if (piece == 0) nodes_.reserve(btf.size() + btf.size() / 4);
  for (std::size_t i = 0; i < btf.size(); ++i) {
    const BtfEntry entry = btf[i];
    Node node;
    node.kind = entry.kind;
    node.flag = entry.flag;
    node.count = entry.count;
    node.piece = static_cast<std::uint16_t>(piece);
    node.name = to_name(piece, entry.name);
    node.tail = entry.tail;
    if (has_target(entry.kind)) node.target = entry.size_or_type;
    else if (entry.kind == BtfKind::array) node.target = word(entry.tail);
    else node.size = entry.size_or_type;
    nodes_.push_back(node);
  }
}

// From BTF's numbers, once all nodes exist.
void TypeTable::resolve_targets(Range range) {
  for (NodeId id = range.first; id < range.end; ++id) {
    Node& node = nodes_[id];
    if (has_target(node.kind) || node.kind == BtfKind::array) node.target = to_node(node.piece, node.target);
    const std::uint32_t bits = node.kind == BtfKind::integer ? integer_bits(node) : 0;
    if (node.kind != BtfKind::integer || !std::has_single_bit(node.size) || node.size > 8 || (bits & 0xff) != node.size * 8) continue;
    NodeId& plain = integers_[bits >> 24 & int_signed][std::bit_width(node.size) - 1];
    if (plain == 0 && !(bits >> 24 & (int_char | int_bool))) plain = id;
  }
  // Tags are looked through only now: a tag's own target may come after what refers to it.
  for (NodeId id = range.first; id < range.end; ++id)
    if (has_target(nodes_[id].kind) || nodes_[id].kind == BtfKind::array) nodes_[id].target = strip(nodes_[id].target);
}

NodeId TypeTable::to_node(std::size_t piece, std::uint32_t type) const {
  const Origin& origin = origins_[piece];
  const Range range = ranges_[piece];
  const NodeId id = type < origin.own_first ? type : type - origin.own_first + range.first;
  // Of its own or, with a smaller number, of the kernel.
  return id < range.end && (type < origin.own_first || type - origin.own_first < range.end - range.first) ? id : 0;
}

NodeId TypeTable::strip(NodeId id) const {
  for (int i = 0; i < most_tags && nodes_[id].kind == BtfKind::type_tag; ++i) id = nodes_[id].target;
  const BtfKind kind = nodes_[id].kind;
  // A function is a type to what declares it, and a variable to its section; nothing else may refer to them.
  return is_type(kind) ? id : 0;
}

std::uint32_t TypeTable::to_name(std::size_t piece, std::uint32_t name) const {
  const bool own = name >= origins_[piece].own_name;
  const Origin& origin = own ? origins_[piece] : origins_.front();
  const std::uint32_t offset = own ? name - origin.own_name : name;
  return offset < origin.strings_size ? origin.strings + offset : 0;
}

std::uint32_t TypeTable::references(const Node& node) const {
  if (node.broken) return 0;
  if (node.is_record()) return node.count;
  if (node.kind == BtfKind::prototype) return 1 + std::uint32_t{node.count};
  return node.is_alias() || node.kind == BtfKind::pointer || node.kind == BtfKind::array;
}

NodeId TypeTable::reference(const Node& node, std::uint32_t index) const {
  if (node.is_record()) return strip(to_node(node.piece, word(node.tail + index * std::size_t{12} + 4)));
  if (node.kind == BtfKind::prototype && index != 0) return parameter(node, index - 1).type;
  return node.target;
}

MemberInfo TypeTable::member(const Node& record, std::uint32_t index) const {
  const std::uint8_t* at = record.tail + index * std::size_t{12};
  const std::uint32_t offset = word(at + 8);
  MemberInfo member{to_name(record.piece, word(at)), reference(record, index), offset, 0};
  if (record.flag) {  // the size of a bit-field is above its offset
    member.bit_offset = offset & 0xffffff;
    member.bits = offset >> 24;
  } else if (const Node& type = nodes_[member.type]; type.kind == BtfKind::integer) {
    // The older way: an integer type of its own, of fewer bits and maybe itself displaced.
    const std::uint32_t bits = integer_bits(type);
    if ((bits & 0xff) != type.size * 8) {
      member.bits = bits & 0xff;
      member.bit_offset += bits >> 16 & 0xff;
    }
  }
  return member;
}

Parameter TypeTable::parameter(const Node& prototype, std::uint32_t index) const {
  const std::uint8_t* at = prototype.tail + index * std::size_t{8};
  return {to_name(prototype.piece, word(at)), strip(to_node(prototype.piece, word(at + 4)))};
}

Enumerator TypeTable::enumerator(const Node& enumeration, std::uint32_t index) const {
  const bool wide = enumeration.kind == BtfKind::enumeration64;
  const std::uint8_t* at = enumeration.tail + index * std::size_t{wide ? 12U : 8U};
  std::uint64_t value = word(at + 4);
  // kind_flag says signed (since v6.0); before, whoever made the BTF did not tell, and readers take them as unsigned.
  if (wide) value |= std::uint64_t{word(at + 8)} << 32;
  else if (enumeration.flag) value = static_cast<std::uint64_t>(std::int64_t{static_cast<std::int32_t>(value)});
  return {to_name(enumeration.piece, word(at)), value};
}

SectionVariable TypeTable::section_variable(const Node& section, std::uint32_t index) const {
  const std::uint8_t* at = section.tail + index * std::size_t{12};
  const NodeId id = to_node(section.piece, word(at));
  return {nodes_[id].kind == BtfKind::variable ? id : 0, word(at + 4)};
}

NodeId TypeTable::integer_of(std::uint32_t size, bool is_signed) const {
  return std::has_single_bit(size) && size <= 8 ? integers_[is_signed][std::bit_width(size) - 1] : 0;
}

std::string_view TypeTable::text(std::uint32_t name) const {
  const char* first = reinterpret_cast<const char*>(strings_.view().data()) + name;
  return {first, strnlen(first, longest_name)};  // every piece's strings end with a NUL
}

NodeId TypeTable::add_pointer(NodeId target) { return add_made(BtfKind::pointer, target, 0); }
NodeId TypeTable::add_array(NodeId element, std::uint32_t count) { return add_made(BtfKind::array, element, count); }

NodeId TypeTable::fill_array(NodeId type, std::uint64_t bytes, std::uint8_t pointer_bytes) {
  const Node& array = nodes_[type];
  if (array.kind != BtfKind::array || array_count(array) != 0) return type;
  const std::uint64_t element = size_of(array.target, pointer_bytes);
  if (element == 0 || bytes > most_array_bytes) return type;
  return add_array(array.target, static_cast<std::uint32_t>(bytes / element));
}

std::uint64_t TypeTable::size_of(NodeId type, std::uint8_t pointer_bytes) const {
  std::uint64_t elements = 1;
  while ((nodes_[type].is_alias() || nodes_[type].kind == BtfKind::array) && !nodes_[type].broken) {
    if (nodes_[type].kind == BtfKind::array) elements *= array_count(nodes_[type]);
    type = nodes_[type].target;
  }
  return elements * (nodes_[type].kind == BtfKind::pointer ? pointer_bytes : nodes_[type].size);
}

NodeId TypeTable::add_made(BtfKind kind, NodeId target, std::uint32_t count) {
  auto& tail = made_tails_.emplace_back();
  store(tail.data() + 8, count, order_);
  Node node;
  node.kind = kind;
  node.target = target;
  node.tail = tail.data();
  nodes_.push_back(node);
  return size() - 1;
}

std::uint32_t TypeTable::add_string(std::string_view text) {
  const auto offset = static_cast<std::uint32_t>(strings_.size());
  std::uint8_t* to = strings_.grow(text.size() + 1);
  for (const char c : text) *to++ = (c >= 0x20 && c < 0x7f) || c == 0 ? static_cast<std::uint8_t>(c) : '?';
  *to = 0;
  return offset;
}

void TypeTable::forget_types() {
  nodes_.resize(1);
  for (Range& range : ranges_) range = {1, 1};
}

}  // namespace kvm::image
