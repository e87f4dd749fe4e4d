// BTF numbers its types from 1; 0 is void.  Split BTF (modules) goes on where its base ends: `entry` and `text` ask the base
// for what is before.
#include "engine/symbols/btf.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "engine/symbols/btf_entries.h"
#include "engine/symbols/name_index.h"
#include "engine/symbols/type_graph.h"

namespace kvm {
namespace {

class Btf {
 public:
  static Result<Btf> open(Bytes data, std::uint8_t pointer_bytes, std::unique_ptr<Btf> base = nullptr);
  void own(std::vector<std::uint8_t> data) { owned_ = std::move(data); }

  std::endian order() const { return entries_.order(); }
  TypeId find(std::string_view name);
  TypeNode node(TypeId id) const;
  template <class Visit>
  void each_field(TypeId record, const Visit& visit) const;
  std::optional<std::int64_t> enumerator(std::string_view name);

 private:
  struct Enumerator {
    std::uint32_t name;
    std::int64_t value;
  };

  Btf(BtfEntries entries, std::uint8_t pointer_bytes, std::unique_ptr<Btf> base)
      : entries_(std::move(entries)), pointer_bytes_(pointer_bytes), base_(std::move(base)) {}
  std::uint32_t first_id() const { return base_ ? base_->end_id() : 1; }
  std::uint32_t end_id() const { return first_id() + static_cast<std::uint32_t>(entries_.size()); }
  BtfEntry entry(TypeId id) const {
    if (base_ && id < first_id()) return base_->entry(id);
    return id < first_id() || id >= end_id() ? BtfEntry{} : entries_[id - first_id()];
  }
  std::uint32_t word(const std::uint8_t* at) const { return load<std::uint32_t>(at, entries_.order()); }
  std::string_view text(std::uint32_t offset) const;
  void index_names();
  void index_enumerators();

  std::vector<std::uint8_t> owned_;  // empty when borrowed
  BtfEntries entries_;
  std::uint8_t pointer_bytes_;
  std::unique_ptr<Btf> base_;        // null: none

  std::optional<NameIndex> names_, enumerator_names_;  // made on first use
  std::vector<Enumerator> enumerators_;
};

Result<Btf> Btf::open(Bytes data, std::uint8_t pointer_bytes, std::unique_ptr<Btf> base) {
  BtfEntries entries = TRY(BtfEntries::open(data));
  if (entries.damage()) return tl::unexpected(*entries.damage());
  if (base && base->order() != entries.order()) return fail(Errc::bad_data, "BTF: its base has another byte order");
  return Btf(std::move(entries), pointer_bytes, std::move(base));
}

std::string_view Btf::text(std::uint32_t offset) const {
  if (base_) {
    const auto before = static_cast<std::uint32_t>(base_->entries_.strings().size());
    if (offset < before) return base_->text(offset);
    offset -= before;
  }
  const Bytes strings = entries_.strings();
  if (offset >= strings.size()) return {};
  const auto* first = reinterpret_cast<const char*>(strings.data()) + offset;
  return {first, strnlen(first, strings.size() - offset)};
}

TypeNode Btf::node(TypeId id) const {
  const BtfEntry entry = this->entry(id);
  TypeNode node;
  node.name = text(entry.name);
  switch (entry.kind) {
    case BtfKind::integer:
      node.kind = TypeNode::Kind::integer;
      node.size = entry.size_or_type;
      node.is_signed = word(entry.tail) >> 24 & 1;  // BTF_INT_SIGNED
      break;
    case BtfKind::enumeration: case BtfKind::enumeration64:
      node.kind = TypeNode::Kind::integer;
      node.size = entry.size_or_type;
      node.is_signed = entry.flag;
      break;
    case BtfKind::pointer:
      node.kind = TypeNode::Kind::pointer;
      node.size = pointer_bytes_;
      node.target = entry.size_or_type;
      break;
    case BtfKind::structure: case BtfKind::union_: node.size = entry.size_or_type; [[fallthrough]];
    case BtfKind::forward: node.kind = TypeNode::Kind::record; break;
    case BtfKind::array:
      node.kind = TypeNode::Kind::array;
      node.target = word(entry.tail);
      node.count = word(entry.tail + 8);
      break;
    case BtfKind::type_tag: node.name = {}; [[fallthrough]];  // its name is the tag's, not the type's
    case BtfKind::type_def: case BtfKind::volatile_: case BtfKind::const_: case BtfKind::restrict_:
      node.kind = TypeNode::Kind::alias;
      node.target = entry.size_or_type;
      break;
    case BtfKind::floating: node.size = entry.size_or_type; break;
    default: break;
  }
  return node;
}

template <class Visit>
void Btf::each_field(TypeId record, const Visit& visit) const {
  const BtfEntry entry = this->entry(record);
  if (entry.kind != BtfKind::structure && entry.kind != BtfKind::union_) return;
  for (std::uint32_t i = 0; i < entry.count; ++i) {
    const std::uint8_t* at = entry.tail + i * std::size_t{12};
    const std::uint32_t offset = word(at + 8);
    TypeField field{text(word(at)), word(at + 4), offset, 0};
    if (entry.flag) {  // the size of a bit-field is above its offset
      field.bit_offset = offset & 0xffffff;
      field.bit_size = offset >> 24;
    } else if (const BtfEntry type = this->entry(field.type); type.kind == BtfKind::integer) {
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
  const auto rank = [](BtfKind kind) {
    switch (kind) {
      case BtfKind::structure: case BtfKind::union_: return 3;
      case BtfKind::type_def: return 2;
      case BtfKind::integer: case BtfKind::floating: case BtfKind::enumeration: case BtfKind::enumeration64: return 1;
      default: return 0;
    }
  };
  const auto name_of = [this](std::uint32_t id) { return text(entry(id).name); };
  NameIndex index(entries_.size());
  for (std::uint32_t id = first_id(); id < end_id(); ++id) {
    const BtfEntry entry = this->entry(id);
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
  return id ? *id : base_ ? base_->find(name) : 0;
}

void Btf::index_enumerators() {
  for (std::uint32_t id = first_id(); id < end_id(); ++id) {
    const BtfEntry entry = this->entry(id);
    if (entry.kind != BtfKind::enumeration && entry.kind != BtfKind::enumeration64) continue;
    const std::size_t stride = entry.kind == BtfKind::enumeration ? 8 : 12;
    for (std::uint32_t i = 0; i < entry.count; ++i) {
      const std::uint8_t* at = entry.tail + i * stride;
      // kind_flag says signed (since v6.0); before, whoever made the BTF did not tell, and readers take them as unsigned.
      std::uint64_t value = word(at + 4);
      if (entry.kind == BtfKind::enumeration64) value |= std::uint64_t{word(at + 8)} << 32;
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
  if (!number) return base_ ? base_->enumerator(name) : std::nullopt;
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

Result<std::unique_ptr<Types>> open_split_btf(std::vector<std::uint8_t> data, std::vector<std::uint8_t> base, std::uint8_t pointer_bytes) {
  auto below = std::make_unique<Btf>(TRY(Btf::open(base, pointer_bytes)));
  below->own(std::move(base));
  Btf btf = TRY(Btf::open(data, pointer_bytes, std::move(below)));
  btf.own(std::move(data));
  return std::make_unique<GraphTypes<Btf>>(std::move(btf));
}

}  // namespace kvm
