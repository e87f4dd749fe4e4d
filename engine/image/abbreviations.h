// The shapes of the entries that we write (DWARF 5, sections 3 to 5 and 7.5): each is a tag with a fixed list of
// attributes, some of which may be left out.  A combination gets its code when it is first used.
#pragma once

#include <array>

#include "engine/image/buffer.h"

namespace kvm::image {

enum class Shape : std::uint8_t {
  unit, base_type, pointer_type, const_type, volatile_type, restrict_type, type_def, array_type, subrange, structure_type,
  union_type, structure_declaration, union_declaration, member, enumeration_type, enumerator, subroutine_type, parameter,
  unspecified_parameters, subprogram, variable, inline_subprogram, inlined_call,
};

// What an entry has beyond its shape's fixed attributes.
inline constexpr unsigned has_name = 1;
inline constexpr unsigned has_type = 2;        // a reference within the unit
inline constexpr unsigned has_far_type = 4;    // a reference to another unit
inline constexpr unsigned has_children = 8;
inline constexpr unsigned is_bit_field = 16;   // member
inline constexpr unsigned is_external = 16;    // subprogram, variable
inline constexpr unsigned is_signed = 16;      // enumerator
inline constexpr unsigned has_code = 16;       // unit
inline constexpr unsigned has_count = 16;      // subrange

class Abbreviations {
 public:
  explicit Abbreviations(std::endian order) : table_(order) {}

  std::uint32_t code(Shape shape, unsigned extras) {
    std::uint16_t& code = codes_[static_cast<std::size_t>(shape)][extras];
    if (code == 0) declare(shape, extras, code = ++last_);
    return code;
  }
  Bytes finish();  // .debug_abbrev

 private:
  void declare(Shape shape, unsigned extras, std::uint16_t code);

  std::array<std::array<std::uint16_t, 32>, 23> codes_{};
  std::uint16_t last_ = 0;
  Buffer table_;
};

}  // namespace kvm::image
