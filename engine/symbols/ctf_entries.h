// CTF as FreeBSD's kernels and modules carry it, in the section .SUNW_ctf: a header, then, mostly compressed, labels, types of symbols,
// a list of variable-length type entries, and a string table (FreeBSD, sys/sys/ctf.h, ctf(5); libctf's ctf_open.c).  Version 2 has
// 16-bit numbers of types, version 3 (since 14.0) 32-bit ones.  GNU's format of the same name has another magic number.
// Entries are checked to lie inside the data; what they refer to is not.
#pragma once

#include <bit>
#include <optional>
#include <string_view>
#include <vector>

#include "engine/integers.h"
#include "engine/result.h"

namespace kvm {

enum class CtfKind : std::uint8_t {
  unknown, integer, floating, pointer, array, function, structure, union_, enumeration, forward, type_def, volatile_, const_, restrict_,
};

// Types are numbered from 1; 0 is none.  A child's own ones have `ctf_own` in their numbers, those without it are its parent's.
inline constexpr std::uint64_t ctf_own = 1ull << 32;

struct CtfEntry {
  CtfKind kind = CtfKind::unknown;
  bool root = false;                  // its name is the program's: not one of several that differ
  std::uint32_t count = 0;            // of the items in the tail
  std::string_view name;
  std::uint64_t size = 0;             // in bytes, where the kind has one
  std::uint64_t type = 0;             // what it refers to, where the kind does
  const std::uint8_t* tail = nullptr;
};

class CtfEntries {
 public:
  // `section` outlives the result.
  static Result<CtfEntries> open(Bytes section);

  std::size_t size() const { return offsets_.size(); }
  CtfEntry operator[](std::size_t index) const { return entry_at(offsets_[index]); }  // type number index + 1
  std::endian order() const { return order_; }
  bool is_child() const { return child_; }
  // Of another build than the child: it has labels, and none is the one that the child was made with.
  bool contradicts(const CtfEntries& child) const;

  struct Integer {
    bool is_signed;
    std::uint8_t offset;
    std::uint16_t bits;
  };
  Integer integer(const CtfEntry& entry) const;
  struct Array {
    std::uint64_t element, count;
  };
  Array array(const CtfEntry& entry) const;
  struct Item {
    std::string_view name;
    std::uint64_t type, bit_offset;
  };
  Item member(const CtfEntry& entry, std::uint32_t number) const;  // of a structure or union
  struct Enumerator {
    std::string_view name;
    std::int64_t value;
  };
  Enumerator enumerator(const CtfEntry& entry, std::uint32_t number) const;

 private:
  CtfEntries(std::endian order, std::uint32_t id_bytes) : order_(order), id_bytes_(id_bytes) {}
  Result<void> read_header(Bytes section);
  Result<void> index_types();
  std::size_t header_size(Bytes entry) const;
  std::optional<std::uint64_t> tail_size(const CtfEntry& entry) const;
  std::uint32_t member_bytes(const CtfEntry& entry) const;
  bool is_long(const CtfEntry& entry) const;
  CtfEntry entry_at(std::uint32_t offset) const;
  std::string_view text(std::uint32_t offset) const;
  std::uint64_t type_number(std::uint32_t id) const;
  std::uint32_t word(const std::uint8_t* at) const { return load<std::uint32_t>(at, order_); }
  std::uint32_t half(const std::uint8_t* at) const { return load<std::uint16_t>(at, order_); }
  std::uint32_t id(const std::uint8_t* at) const { return id_bytes_ == 2 ? half(at) : word(at); }
  CtfKind kind_of(const std::uint8_t* at) const { return static_cast<CtfKind>(id(at + 4) >> (id_bytes_ == 2 ? 11 : 26)); }
  std::uint32_t size_elsewhere() const { return id_bytes_ == 2 ? 0xffff : 0xffff'ffff; }  // CTF_V2_LSIZE_SENT, CTF_V3_LSIZE_SENT

  std::endian order_;
  std::uint32_t id_bytes_;
  bool child_ = false;
  std::vector<std::uint8_t> unpacked_;  // empty: the section was not compressed
  Bytes labels_, types_, strings_;
  std::uint32_t parent_label_ = 0;
  std::vector<std::uint32_t> offsets_;
};

}  // namespace kvm
