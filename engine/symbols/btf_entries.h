// BTF as it lies in memory: a header, a list of variable-length type entries, and a string table (kernel
// Documentation/bpf/btf.rst, include/uapi/linux/btf.h).  Entries are checked to lie inside the data; what they refer to
// (type ids, string offsets) is not.
#pragma once

#include <bit>
#include <optional>
#include <vector>

#include "engine/integers.h"
#include "engine/result.h"

namespace kvm {

enum class BtfKind : std::uint8_t {
  nothing, integer, pointer, array, structure, union_, enumeration, forward, type_def, volatile_, const_, restrict_, function,
  prototype, variable, section, floating, declaration_tag, type_tag, enumeration64,
};

struct BtfEntry {
  BtfKind kind = BtfKind::nothing;
  bool flag = false;               // kind_flag
  std::uint16_t count = 0;         // vlen: of the items in the tail
  std::uint32_t name = 0;          // offset in the strings
  std::uint32_t size_or_type = 0;
  const std::uint8_t* tail = nullptr;
};

class BtfEntries {
 public:
  // `data` outlives the result.  Damage inside the list of types ends the list; `damage` then says what was found.
  static Result<BtfEntries> open(Bytes data);

  std::size_t size() const { return offsets_.size(); }
  BtfEntry operator[](std::size_t index) const { return entry_at(offsets_[index]); }  // type `first id + index`
  Bytes strings() const { return strings_; }
  std::endian order() const { return order_; }
  const std::optional<Error>& damage() const { return damage_; }

 private:
  void index_types();
  BtfEntry entry_at(std::uint32_t offset) const;
  std::uint32_t word(const std::uint8_t* at) const { return load<std::uint32_t>(at, order_); }

  Bytes types_, strings_;
  std::endian order_ = std::endian::little;
  std::vector<std::uint32_t> offsets_;
  std::optional<Error> damage_;
};

}  // namespace kvm
