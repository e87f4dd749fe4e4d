// What every Lempel-Ziv decoder does: copy literals from the input, and matches from what it has already written.
// Copies go in steps of 16 bytes and may run past what is wanted as long as the buffers go on: what is written too much
// is overwritten by what follows.  Nothing outside the two buffers is read or written.
#pragma once

#include <cstring>

#include "engine/integers.h"
#include "engine/types.h"

namespace kvm {

struct LzCopy {
  LzCopy(Bytes from, MutableBytes to)
      : in(from.data()),
        in_end(from.data() + from.size()),
        out(to.data()),
        out_begin(to.data()),
        out_end(to.data() + to.size()) {}

  const std::uint8_t* in;
  const std::uint8_t* const in_end;
  std::uint8_t* out;
  std::uint8_t* const out_begin;
  std::uint8_t* const out_end;

  std::size_t in_left() const { return static_cast<std::size_t>(in_end - in); }
  std::size_t out_left() const { return static_cast<std::size_t>(out_end - out); }

  bool literals(std::size_t count) {
    if (count > in_left() || count > out_left()) return false;
    if (in_left() - count >= step && out_left() - count >= step) {
      for (std::size_t done = 0; done < count; done += step) copy_step(out + done, in + done);
    } else if (count) {
      std::memcpy(out, in, count);
    }
    in += count;
    out += count;
    return true;
  }

  // `distance` and `count` are at least 1.
  bool match(std::size_t distance, std::size_t count) {
    if (distance > static_cast<std::size_t>(out - out_begin) || count > out_left()) return false;
    const std::uint8_t* from = out - distance;
    if (out_left() - count < step) {
      overlapping(distance, count);
    } else if (distance >= step) {
      copy_step(out, from);
      for (std::size_t done = step; done < count; done += step) copy_step(out + done, from + done);
    } else if (distance >= 8) {
      for (std::size_t done = 0; done < count; done += 8) store8(out + done, load8(from + done));
    } else {
      // The pattern, as often as it fits into eight bytes; what lies behind it is masked away.
      std::uint64_t pattern = load8(from) & ((std::uint64_t{1} << 8 * distance) - 1);
      for (std::size_t laid = distance; laid < 8; laid *= 2) pattern |= pattern << 8 * laid;
      const std::size_t stride = 8 - 8 % distance;
      for (std::size_t done = 0; done < count; done += stride) store8(out + done, pattern);
    }
    out += count;
    return true;
  }

 private:
  static constexpr std::size_t step = 16;

  static void copy_step(std::uint8_t* to, const std::uint8_t* from) {
    std::uint8_t block[step];
    std::memcpy(block, from, step);
    std::memcpy(to, block, step);
  }
  // In little-endian order, in which a shift to the left moves bytes to higher addresses.
  static std::uint64_t load8(const std::uint8_t* from) { return load<std::uint64_t>(from, std::endian::little); }
  static void store8(std::uint8_t* to, std::uint64_t value) { store(to, value, std::endian::little); }

  // Near the end of the output, exactly.  A match may overlap what it writes: the pattern repeats, so it may be copied
  // from further and further away once it has been laid down.
  void overlapping(std::size_t distance, std::size_t count) {
    std::uint8_t* to = out;
    std::uint8_t* const from = out - distance;
    while (count > 0) {
      const std::size_t ready = static_cast<std::size_t>(to - from);
      const std::size_t part = count < ready ? count : ready;
      std::memcpy(to, from, part);
      to += part;
      count -= part;
    }
  }
};

}  // namespace kvm
