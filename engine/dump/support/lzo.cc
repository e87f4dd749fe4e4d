// A stream is a row of instructions.  All but literal runs copy a match from the output, and say in their two lowest bits
// ("S") how many literals follow it; S = 0 lets the next instruction be a literal run.
//
//   0000LLLL               after S = 0: 3 + L literals (L = 0: 15 + 255 per zero byte + the byte after)
//   0000DDSS H             after S > 0: match of 2 at 1 + D + 4 H;  after a literal run: of 3 at 2049 + D + 4 H
//   0001HLLL DDDDDDSS D    match of 2 + L (L = 0: 7 + ...) at 16384 + 16384 H + D; distance 16384 ends the stream
//   001LLLLL DDDDDDSS D    match of 2 + L (L = 0: 31 + ...) at 1 + D
//   01LDDDSS H             match of 3 + L at 1 + D + 8 H
//   1LLDDDSS H             match of 5 + L at 1 + D + 8 H
#include "engine/dump/support/lzo.h"

#include <cstring>

#include "engine/dump/support/lz_copy.h"

namespace kvm {
namespace {

// The rest of a long length: 255 for each zero byte, and the byte after them.  False at the end of the input.
bool long_length(LzCopy& d, std::size_t& length) {
  while (length <= d.out_left() + 255 && d.in != d.in_end) {
    const std::uint8_t byte = *d.in++;
    length += byte ? byte : 255;
    if (byte) return true;
  }
  return false;
}

}  // namespace

bool decompress_lzo(Bytes stream, MutableBytes page) {
  LzCopy d(stream, page);
  enum class After : std::uint8_t { match, few_literals, literal_run } after = After::match;
  if (d.in_left() && *d.in > 17) {  // only at the start: a run of this less 17 literals
    const std::size_t count = *d.in++ - 17u;
    if (!d.literals(count)) return false;
    after = count < 4 ? After::few_literals : After::literal_run;
  }
  while (d.in_left() >= 3) {  // the shortest end is three bytes long
    const std::size_t code = *d.in;
    std::size_t distance, length, tail;
    if (code >= 64) {
      distance = 1 + (code >> 2 & 7) + (std::size_t{d.in[1]} << 3);
      length = (code >> 5) + 1;
      tail = code & 3;
      d.in += 2;
    } else if (code >= 16) {
      ++d.in;
      const std::size_t bits = code >= 32 ? 31 : 7;
      length = code & bits;
      if (length == 0) {
        length = bits;
        if (!long_length(d, length) || d.in_left() < 2) return false;
      }
      length += 2;
      if (d.in_left() < 2) return false;
      const std::size_t word = d.in[0] | std::size_t{d.in[1]} << 8;
      d.in += 2;
      distance = (word >> 2) + 1;
      if (code < 32) {
        distance += 16383 + ((code & 8) << 11);
        if (distance == 16384) return d.in_left() == 0 && d.out_left() == 0 && length == 3;
      }
      tail = word & 3;
    } else if (after == After::match) {
      ++d.in;
      length = code;
      if (length == 0) {
        length = 15;
        if (!long_length(d, length)) return false;
      }
      if (!d.literals(length + 3)) return false;
      after = After::literal_run;
      continue;
    } else {
      distance = 1 + (code >> 2) + (std::size_t{d.in[1]} << 2) + (after == After::literal_run ? 2048 : 0);
      length = after == After::literal_run ? 3 : 2;
      tail = code & 3;
      d.in += 2;
    }
    if (!d.match(distance, length)) return false;
    if (d.in_left() >= 4 && d.out_left() >= 4) {
      std::memcpy(d.out, d.in, 4);
      d.in += tail;
      d.out += tail;
    } else if (!d.literals(tail)) {
      return false;
    }
    after = tail ? After::few_literals : After::match;
  }
  return false;
}

}  // namespace kvm
