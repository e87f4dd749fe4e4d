// A stream is the length of what it yields (seven bits per byte, lowest first), then elements; the two lowest bits of an
// element's first byte say what it is:
//
//   LLLLLL00         1 + L literals; L = 60 ... 63: the length less one is in the next 1 ... 4 bytes
//   DDDLLL01 D       match of 4 + L at D (high bits first)
//   LLLLLL10 DD      match of 1 + L at D
//   LLLLLL11 DDDD    match of 1 + L at D
#include "engine/dump/support/snappy.h"

#include "engine/dump/support/lz_copy.h"

namespace kvm {
namespace {

bool read_size(LzCopy& d, std::uint64_t& size) {
  size = 0;
  for (int shift = 0; shift < 35 && d.in != d.in_end; shift += 7) {
    const std::uint8_t byte = *d.in++;
    size |= std::uint64_t{byte & 0x7fu} << shift;
    if (byte < 0x80) return true;
  }
  return false;
}

bool literal_run(LzCopy& d, std::size_t code) {
  std::size_t count = code >> 2;
  if (count >= 60) {
    const std::size_t bytes = count - 59;
    if (bytes > d.in_left()) return false;
    count = load_unsigned({d.in, bytes}, std::endian::little);
    d.in += bytes;
  }
  return d.literals(count + 1);
}

}  // namespace

bool decompress_snappy(Bytes stream, MutableBytes page) {
  LzCopy d(stream, page);
  std::uint64_t size;
  if (!read_size(d, size) || size != page.size()) return false;
  while (d.in != d.in_end) {
    const std::size_t code = *d.in++;
    if ((code & 3) == 0) {
      if (!literal_run(d, code)) return false;
      continue;
    }
    std::size_t distance, length;
    if ((code & 3) != 3 && d.in_left() >= 2) {
      // Without branches: which of the two short forms comes next cannot be predicted.
      const std::size_t word = load<std::uint16_t>(d.in, std::endian::little), is_short = code & 1;
      distance = is_short ? (code >> 5) << 8 | (word & 0xff) : word;
      length = is_short ? 4 + (code >> 2 & 7) : 1 + (code >> 2);
      d.in += 2 - is_short;
    } else {
      const std::size_t bytes = (code & 3) == 3 ? 4 : code & 3;
      if (d.in_left() < bytes) return false;
      distance = load_unsigned({d.in, bytes}, std::endian::little) | ((code & 3) == 1 ? (code >> 5) << 8 : 0);
      length = (code & 3) == 1 ? 4 + (code >> 2 & 7) : 1 + (code >> 2);
      d.in += bytes;
    }
    if (distance == 0 || !d.match(distance, length)) return false;
  }
  return d.out_left() == 0;
}

}  // namespace kvm
