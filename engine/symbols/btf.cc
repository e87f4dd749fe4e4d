// BTF: a header, a list of variable-length type entries numbered from 1, and a string table
// (kernel Documentation/bpf/btf.rst, include/uapi/linux/btf.h).  All entries are checked once, when it is opened.
// For split BTF (modules) the two places that would ask a base are `entry` and `text`.
#include "engine/symbols/btf.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "engine/integers.h"
#include "engine/symbols/name_index.h"
#include "engine/symbols/type_graph.h"

namespace kvm {
namespace {

enum BtfKind : std::uint8_t {
  btf_int = 1, btf_ptr, btf_array, btf_struct, btf_union, btf_enum, btf_fwd, btf_typedef, btf_volatile, btf_const,
  btf_restrict, btf_func, btf_func_proto, btf_var, btf_datasec, btf_float, btf_decl_tag, btf_type_tag, btf_enum64,
};

constexpr std::uint16_t btf_magic = 0xeb9f;
constexpr std::uint32_t entry_size = 12;

// How many bytes follow the 12 of an entry; none for a kind that we do not know.
std::optional<std::uint32_t> tail_size(std::uint8_t kind, std::uint32_t count) {
  switch (kind) {
    case btf_int: case btf_var: case btf_decl_tag: return 4;
    case btf_array: return 12;
    case btf_struct: case btf_union: case btf_datasec: case btf_enum64: return count * 12;
    case btf_enum: case btf_func_proto: return count * 8;
    case btf_ptr: case btf_fwd: case btf_typedef: case btf_volatile: case btf_const: case btf_restrict:
    case btf_func: case btf_float: case btf_type_tag: return 0;
    default: return {};
  }
}

class Btf {
 public:
  static Result<Btf> open(Bytes data, std::uint8_t pointer_bytes);
  void own(std::vector<std::uint8_t> data) { owned_ = std::move(data); }

  std::endian order() const { return order_; }
  TypeId find(std::string_view name);
  TypeNode node(TypeId id) const;
  template <class Visit>
  void each_field(TypeId record, const Visit& visit) const;
  std::optional<std::int64_t> enumerator(std::string_view name);

 private:
  struct Entry {
    std::uint32_t name = 0;
    std::uint8_t kind = 0;
    bool flag = false;             // kind_flag
    std::uint16_t count = 0;       // vlen
    std::uint32_t size_or_type = 0;
    const std::uint8_t* tail = nullptr;
  };
  struct Enumerator {
    std::uint32_t name;
    std::int64_t value;
  };

  Result<void> index_entries();
  Entry entry_at(std::uint32_t offset) const;
  Entry entry(TypeId id) const { return id == 0 || id >= offsets_.size() ? Entry{} : entry_at(offsets_[id]); }
  std::uint32_t word(const std::uint8_t* at) const { return load<std::uint32_t>(at, order_); }
  std::string_view text(std::uint32_t offset) const;
  void index_names();
  void index_enumerators();

  std::vector<std::uint8_t> owned_;  // empty when borrowed
  Bytes types_, strings_;
  std::endian order_ = std::endian::little;
  std::uint8_t pointer_bytes_ = 8;
  std::vector<std::uint32_t> offsets_;  // of entries, by type id

