#include "engine/symbols/btf_entries.h"

#include <optional>

namespace kvm {
namespace {

constexpr std::uint16_t btf_magic = 0xeb9f;
constexpr std::uint32_t entry_size = 12;

// How many bytes follow the 12 of an entry; none for a kind that we do not know.
std::optional<std::uint32_t> tail_size(const BtfEntry& entry) {
  const std::uint32_t count = entry.count;
  switch (entry.kind) {
    case BtfKind::integer: case BtfKind::variable: case BtfKind::declaration_tag: return 4;
    case BtfKind::array: return 12;
    case BtfKind::structure: case BtfKind::union_: case BtfKind::section: case BtfKind::enumeration64: return count * 12;
    case BtfKind::enumeration: case BtfKind::prototype: return count * 8;
    case BtfKind::pointer: case BtfKind::forward: case BtfKind::type_def: case BtfKind::volatile_: case BtfKind::const_:
    case BtfKind::restrict_: case BtfKind::function: case BtfKind::floating: case BtfKind::type_tag: return 0;
    default: return {};
  }
}

}  // namespace

Result<BtfEntries> BtfEntries::open(Bytes data) {
  if (data.size() < 24) return fail(Errc::bad_data, "BTF: too short");
  BtfEntries btf;
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
  btf.index_types();
  return btf;
}

void BtfEntries::index_types() {
  offsets_.reserve(types_.size() / 32);
  for (std::uint32_t at = 0; at < types_.size();) {
    if (types_.size() - at < entry_size) {
      damage_ = {Errc::bad_data, 0, "BTF: cut inside an entry"};
      return;
    }
    const BtfEntry entry = entry_at(at);
    const auto tail = tail_size(entry);
    if (!tail || *tail > types_.size() - at - entry_size) {
      // The length of an unknown kind is unknown too: nothing after it can be read.
      damage_ = tail ? Error{Errc::bad_data, 0, "BTF: cut inside an entry"}
                     : Error{Errc::unsupported, 0, "BTF: type kind " + std::to_string(static_cast<int>(entry.kind))};
      return;
    }
    offsets_.push_back(at);
    at += entry_size + *tail;
  }
}

BtfEntry BtfEntries::entry_at(std::uint32_t offset) const {
  const std::uint8_t* at = types_.data() + offset;
  const std::uint32_t info = word(at + 4);
  return {static_cast<BtfKind>(info >> 24 & 31), info >> 31 != 0, static_cast<std::uint16_t>(info), word(at), word(at + 8),
          at + entry_size};
}

}  // namespace kvm
