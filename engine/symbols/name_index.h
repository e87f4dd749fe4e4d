// Finds numbered things by name: a hash table that holds numbers only, because the names already lie in a mapped
// string table.  Symbols and types are indexed this way in a few milliseconds, without one allocation per name.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string_view>
#include <vector>

namespace kvm {

class NameIndex {
 public:
  explicit NameIndex(std::size_t most) : slots_(std::bit_ceil(most * 2 + 2)) {}

  // The number stored for `name`, or null; `name_of(number)` tells a stored number's name.
  template <class NameOf>
  std::uint32_t* find(std::string_view name, const NameOf& name_of) {
    Slot& slot = slot_of(name, name_of);
    return slot.tag ? &slot.number : nullptr;
  }
  template <class NameOf>
  const std::uint32_t* find(std::string_view name, const NameOf& name_of) const {
    return const_cast<NameIndex*>(this)->find(name, name_of);
  }

  // Stores `number` unless the name has one; returns the place of the name's number.  At most `most` names.
  template <class NameOf>
  std::uint32_t& add(std::string_view name, std::uint32_t number, const NameOf& name_of) {
    Slot& slot = slot_of(name, name_of);
    if (!slot.tag) slot = {tag(hash(name)), number};
    return slot.number;
  }

 private:
  struct Slot {
    std::uint32_t tag = 0;  // of the name's hash; 0: unused
    std::uint32_t number = 0;
  };

  // Eight bytes at a time: indexing a kernel hashes some five megabytes of names.
  static std::uint64_t hash(std::string_view name) {
    constexpr std::uint64_t odd = 0x9e3779b97f4a7c15;
    std::uint64_t state = name.size() * odd;
    for (; name.size() >= 8; name.remove_prefix(8)) {
      std::uint64_t part;
      std::memcpy(&part, name.data(), 8);
      state = std::rotl((state ^ part) * odd, 29);
    }
    std::uint64_t part = 0;
    if (!name.empty()) std::memcpy(&part, name.data(), name.size());
    state = (state ^ part) * odd;
    return state ^ state >> 32;
  }
  static std::uint32_t tag(std::uint64_t hash) { return static_cast<std::uint32_t>(hash >> 32) | 1; }

  template <class NameOf>
  Slot& slot_of(std::string_view name, const NameOf& name_of) {
    const std::uint64_t code = hash(name);
    for (std::size_t i = code & (slots_.size() - 1);; i = (i + 1) & (slots_.size() - 1)) {
      Slot& slot = slots_[i];
      if (!slot.tag || (slot.tag == tag(code) && name_of(slot.number) == name)) return slot;
    }
  }

  std::vector<Slot> slots_;  // a power of two, at least one of them unused
};

}  // namespace kvm
