#include "engine/symbols/ctf_entries.h"

#include <libdeflate.h>

#include <cstring>
#include <memory>

namespace kvm {
namespace {

constexpr std::uint16_t ctf_magic = 0xcff1, gnu_magic = 0xdff2;  // the latter: binutils, include/ctf.h
constexpr std::size_t header_bytes = 36, label_bytes = 8, enumerator_bytes = 8;
constexpr std::uint8_t compressed = 0x1;
constexpr std::uint64_t most_bytes = 128 << 20, best_ratio = 1032;  // deflate's, zlib's FAQ

Result<std::vector<std::uint8_t>> unpack(Bytes packed, std::uint64_t size) {
  if (size > most_bytes || size > packed.size() * best_ratio) return fail(Errc::bad_data, "CTF: its size makes no sense");
  struct Free {
    void operator()(libdeflate_decompressor* d) const { libdeflate_free_decompressor(d); }
  };
  const std::unique_ptr<libdeflate_decompressor, Free> inflater{libdeflate_alloc_decompressor()};
  std::vector<std::uint8_t> out(size);
  // Without a place for the actual size, fewer bytes than `out` are an error.
  if (!inflater || libdeflate_zlib_decompress(inflater.get(), packed.data(), packed.size(), out.data(), out.size(), nullptr) != LIBDEFLATE_SUCCESS)
    return fail(Errc::bad_data, "CTF: damaged where it is compressed");
  return out;
}

// Kinds that say a size; the others refer to a type in its place.
bool has_size(CtfKind kind) {
  switch (kind) {
    case CtfKind::unknown: case CtfKind::integer: case CtfKind::floating: case CtfKind::array: case CtfKind::structure: case CtfKind::union_:
    case CtfKind::enumeration: return true;
    default: return false;
  }
}

}  // namespace

Result<CtfEntries> CtfEntries::open(Bytes section) {
  if (section.size() < header_bytes) return fail(Errc::bad_data, "CTF: too short");
  const auto magic = [&](std::endian order) { return load<std::uint16_t>(section.data(), order); };
  if (magic(std::endian::little) == gnu_magic || magic(std::endian::big) == gnu_magic) return fail(Errc::unsupported, "CTF: GNU's format, which is another");
  const std::endian order = magic(std::endian::big) == ctf_magic ? std::endian::big : std::endian::little;
  if (magic(order) != ctf_magic) return fail(Errc::bad_data, "CTF: wrong magic number");
  const std::uint8_t version = section[2];
  if (version != 2 && version != 3) return fail(Errc::unsupported, "CTF: version " + std::to_string(version));
  CtfEntries ctf(order, version == 2 ? 2 : 4);
  TRY(ctf.read_header(section));
  TRY(ctf.index_types());
  return ctf;
}

// struct ctf_header: offsets count from its end, each part reaches to the next one.
Result<void> CtfEntries::read_header(Bytes section) {
  enum { parent_label = 4, parent_name = 8, labels = 12, objects = 16, types = 24, strings = 28, strings_size = 32 };
  const auto field = [&](std::size_t at) -> std::uint64_t { return word(section.data() + at); };
  const std::uint64_t size = field(strings) + field(strings_size);
  Bytes body = section.subspan(header_bytes);
  if (section[3] & compressed) {
    unpacked_ = TRY(unpack(body, size));
    body = unpacked_;
  }
  if (size > body.size()) return fail(Errc::bad_data, "CTF: cut");
  if (field(labels) > field(objects) || field(objects) > field(types) || field(types) > field(strings))
    return fail(Errc::bad_data, "CTF: its parts are not in order");
  labels_ = body.subspan(field(labels), field(objects) - field(labels));
  types_ = body.subspan(field(types), field(strings) - field(types));
  strings_ = body.subspan(field(strings), field(strings_size));
  parent_label_ = word(section.data() + parent_label);
  child_ = field(parent_name) != 0;
  return {};
}

Result<void> CtfEntries::index_types() {
  offsets_.reserve(types_.size() / 32);
  for (std::uint64_t at = 0; at < types_.size();) {
    if (types_.size() - at < header_size(types_.subspan(at))) return fail(Errc::bad_data, "CTF: cut inside an entry");
    const CtfEntry entry = entry_at(static_cast<std::uint32_t>(at));
    const auto tail = tail_size(entry);
    if (!tail) return fail(Errc::unsupported, "CTF: type kind " + std::to_string(static_cast<int>(entry.kind)));
    const auto begin = static_cast<std::uint64_t>(entry.tail - types_.data());
    if (*tail > types_.size() - begin) return fail(Errc::bad_data, "CTF: cut inside an entry");
    offsets_.push_back(static_cast<std::uint32_t>(at));
    at = begin + *tail;
  }
  return {};
}

// Of an entry: two words more where its size does not fit into the usual place.
std::size_t CtfEntries::header_size(Bytes entry) const {
  const std::size_t shortest = 4 + 2 * id_bytes_;
  return entry.size() >= shortest && has_size(kind_of(entry.data())) && id(entry.data() + 4 + id_bytes_) == size_elsewhere() ? shortest + 8 : shortest;
}

// None for a kind that we do not know: the entry's length is unknown, too.
std::optional<std::uint64_t> CtfEntries::tail_size(const CtfEntry& entry) const {
  const std::uint64_t count = entry.count;
  switch (entry.kind) {
    case CtfKind::integer: case CtfKind::floating: return 4;
    case CtfKind::array: return 2 * id_bytes_ + 4;
    case CtfKind::function: return (count * id_bytes_ + 3) & ~std::uint64_t{3};
    case CtfKind::structure: case CtfKind::union_: return count * member_bytes(entry);
    case CtfKind::enumeration: return count * enumerator_bytes;
    case CtfKind::unknown: case CtfKind::pointer: case CtfKind::forward: case CtfKind::type_def: case CtfKind::volatile_: case CtfKind::const_:
    case CtfKind::restrict_: return 0;
    default: return {};
  }
}

// CTF_V2_LSTRUCT_THRESH, CTF_V3_LSTRUCT_THRESH: so long that members' offsets in bits need more room.
bool CtfEntries::is_long(const CtfEntry& entry) const { return entry.size >= (id_bytes_ == 2 ? 1u << 13 : 1u << 29); }

std::uint32_t CtfEntries::member_bytes(const CtfEntry& entry) const { return is_long(entry) ? 16 : 4 + 2 * id_bytes_; }

// struct ctf_stype: a name, bits (CTF_V2_TYPE_INFO, CTF_V3_TYPE_INFO), a size or a type; struct ctf_type has two words more, the size.
CtfEntry CtfEntries::entry_at(std::uint32_t offset) const {
  const std::uint8_t* at = types_.data() + offset;
  const std::uint32_t info = id(at + 4), size_or_type = id(at + 4 + id_bytes_);
  CtfEntry entry;
  entry.kind = kind_of(at);
  entry.root = info >> (id_bytes_ == 2 ? 10 : 25) & 1;
  entry.count = info & (id_bytes_ == 2 ? 0x3ff : 0xff'ffff);
  entry.name = text(word(at));
  entry.tail = at + 4 + 2 * id_bytes_;
  if (!has_size(entry.kind)) {
    entry.type = type_number(size_or_type);
  } else if (size_or_type == size_elsewhere()) {
    entry.size = std::uint64_t{word(entry.tail)} << 32 | word(entry.tail + 4);
    entry.tail += 8;
  } else {
    entry.size = size_or_type;
  }
  return entry;
}

std::uint64_t CtfEntries::type_number(std::uint32_t id) const {
  const std::uint32_t own = id_bytes_ == 2 ? 0x8000 : 0x8000'0000;
  return child_ && id & own ? ctf_own | (id & ~own) : id;
}

// The highest bit means the string table of the file's symbols, where the tools put no name of a type (ctftools, cvt/ctf.c).
std::string_view CtfEntries::text(std::uint32_t offset) const {
  if (offset >= strings_.size() || offset >> 31) return {};
  const auto* first = reinterpret_cast<const char*>(strings_.data()) + offset;
  return {first, strnlen(first, strings_.size() - offset)};
}

bool CtfEntries::contradicts(const CtfEntries& child) const {
  const std::string_view wanted = child.text(child.parent_label_);
  for (std::size_t at = 0; at + label_bytes <= labels_.size(); at += label_bytes)
    if (text(word(labels_.data() + at)) == wanted) return false;
  return !wanted.empty() && labels_.size() >= label_bytes;
}

CtfEntries::Integer CtfEntries::integer(const CtfEntry& entry) const {
  const std::uint32_t data = word(entry.tail);
  return {(data >> 24 & 1) != 0, static_cast<std::uint8_t>(data >> 16), static_cast<std::uint16_t>(data)};
}

CtfEntries::Array CtfEntries::array(const CtfEntry& entry) const { return {type_number(id(entry.tail)), word(entry.tail + 2 * id_bytes_)}; }

CtfEntries::Item CtfEntries::member(const CtfEntry& entry, std::uint32_t number) const {
  const std::uint8_t* at = entry.tail + std::size_t{number} * member_bytes(entry);
  const std::uint64_t type = type_number(id(at + 4));
  if (is_long(entry)) return {text(word(at)), type, std::uint64_t{word(at + 8)} << 32 | word(at + 12)};
  return {text(word(at)), type, id(at + 4 + id_bytes_)};
}

CtfEntries::Enumerator CtfEntries::enumerator(const CtfEntry& entry, std::uint32_t number) const {
  const std::uint8_t* at = entry.tail + std::size_t{number} * enumerator_bytes;
  return {text(word(at)), static_cast<std::int32_t>(word(at + 4))};
}

}  // namespace kvm
