// All types of the kernel and of its modules in one numbered table, made ready to be written as DWARF: ids and string
// offsets of the modules' split BTF are resolved, type tags are looked through, and what C cannot have (a type that
// contains itself) is broken, because debuggers walk types without a limit.
#pragma once

#include <array>
#include <deque>
#include <string>
#include <vector>

#include "engine/image/buffer.h"
#include "engine/pieces.h"
#include "engine/symbols/btf_entries.h"

namespace kvm::image {

using NodeId = std::uint32_t;  // 0: void

struct Node {
  BtfKind kind = BtfKind::nothing;
  bool flag = false;            // BTF's kind_flag
  bool broken = false;          // what it refers to is not written
  bool homed = false;           // written once, in its home unit; other types again in each unit that uses them
  bool declarable = false;      // a record whose name means it and no other: it can be referred to by name
  std::uint8_t weight = 1;      // how many types it takes to spell it, itself included
  std::uint16_t count = 0;      // members, enumerators, parameters
  std::uint16_t piece = 0;
  std::uint32_t name = 0;       // offset in strings()
  std::uint32_t size = 0;       // of integers, records, enumerations
  NodeId target = 0;            // of pointers, qualifiers, typedefs, arrays (element), prototypes (result), functions, variables
  const std::uint8_t* tail = nullptr;

  bool is_record() const { return kind == BtfKind::structure || kind == BtfKind::union_; }
  bool is_enumeration() const { return kind == BtfKind::enumeration || kind == BtfKind::enumeration64; }
  bool is_alias() const {
    return kind == BtfKind::type_def || kind == BtfKind::const_ || kind == BtfKind::volatile_ || kind == BtfKind::restrict_;
  }
};

// Whether what `node` refers to need only be declared, when `node` itself was reached so.  C wants the size of members and of
// elements, but neither of what a pointer leads to nor of a prototype's parameters.
inline bool refers_by_name(const Node& node, bool by_name) {
  return node.kind == BtfKind::pointer || node.kind == BtfKind::prototype || (node.is_alias() && by_name);
}

struct MemberInfo {
  std::uint32_t name;
  NodeId type;
  std::uint32_t bit_offset, bits;  // bits 0: not a bit-field
};
struct Parameter {
  std::uint32_t name;
  NodeId type;
};
struct Enumerator {
  std::uint32_t name;
  std::uint64_t value;  // sign-extended where the enumeration is signed
};
struct SectionVariable {
  NodeId variable;
  std::uint32_t offset;
};

class TypeTable {
 public:
  static constexpr std::size_t longest_name = 1023;  // KSYM_NAME_LEN is 512

  // The types of one piece have consecutive numbers.
  struct Range {
    NodeId first, end;
  };

  TypeTable(const Pieces& pieces, std::vector<std::string>& remarks);

  NodeId size() const { return static_cast<NodeId>(nodes_.size()); }
  const Node& operator[](NodeId id) const { return nodes_[id]; }
  Range range(std::size_t piece) const { return ranges_[piece]; }
  std::size_t pieces() const { return ranges_.size(); }

  // Types that a type names: the target, or of a record the members' types, of a prototype the result and the parameters.
  std::uint32_t references(const Node& node) const;
  NodeId reference(const Node& node, std::uint32_t index) const;
  MemberInfo member(const Node& record, std::uint32_t index) const;
  Parameter parameter(const Node& prototype, std::uint32_t index) const;
  Enumerator enumerator(const Node& enumeration, std::uint32_t index) const;
  SectionVariable section_variable(const Node& section, std::uint32_t index) const;
  std::uint32_t array_count(const Node& array) const { return word(array.tail + 8); }
  std::uint32_t integer_bits(const Node& integer) const { return word(integer.tail); }  // encoding, offset, number of bits
  NodeId integer_of(std::uint32_t size, bool is_signed) const;  // a plain integer type; 0: there is none
  std::uint64_t size_of(NodeId type, std::uint8_t pointer_bytes) const;  // in bytes; 0: none, or not known
  std::string_view text(std::uint32_t name) const;  // at most `longest_name` of it

  // Types that no BTF has.
  NodeId add_pointer(NodeId target);
  NodeId add_array(NodeId element, std::uint32_t count);
  // One more, as long as `bytes` allow, of an array type of unknown length; any other type stays as it is.
  NodeId fill_array(NodeId type, std::uint64_t bytes, std::uint8_t pointer_bytes);

  // Becomes .debug_str.
  std::uint32_t add_string(std::string_view text);
  Bytes strings() const { return strings_.view(); }

 private:
  struct Origin {              // of a piece's types
    std::uint32_t own_first = 0, own_name = 0;  // BTF's numbers for the first own type and the first own string
    std::uint32_t strings = 0, strings_size = 0;
    bool whole = false;
  };

  void add_piece(const Piece& piece, std::vector<std::string>& remarks);
  void add_nodes(const BtfEntries& btf);
  void resolve_targets(Range range);
  NodeId to_node(std::size_t piece, std::uint32_t type) const;
  NodeId strip(NodeId id) const;
  NodeId add_made(BtfKind kind, NodeId target, std::uint32_t count);
  std::uint32_t to_name(std::size_t piece, std::uint32_t name) const;
  std::uint32_t word(const std::uint8_t* at) const { return load<std::uint32_t>(at, order_); }

  void break_cycles();
  template <class Follow>
  void break_cycles(const Follow& follow, bool weigh);
  void find_declarable_records();
  bool looks_same(const Node& a, const Node& b) const;
  bool weighs_too_much() const;
  void forget_types();

  std::endian order_ = std::endian::little;
  std::vector<Node> nodes_{1};
  std::vector<Range> ranges_;
  std::vector<Origin> origins_;
  std::deque<std::array<std::uint8_t, 12>> made_tails_;
  NodeId integers_[2][4] = {};  // by signedness and log2 of the size
  Buffer strings_;
};

}  // namespace kvm::image
