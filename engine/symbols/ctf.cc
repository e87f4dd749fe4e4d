#include "engine/symbols/ctf.h"

#include "engine/symbols/ctf_entries.h"
#include "engine/symbols/name_index.h"
#include "engine/symbols/type_graph.h"

namespace kvm {
namespace {

class Ctf {
 public:
  static Result<Ctf> open(Bytes section, std::uint8_t pointer_bytes, std::unique_ptr<Ctf> parent = nullptr);

  std::endian order() const { return entries_.order(); }
  TypeId find(std::string_view name);
  TypeNode node(TypeId id) const;
  template <class Visit>
  void each_field(TypeId record, const Visit& visit) const;
  std::optional<std::int64_t> enumerator(std::string_view name);

 private:
  Ctf(CtfEntries entries, std::uint8_t pointer_bytes, std::unique_ptr<Ctf> parent)
      : entries_(std::move(entries)), pointer_bytes_(pointer_bytes), parent_(std::move(parent)) {}
  TypeId own(std::size_t index) const { return (index + 1) | (entries_.is_child() ? ctf_own : 0); }
  // Who has the type's entry; null: nobody.
  const Ctf* home(TypeId id) const {
    const bool foreign = entries_.is_child() && !(id & ctf_own);
    return foreign ? parent_.get() : this;
  }
  CtfEntry entry(TypeId id) const {
    const std::uint64_t number = id & ~ctf_own;
    return number == 0 || number > entries_.size() ? CtfEntry{} : entries_[number - 1];
  }
  CtfEntry any_entry(TypeId id) const {
    const Ctf* from = home(id);
    return from ? from->entry(id) : CtfEntry{};
  }
  TypeField field_of(const CtfEntries::Item& item) const;
  void index_names();
  void index_enumerators();

  CtfEntries entries_;
  std::uint8_t pointer_bytes_;
  std::unique_ptr<Ctf> parent_;  // null: none, or not known