  std::optional<NameIndex> names_, enumerator_names_;  // made on first use
  std::vector<Enumerator> enumerators_;
};

Result<Btf> Btf::open(Bytes data, std::uint8_t pointer_bytes) {
  if (data.size() < 24) return fail(Errc::bad_data, "BTF: too short");
  Btf btf;
  btf.pointer_bytes_ = pointer_bytes;
  if (load<std::uint16_t>(data.data(), std::endian::big) == btf_magic) btf.order_ = std::endian::big;
  if (load<std::uint16_t>(data.data(), btf.order_) != btf_magic) return fail(Errc::bad_data, "BTF: wrong magic number");
  if (data[2] != 1) return fail(Errc::unsupported, "BTF: version " + std::to_string(data[2]));

  const std::uint32_t header_size = btf.word(data.data() + 4);
  if (header_size < 24 || header_size > data.size()) return fail(Errc::bad_data, "BTF: header size makes no sense");
  const Bytes body = data.subspan(header_size);
  const auto part = [&](std::size_t at) -> Result<Bytes> {
    const std::uint64_t offset = btf.word(data.data() + at), size = btf.word(data.data() + at + 4);
    if (offset > body.size() || size > body.size() - offset) return fail(Errc::bad_data, "BTF: cut");
    return body.subspan(offset, size);
  };
  btf.types_ = TRY(part(8));
  btf.strings_ = TRY(part(16));
  TRY(btf.index_entries());
  return btf;
}

Result<void> Btf::index_entries() {
  offsets_.reserve(types_.size() / 32);
  offsets_.push_back(0);  // type 0 is void
  for (std::uint32_t at = 0; at < types_.size();) {
    if (types_.size() - at < entry_size) return fail(Errc::bad_data, "BTF: cut inside an entry");
    const Entry entry = entry_at(at);
    const auto tail = tail_size(entry.kind, entry.count);
    // The length of an unknown kind is unknown too: nothing after it can be read.
    if (!tail) return fail(Errc::unsupported, "BTF: type kind " + std::to_string(entry.kind));
    if (*tail > types_.size() - at - entry_size) return fail(Errc::bad_data, "BTF: cut inside an entry");
    offsets_.push_back(at);
    at += entry_size + *tail;
  }
  return {};
}

Btf::Entry Btf::entry_at(std::uint32_t offset) const {
  const std::uint8_t* at = types_.data() + offset;
  const std::uint32_t info = word(at + 4);
  return {word(at), static_cast<std::uint8_t>(info >> 24 & 31), info >> 31 != 0, static_cast<std::uint16_t>(info),
          word(at + 8), at + entry_size};
}

std::string_view Btf::text(std::uint32_t offset) const {
  if (offset >= strings_.size()) return {};
  const auto* first = reinterpret_cast<const char*>(strings_.data()) + offset;
  return {first, strnlen(first, strings_.size() - offset)};
}

TypeNode Btf::node(TypeId id) const {
  const Entry entry = this->entry(id);
  TypeNode node;
  node.name = text(entry.name);
  switch (entry.kind) {
    case btf_int:
      node.kind = TypeNode::Kind::integer;
      node.size = entry.size_or_type;
      node.is_signed = word(entry.tail) >> 24 & 1;  // BTF_INT_SIGNED
      break;
    case btf_enum: case btf_enum64:
      node.kind = TypeNode::Kind::integer;
      node.size = entry.size_or_type;
      node.is_signed = entry.flag;
      break;
    case btf_ptr:
      node.kind = TypeNode::Kind::pointer;
      node.size = pointer_bytes_;
      node.target = entry.size_or_type;
      break;
    case btf_struct: case btf_union: node.size = entry.size_or_type; [[fallthrough]];
    case btf_fwd: node.kind = TypeNode::Kind::record; break;
    case btf_array:
      node.kind = TypeNode::Kind::array;
      node.target = word(entry.tail);
      node.count = word(entry.tail + 8);
      break;
    case btf_type_tag: node.name = {}; [[fallthrough]];  // its name is the tag's, not the type's
    case btf_typedef: case btf_volatile: case btf_const: case btf_restrict:
      node.kind = TypeNode::Kind::alias;
      node.target = entry.size_or_type;
      break;
    case btf_float: node.size = entry.size_or_type; break;
    default: break;
  }
  return node;
}

template <class Visit>
void Btf::each_field(TypeId record, const Visit& visit) const {
  const Entry entry = this->entry(record);
  if (entry.kind != btf_struct && entry.kind != btf_union) return;
  for (std::uint32_t i = 0; i < entry.count; ++i) {
    const std::uint8_t* at = entry.tail + i * std::size_t{12};
    const std::uint32_t offset = word(at + 8);
    TypeField field{text(word(at)), word(at + 4), offset, 0};
    if (entry.flag) {  // the size of a bit-field is above its offset
      field.bit_offset = offset & 0xffffff;
      field.bit_size = offset >> 24;
    } else if (const Entry type = this->entry(field.type); type.kind == btf_int) {
      // The older way: an integer type of its own, of fewer bits and maybe itself displaced.
      const std::uint32_t bits = word(type.tail) & 0xff;
      if (bits != type.size_or_type * 8) {
        field.bit_size = bits;
        field.bit_offset += word(type.tail) >> 16 & 0xff;
      }
    }
    if (!visit(field)) return;
  }
}

void Btf::index_names() {
  // Records go before typedefs, and these before base types and enumerations of the same name.
  const auto rank = [](std::uint8_t kind) {
    switch (kind) {
      case btf_struct: case btf_union: return 3;
      case btf_typedef: return 2;
      case btf_int: case btf_float: case btf_enum: case btf_enum64: return 1;
      default: return 0;
    }
  };
  const auto name_of = [this](std::uint32_t id) { return text(entry(id).name); };
  NameIndex index(offsets_.size());
  for (std::uint32_t id = 1; id < offsets_.size(); ++id) {
    const Entry entry = this->entry(id);
    const std::string_view name = text(entry.name);
    if (rank(entry.kind) == 0 || name.empty()) continue;
    std::uint32_t& kept = index.add(name, id, name_of);
    if (rank(entry.kind) > rank(this->entry(kept).kind)) kept = id;
  }
  names_ = std::move(index);
}

TypeId Btf::find(std::string_view name) {
  if (!names_) index_names();
  const std::uint32_t* id = names_->find(name, [this](std::uint32_t n) { return text(entry(n).name); });
  return id ? *id : 0;
}

void Btf::index_enumerators() {
  for (std::uint32_t id = 1; id < offsets_.size(); ++id) {
    const Entry entry = this->entry(id);
    if (entry.kind != btf_enum && entry.kind != btf_enum64) continue;
    const std::size_t stride = entry.kind == btf_enum ? 8 : 12;
    for (std::uint32_t i = 0; i < entry.count; ++i) {
      const std::uint8_t* at = entry.tail + i * stride;
      // kind_flag says signed (since v6.0); before, whoever made the BTF did not tell, and readers take them as unsigned.
      std::uint64_t value = word(at + 4);
      if (entry.kind == btf_enum64) value |= std::uint64_t{word(at + 8)} << 32;
      else if (entry.flag) value = static_cast<std::uint64_t>(std::int64_t{static_cast<std::int32_t>(value)});
      enumerators_.push_back({word(at), static_cast<std::int64_t>(value)});
    }
  }
  const auto name_of = [this](std::uint32_t n) { return text(enumerators_[n].name); };
  NameIndex index(enumerators_.size());
  for (std::uint32_t i = 0; i < enumerators_.size(); ++i) index.add(name_of(i), i, name_of);
  enumerator_names_ = std::move(index);
}

std::optional<std::int64_t> Btf::enumerator(std::string_view name) {
  if (!enumerator_names_) index_enumerators();
  const auto name_of = [this](std::uint32_t n) { return text(enumerators_[n].name); };
  const std::uint32_t* number = enumerator_names_->find(name, name_of);
  if (!number) return {};
  return enumerators_[*number].value;
}

}  // namespace

Result<std::unique_ptr<Types>> open_btf(Bytes data, std::uint8_t pointer_bytes) {
  return std::make_unique<GraphTypes<Btf>>(TRY(Btf::open(data, pointer_bytes)));
}

Result<std::unique_ptr<Types>> open_btf(std::vector<std::uint8_t> data, std::uint8_t pointer_bytes) {
  Btf btf = TRY(Btf::open(data, pointer_bytes));
  btf.own(std::move(data));  // a moved vector keeps its bytes where they are
  return std::make_unique<GraphTypes<Btf>>(std::move(btf));
}

}  // namespace kvm
