// Integers as they lie in files and in other machines' memory: of either byte order and any alignment.
#pragma once

#include <bit>
#include <concepts>
#include <cstdint>
#include <cstring>
#include <string>

#include "engine/types.h"

namespace kvm {

template <std::unsigned_integral T>
constexpr T byte_swap(T value) {
  if constexpr (sizeof(T) == 1) return value;
  else if constexpr (sizeof(T) == 2) return __builtin_bswap16(value);
  else if constexpr (sizeof(T) == 4) return __builtin_bswap32(value);
  else return __builtin_bswap64(value);
}

// The caller has checked that sizeof(T) bytes are there.
template <std::unsigned_integral T>
T load(const std::uint8_t* from, std::endian order) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return order == std::endian::native ? value : byte_swap(value);
}
template <std::unsigned_integral T>
void store(std::uint8_t* to, T value, std::endian order) {
  if (order != std::endian::native) value = byte_swap(value);
  std::memcpy(to, &value, sizeof value);
}

// An integer of 1 to 8 bytes, zero-extended.
inline std::uint64_t load_unsigned(Bytes from, std::endian order) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < from.size() && i < 8; ++i)
    value = value << 8 | from[order == std::endian::big ? i : from.size() - 1 - i];
  return value;
}

// Two lower-case hexadecimal digits per byte, as build ids are written.
inline std::string hex_digits(Bytes bytes) {
  constexpr char digits[] = "0123456789abcdef";
  std::string text;
  for (const std::uint8_t byte : bytes) text += {digits[byte >> 4], digits[byte & 15]};
  return text;
}

// A field of an on-disk struct: reads like an integer, knows its byte order, needs no alignment.
template <std::unsigned_integral T, std::endian Order>
class OnDisk {
 public:
  operator T() const { return load<T>(bytes_, Order); }  // NOLINT: implicit on purpose
  OnDisk& operator=(T value) { store(bytes_, value, Order); return *this; }

 private:
  std::uint8_t bytes_[sizeof(T)];
};
using le16 = OnDisk<std::uint16_t, std::endian::little>;
using le32 = OnDisk<std::uint32_t, std::endian::little>;
using le64 = OnDisk<std::uint64_t, std::endian::little>;
using be16 = OnDisk<std::uint16_t, std::endian::big>;
using be32 = OnDisk<std::uint32_t, std::endian::big>;
using be64 = OnDisk<std::uint64_t, std::endian::big>;

}  // namespace kvm