  std::optional<NameIndex> names_, enumerator_names_;  // made on first use
  std::vector<CtfEntries::Enumerator> enumerators_;
};

Result<Ctf> Ctf::open(Bytes section, std::uint8_t pointer_bytes, std::unique_ptr<Ctf> parent) {
  CtfEntries entries = TRY(CtfEntries::open(section));
  if (parent && parent->order() != entries.order()) return fail(Errc::bad_data, "CTF: its parent has another byte order");
  if (parent && parent->entries_.contradicts(entries)) return fail(Errc::bad_data, "CTF: its parent is of another build");
  return Ctf(std::move(entries), pointer_bytes, std::move(parent));
}

TypeNode Ctf::node(TypeId id) const {
  const Ctf* from = home(id);
  if (!from) return {};
  const CtfEntry entry = from->entry(id);
  TypeNode node;
  node.name = entry.name;
  switch (entry.kind) {
    case CtfKind::integer:
      node.kind = TypeNode::Kind::integer;
      node.size = entry.size;
      node.is_signed = from->entries_.integer(entry).is_signed;
      break;
    case CtfKind::enumeration:  // enumerators are int, whatever the size (struct ctf_enum)
      node.kind = TypeNode::Kind::integer;
      node.size = entry.size ? entry.size : 4;
      node.is_signed = true;
      break;
    case CtfKind::pointer:
      node.kind = TypeNode::Kind::pointer;
      node.size = pointer_bytes_;
      node.target = entry.type;
      break;
    case CtfKind::structure: case CtfKind::union_: node.size = entry.size; [[fallthrough]];
    case CtfKind::forward: node.kind = TypeNode::Kind::record; break;
    case CtfKind::array: {
      const CtfEntries::Array array = from->entries_.array(entry);
      node.kind = TypeNode::Kind::array;
      node.target = array.element;
      node.count = array.count;
      break;
    }
    case CtfKind::type_def: case CtfKind::volatile_: case CtfKind::const_: case CtfKind::restrict_:
      node.kind = TypeNode::Kind::alias;
      node.target = entry.type;
      break;
    case CtfKind::floating: node.size = entry.size; break;
    default: break;
  }
  return node;
}

// A bit-field has an integer type of its own, of fewer bits (tdesc_intr_clone() in FreeBSD's ctftools, cvt/dwarf.c).  One of an
// enumeration keeps its type, and nobody tells how many bits it has: where it shows, it is said not to be known.
TypeField Ctf::field_of(const CtfEntries::Item& item) const {
  TypeField field{item.name, item.type, item.bit_offset, 0};
  const Ctf* from = home(item.type);
  if (!from) return field;
  const CtfEntry type = from->entry(item.type);
  if (type.kind == CtfKind::integer) {
    const CtfEntries::Integer integer = from->entries_.integer(type);
    if (integer.bits == type.size * 8) return field;
    field.bit_size = integer.bits;
    field.bit_offset += integer.offset;
  } else if (item.bit_offset % 8 != 0) {
    field.type = 0;
  }
  return field;
}

template <class Visit>
void Ctf::each_field(TypeId record, const Visit& visit) const {
  const Ctf* from = home(record);
  const CtfEntry entry = any_entry(record);
  if (entry.kind != CtfKind::structure && entry.kind != CtfKind::union_) return;
  for (std::uint32_t i = 0; i < entry.count; ++i)
    if (!visit(from->field_of(from->entries_.member(entry, i)))) return;
}

void Ctf::index_names() {
  // Records go before typedefs, and these before base types and enumerations of the same name; where several files of a program
  // have different types of a name, the root one is what the name means.
  const auto rank = [](const CtfEntry& entry) {
    switch (entry.kind) {
      case CtfKind::structure: case CtfKind::union_: return 6 + entry.root;
      case CtfKind::type_def: return 4 + entry.root;
      case CtfKind::integer: case CtfKind::floating: case CtfKind::enumeration: return 2 + entry.root;
      default: return 0;
    }
  };
  const auto name_of = [this](std::uint32_t index) { return entries_[index].name; };
  NameIndex index(entries_.size());
  for (std::uint32_t i = 0; i < entries_.size(); ++i) {
    const CtfEntry entry = entries_[i];
    if (rank(entry) == 0 || entry.name.empty()) continue;
    std::uint32_t& kept = index.add(entry.name, i, name_of);
    if (rank(entry) > rank(entries_[kept])) kept = i;
  }
  names_ = std::move(index);
}

TypeId Ctf::find(std::string_view name) {
  if (!names_) index_names();
  const std::uint32_t* index = names_->find(name, [this](std::uint32_t i) { return entries_[i].name; });
  return index ? own(*index) : parent_ ? parent_->find(name) : 0;
}

void Ctf::index_enumerators() {
  for (std::uint32_t i = 0; i < entries_.size(); ++i) {
    const CtfEntry entry = entries_[i];
    for (std::uint32_t j = 0; entry.kind == CtfKind::enumeration && j < entry.count; ++j)
      if (const auto enumerator = entries_.enumerator(entry, j); !enumerator.name.empty()) enumerators_.push_back(enumerator);
  }
  const auto name_of = [this](std::uint32_t n) { return enumerators_[n].name; };
  NameIndex index(enumerators_.size());
  for (std::uint32_t i = 0; i < enumerators_.size(); ++i) index.add(name_of(i), i, name_of);
  enumerator_names_ = std::move(index);
}

std::optional<std::int64_t> Ctf::enumerator(std::string_view name) {
  if (!enumerator_names_) index_enumerators();
  const std::uint32_t* number = enumerator_names_->find(name, [this](std::uint32_t n) { return enumerators_[n].name; });
  if (number) return enumerators_[*number].value;
  return parent_ ? parent_->enumerator(name) : std::nullopt;
}

}  // namespace

Result<std::unique_ptr<Types>> open_ctf(Bytes section, std::uint8_t pointer_bytes) {
  return std::make_unique<GraphTypes<Ctf>>(TRY(Ctf::open(section, pointer_bytes)));
}

Result<std::unique_ptr<Types>> open_child_ctf(Bytes section, Bytes parent, std::uint8_t pointer_bytes) {
  auto above = std::make_unique<Ctf>(TRY(Ctf::open(parent, pointer_bytes)));
  return std::make_unique<GraphTypes<Ctf>>(TRY(Ctf::open(section, pointer_bytes, std::move(above))));
}

}  // namespace kvm
