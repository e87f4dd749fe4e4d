// Every number below is an offset from the C struct of the machine in question.
#include "tests/support/freebsd_writer.h"

#include <algorithm>

namespace kvm::testing {
namespace {

using Ranges = std::vector<std::pair<std::uint64_t, std::uint64_t>>;

std::uint64_t rounded(std::uint64_t size, std::uint64_t to) { return (size + to - 1) / to * to; }

// Which bit each page has: the ranges follow each other, each from the page that holds its start to the one that holds its end.
std::vector<std::uint64_t> bits_of(const MinidumpSpec& spec, std::uint64_t& total) {
  Ranges ranges = spec.available;
  if (ranges.empty()) ranges = {{0, spec.pages.empty() ? 0 : spec.pages.rbegin()->first + spec.page_size}};
  std::vector<std::uint64_t> bits;
  for (const auto& [address, data] : spec.pages) {
    std::uint64_t before = 0;
    for (const auto& [start, end] : ranges) {
      if (address / spec.page_size >= start / spec.page_size && address < end) {
        bits.push_back(before + address / spec.page_size - start / spec.page_size);
        break;
      }
      before += rounded(end, spec.page_size) / spec.page_size - start / spec.page_size;
    }
  }
  total = 0;
  for (const auto& [start, end] : ranges) total += rounded(end, spec.page_size) / spec.page_size - start / spec.page_size;
  return bits;
}

Buffer bitmap_of(const MinidumpSpec& spec) {
  std::uint64_t total = 0;
  const auto set = bits_of(spec, total);
  const unsigned word = spec.bitmap_word;
  Buffer bytes(rounded((total + 7) / 8, word));
  for (const std::uint64_t bit : set) {
    const std::uint64_t in_word = bit / 8 % word;
    bytes[bit / 8 - in_word + (spec.big_endian ? word - 1 - in_word : in_word)] |= static_cast<std::uint8_t>(1u << bit % 8);
  }
  return bytes;
}

void put_header(Image& image, const MinidumpSpec& s, std::uint64_t bitmap_size, std::uint64_t available_size) {
  image.put(0, "minidump FreeBSD/" + s.machine);
  const bool power = s.machine == "powerpc64";
  const std::size_t numbers = power ? 0x40 : 0x18;
  image.put(numbers, static_cast<std::uint64_t>(s.version), 4);
  image.put(numbers + 4, s.message.size(), 4);
  image.put(numbers + 8, bitmap_size, 4);
  image.put(numbers + 12, s.entries.size(), 4);
  if (s.machine == "amd64" || s.machine == "mips") {
    image.put(0x28, s.kernbase, 8);
    image.put(0x30, s.dmapbase, 8);
    image.put(0x38, s.dmapend, 8);
    image.put(0x40, available_size, 4);
  } else if (s.machine == "arm64" || s.machine == "riscv") {
    image.put(0x28, s.kernbase, 8);
    image.put(0x30, s.dmapphys, 8);
    image.put(0x38, s.dmapbase, 8);
    image.put(0x40, s.dmapend, 8);
    image.put(0x48, available_size, 4);
    if (s.machine == "arm64" && s.version >= 3) image.put(0x4c, s.page_size == 16384 ? 1 : 0, 4);
  } else if (s.machine == "i386") {
    image.put(0x28, s.kernbase, 4);
    image.put(0x2c, s.pae, 4);
    image.put(0x30, available_size, 4);
  } else if (s.machine == "arm") {
    image.put(0x28, s.kernbase, 4);
    image.put(0x2c, 6, 4);  // arch
    image.put(0x30, 2, 4);  // mmuformat: V6
    image.put(0x34, available_size, 4);
  } else if (power) {
    image.put(0x20, s.mmu_name);
    image.put(0x50, s.kernbase, 8);
    image.put(0x58, s.kernend, 8);
    image.put(0x60, s.dmapbase, 8);
    image.put(0x68, s.dmapend, 8);
    image.put(0x70, 1, 4);
    image.put(0x78, s.startkernel, 8);
    image.put(0x80, s.startkernel + 0x1000000, 8);
    image.put(0x88, available_size, 4);
  }
}

}  // namespace

Buffer number_row(const std::vector<std::uint64_t>& values, int bytes, bool big_endian) {
  Image row(big_endian);
  std::size_t at = 0;
  for (const std::uint64_t value : values) {
    row.put(at, value, bytes);
    at += static_cast<std::size_t>(bytes);
  }
  return row.take();
}

Buffer write_minidump(const MinidumpSpec& spec) {
  Image image(spec.big_endian);
  const Buffer bitmap = bitmap_of(spec);
  Buffer ranges;
  for (const auto& [start, end] : spec.available) {
    const Buffer pair = number_row({start, end}, 8, spec.big_endian);
    ranges.insert(ranges.end(), pair.begin(), pair.end());
  }
  if (!ranges.empty()) ranges.resize(ranges.size() + 16);
  put_header(image, spec, bitmap.size(), ranges.size());
  std::uint64_t at = spec.page_size;
  const auto part = [&](const Buffer& bytes) {
    if (!bytes.empty()) image.put(at, bytes);
    at = rounded(at + bytes.size(), spec.page_size);
    image.pad_to(at);
  };
  Buffer message = spec.message;
  message.insert(message.end(), spec.behind_message.begin(), spec.behind_message.end());
  part(message);
  part(ranges);
  part(bitmap);
  part(spec.entries);
  for (const auto& [address, data] : spec.pages) part(data);  // a map: in the order of their bits when ranges ascend
  return image.take();
}

Buffer write_full_dump(const FullDumpSpec& spec) {
  Image image(spec.big_endian);
  const bool wide = spec.bits == 64;
  const int word = wide ? 8 : 4;
  const std::size_t header = wide ? 0x40 : 0x34, entry = wide ? 0x38 : 0x20, count = spec.memory.size() + (spec.delta_virt ? 1 : 0);
  image.put(0, std::string("\x7f") + "ELF");
  image.put(4, wide ? 2 : 1, 1);
  image.put(5, spec.big_endian ? 2 : 1, 1);
  image.put(6, 1, 1);
  image.put(7, 255, 1);
  image.put(0x10, 4, 2);
  image.put(0x12, spec.machine, 2);
  image.put(wide ? 0x20 : 0x1c, header, word);
  image.put(wide ? 0x34 : 0x28, header, 2);
  image.put(wide ? 0x36 : 0x2a, entry, 2);
  image.put(wide ? 0x38 : 0x2c, count, 2);
  std::size_t at = header, data = rounded(header + count * entry, 4096);
  const auto program_header = [&](std::uint32_t type, std::uint64_t offset, std::uint64_t virt, std::uint64_t phys, std::uint64_t size, std::uint64_t align) {
    image.put(at, type, 4);
    image.put(at + (wide ? 8 : 4), offset, word);
    image.put(at + (wide ? 16 : 8), virt, word);
    image.put(at + (wide ? 24 : 12), phys, word);
    image.put(at + (wide ? 32 : 16), size, word);
    image.put(at + (wide ? 40 : 20), size, word);
    image.put(at + (wide ? 48 : 28), align, word);
    at += entry;
  };
  for (const auto& [address, bytes] : spec.memory) {
    program_header(1, data, address, spec.is_virtual ? ~0ull : address, bytes.size(), 4096);
    image.put(data, bytes);
    data += bytes.size();
  }
  if (spec.delta_virt) program_header(0x6fb5d000, 0, spec.delta_virt, spec.delta_phys, 0, 0x200000);
  return image.take();
}

Buffer kernel_dump_header(const KernelDumpHeaderSpec& spec) {
  Image image(true);
  image.put(0x000, spec.magic);
  image.put(0x014, spec.architecture);
  image.put(0x020, static_cast<std::uint64_t>(spec.version), 4);
  image.put(0x024, 2, 4);
  image.put(0x028, spec.length, 8);
  image.put(0x030, 1700000000, 8);
  const bool old = spec.version == 1;  // without the size of a key
  if (!old) image.put(0x038, spec.key_size, 4);
  image.put(old ? 0x038 : 0x03c, spec.block_size, 4);
  image.put(old ? 0x03c : 0x040, spec.host);
  image.put(old ? 0x07c : 0x080, spec.release);
  image.put(old ? 0x13c : 0x140, spec.panic);
  if (spec.version >= 4) {
    image.put(0x1ef, static_cast<std::uint64_t>(spec.compression), 1);
    image.put(0x1f0, spec.extent, 8);
  }
  image.pad_to(512);
  Buffer bytes = image.take();
  // Parity: the exclusive or of all words is 0.
  for (std::size_t i = 0; i < 508; ++i) bytes[508 + i % 4] ^= bytes[i];
  return bytes;
}

}  // namespace kvm::testing
