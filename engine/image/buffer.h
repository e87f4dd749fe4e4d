// Bytes that are written one after the other, in the target's byte order, and patched where a value is known later.
#pragma once

#include <algorithm>
#include <string_view>
#include <vector>

#include "engine/integers.h"

namespace kvm::image {

class Buffer {
 public:
  explicit Buffer(std::endian order, std::size_t expected = 0) : order_(order), bytes_(expected) {}

  std::size_t size() const { return used_; }
  std::endian order() const { return order_; }
  Bytes view() const { return {bytes_.data(), used_}; }
  std::vector<std::uint8_t> take() && {
    bytes_.resize(used_);
    return std::move(bytes_);
  }

  void u8(std::uint8_t value) { *grow(1) = value; }
  void u16(std::uint16_t value) { store(grow(2), value, order_); }
  void u32(std::uint32_t value) { store(grow(4), value, order_); }
  void u64(std::uint64_t value) { store(grow(8), value, order_); }
  // An address: 4 or 8 bytes.
  void word(std::uint64_t value, std::uint8_t size) { size == 4 ? u32(static_cast<std::uint32_t>(value)) : u64(value); }
  // DWARF's variable-length integers, 7 bits to a byte (DWARF 5, section 7.6).
  void uleb(std::uint64_t value) {
    for (; value >= 0x80; value >>= 7) u8(static_cast<std::uint8_t>(value | 0x80));
    u8(static_cast<std::uint8_t>(value));
  }
  void sleb(std::int64_t value) {
    for (; value < -0x40 || value >= 0x40; value >>= 7) u8(static_cast<std::uint8_t>(value | 0x80));
    u8(static_cast<std::uint8_t>(value & 0x7f));
  }
  void bytes(Bytes data) { std::copy(data.begin(), data.end(), grow(data.size())); }
  void align(std::size_t to) {
    while (used_ % to != 0) u8(0);
  }
  void patch32(std::size_t at, std::uint32_t value) { store(bytes_.data() + at, value, order_); }
  // Room for `size` bytes at the end.
  std::uint8_t* grow(std::size_t size) {
    if (bytes_.size() - used_ < size) bytes_.resize(std::max(bytes_.size() * 2, used_ + size + 4096));
    used_ += size;
    return bytes_.data() + used_ - size;
  }

 private:
  std::endian order_;
  std::vector<std::uint8_t> bytes_;  // longer than what is used
  std::size_t used_ = 0;
};

// Copies a name that came from the dump.  What is not printable ASCII becomes '?': debuggers print names as they are,
// and a terminal obeys control characters.
inline void copy_printable(std::string_view text, std::uint8_t* to) {
  for (const char c : text) *to++ = c >= 0x20 && c < 0x7f ? static_cast<std::uint8_t>(c) : '?';
}

}  // namespace kvm::image
