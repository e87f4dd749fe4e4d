// Addresses and bytes.  Virtual and physical addresses are different types so that the compiler finds the mix-ups.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace kvm {

using Bytes = std::span<const std::uint8_t>;
using MutableBytes = std::span<std::uint8_t>;

// An address in one address space.  Arithmetic wraps modulo 2^64 and never traps.
template <class Space>
struct Address {
  std::uint64_t raw = 0;

  friend constexpr auto operator<=>(Address, Address) = default;
  friend constexpr Address operator+(Address a, std::uint64_t n) { return {a.raw + n}; }
  friend constexpr Address operator-(Address a, std::uint64_t n) { return {a.raw - n}; }
  friend constexpr std::uint64_t operator-(Address a, Address b) { return a.raw - b.raw; }
};
using VirtAddr = Address<struct VirtualSpace>;
using PhysAddr = Address<struct PhysicalSpace>;

struct PhysRange {
  PhysAddr first;
  std::uint64_t size = 0;  // bytes; first + size never exceeds 2^64
};

struct Access {
  bool write = true, execute = true, user = false;
  friend bool operator==(const Access&, const Access&) = default;
};

// A run of virtual addresses that translate alike: a page, or a hole when `phys` is empty.
// `last` is inclusive because a hole can reach to 2^64.
struct Extent {
  VirtAddr first, last;
  std::optional<PhysAddr> phys;  // of `first`
  Access access;

  // Physical address of an address inside the extent; the extent must not be a hole.
  PhysAddr at(VirtAddr a) const { return *phys + (a - first); }
};

}  // namespace kvm
