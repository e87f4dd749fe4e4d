// makedumpfile, diskdump_mod.h: struct disk_dump_header and struct kdump_sub_header.
// Which byte order and which size of long wrote the file is found by trying: only one reading makes sense.
#include "engine/dump/support/kdump_header.h"

#include <fmt/format.h>

#include <cstring>
#include <optional>

#include "arch/arch.h"
#include "engine/integers.h"
#include "engine/notes.h"

namespace kvm {
namespace {

constexpr std::uint64_t smallest_block = 512, largest_block = 1 << 20;
constexpr std::uint64_t highest_address = std::uint64_t{1} << 56;  // RISC-V has the widest physical addresses

// Offsets in the main header.  The struct holds a timeval, so the size of long moves what follows.
struct MainLayout {
  std::uint8_t word;
  std::uint16_t timestamp, status, block_size, sub_size, bitmap_blocks, max_mapnr, size;
};
constexpr MainLayout main64{8, 0x198, 0x1a8, 0x1ac, 0x1b0, 0x1b4, 0x1b8, 0x1d0};
constexpr MainLayout main32{4, 0x194, 0x19c, 0x1a0, 0x1a4, 0x1a8, 0x1ac, 0x1c4};
constexpr std::uint16_t version_at = 0x8, utsname_at = 0xc, utsname_field = 65;

// Offsets in the sub header.  With 32-bit longs, i386 packs u64 at four bytes where others align it at eight.
struct SubLayout {
  std::uint8_t word;
  std::uint8_t dump_level, split, start_pfn, end_pfn, vmcoreinfo, vmcoreinfo_size, notes, notes_size, start_64, end_64, max_64,
      size;
};
constexpr SubLayout sub64{8, 0x08, 0x0c, 0x10, 0x18, 0x20, 0x28, 0x30, 0x38, 0x50, 0x58, 0x60, 0x68};
constexpr SubLayout packed32{4, 0x04, 0x08, 0x0c, 0x10, 0x14, 0x1c, 0x20, 0x28, 0x38, 0x40, 0x48, 0x50};
constexpr SubLayout aligned32{4, 0x04, 0x08, 0x0c, 0x10, 0x18, 0x20, 0x28, 0x30, 0x48, 0x50, 0x58, 0x60};

// A struct's bytes; fields by offset.
struct Fields {
  Bytes bytes;
  std::endian order;
  std::uint32_t u32(std::size_t at) const { return load<std::uint32_t>(bytes.data() + at, order); }
  std::uint64_t u64(std::size_t at) const { return load<std::uint64_t>(bytes.data() + at, order); }
  std::uint64_t word(std::size_t at, std::uint8_t size) const { return load_unsigned(bytes.subspan(at, size), order); }
};

// A reading of the main header: what it says, and what is wrong with it.
struct Reading {
  KdumpHeader header;
  std::uint32_t sub_blocks = 0;
  std::string problem;
};

std::string problem_of(const KdumpHeader& h, const MainLayout& l, std::uint32_t sub_blocks, std::uint32_t bitmap_blocks) {
  if (h.version > 6) return fmt::format("header_version {} at {:#x}, expected 0 to 6", h.version, version_at);
  if (h.block_size < smallest_block || h.block_size > largest_block || !std::has_single_bit(h.block_size))
    return fmt::format("block_size {} at {:#x}, expected a power of two from {} to {}", h.block_size, l.block_size,
                       smallest_block, largest_block);
  if (sub_blocks == 0 || sub_blocks >> 31)
    return fmt::format("sub_hdr_size {} at {:#x}, expected 1 or more", sub_blocks, l.sub_size);
  if (h.bitmap_size * 8 < h.max_pfn)
    return fmt::format("bitmap_blocks {} at {:#x} too few for max_mapnr {:#x}", bitmap_blocks, l.bitmap_blocks, h.max_pfn);
  if (bitmap_blocks == 0) return fmt::format("bitmap_blocks 0 at {:#x}", l.bitmap_blocks);
  return {};
}

Reading read_main(Bytes raw, const MainLayout& l, std::endian order) {
  const Fields f{raw, order};
  Reading r;
  KdumpHeader& h = r.header;
  h.order = order;
  h.word = l.word;
  h.version = f.u32(version_at);
  for (std::size_t i = 0; i < h.utsname.size(); ++i)
    h.utsname[i] = text_of(raw.subspan(utsname_at + i * utsname_field, utsname_field));
  h.seconds = f.word(l.timestamp, l.word);
  h.microseconds = f.word(l.timestamp + l.word, l.word);
  h.status = f.u32(l.status);
  h.block_size = f.u32(l.block_size);
  h.max_pfn = f.u32(l.max_mapnr);
  r.sub_blocks = f.u32(l.sub_size);
  const std::uint32_t bitmap_blocks = f.u32(l.bitmap_blocks);
  h.bitmap_at = (std::uint64_t{1} + r.sub_blocks) * h.block_size;
  h.bitmap_size = std::uint64_t{bitmap_blocks / 2} * h.block_size;
  h.descriptors_at = h.bitmap_at + std::uint64_t{bitmap_blocks} * h.block_size;
  r.problem = problem_of(h, l, r.sub_blocks, bitmap_blocks);
  return r;
}

// The reading that makes sense.  Several may: 4096 swapped is 1 MiB, also a power of two, and version 0 has no order.
// Then one that fits the machine's name is better, and one whose bitmaps lie in the file.
Result<Reading> choose_main(const File& file, Bytes raw) {
  std::optional<Reading> best;
  int best_score = -1;
  std::string problem;
  for (const std::endian order : {std::endian::little, std::endian::big}) {
    for (const MainLayout* l : {&main64, &main32}) {
      Reading r = read_main(raw, *l, order);
      const arch::Arch* row = arch::find_machine(r.header.machine(), order);
      const bool named = row && row->endian == order && row->pointer_bytes == l->word;
      if (!r.problem.empty()) {
        if (problem.empty() || named) problem = r.problem;
        continue;
      }
      const bool fits = r.header.bitmap_at < file.size() && r.header.descriptors_at <= file.size();
      const int score = 2 * named + fits;
      if (score <= best_score) continue;
      best = std::move(r);
      best_score = score;
    }
  }
  if (!best) return fail(Errc::bad_data, fmt::format("{}: {}", file.path(), problem));
  return std::move(*best);
}

// How many fields of a sub header point to somewhere in the file, or repeat what the main header says.
int sense(const Fields& f, const SubLayout& l, const KdumpHeader& h, std::uint64_t file_size) {
  const auto inside = [&](std::uint64_t at, std::uint64_t size) {
    return (at == 0 && size == 0) || (at >= h.block_size && at < file_size && size && size < file_size);
  };
  int score = 0;
  if (h.version >= 3) score += inside(f.u64(l.vmcoreinfo), f.word(l.vmcoreinfo_size, l.word));
  if (h.version >= 4) score += inside(f.u64(l.notes), f.word(l.notes_size, l.word));
  if (h.version >= 6) score += static_cast<std::uint32_t>(f.u64(l.max_64)) == static_cast<std::uint32_t>(h.max_pfn);
  return score;
}

void read_sub(const Fields& f, const SubLayout& l, KdumpHeader& h) {
  h.phys_base = f.word(0, l.word);
  if (h.version >= 1) h.dump_level = f.u32(l.dump_level);
  if (h.version >= 2) {
    h.split = f.u32(l.split) != 0;
    h.start_pfn = f.word(l.start_pfn, l.word);
    h.end_pfn = f.word(l.end_pfn, l.word);
  }
  if (h.version >= 3) {
    h.vmcoreinfo_at = f.u64(l.vmcoreinfo);
    h.vmcoreinfo_size = f.word(l.vmcoreinfo_size, l.word);
  }
  if (h.version >= 4) {
    h.notes_at = f.u64(l.notes);
    h.notes_size = f.word(l.notes_size, l.word);
  }
  if (h.version >= 6) {
    h.start_pfn = f.u64(l.start_64);
    h.end_pfn = f.u64(l.end_64);
    h.max_pfn = f.u64(l.max_64);  // the main header's has 32 bits
  }
}

Result<void> check_extent(const File& file, const KdumpHeader& h) {
  if (h.max_pfn > h.bitmap_size * 8)
    return fail(Errc::bad_data, fmt::format("{}: max_mapnr {:#x} is more than bitmaps of {:#x} bytes describe", file.path(),
                                            h.max_pfn, h.bitmap_size));
  if (h.max_pfn > highest_address / h.block_size)
    return fail(Errc::bad_data, fmt::format("{}: max_mapnr {:#x} is more memory than any machine has", file.path(), h.max_pfn));
  if (h.split && (h.start_pfn > h.end_pfn || h.end_pfn > h.max_pfn))
    return fail(Errc::bad_data,
                fmt::format("{}: a split part from page frame {:#x} to {:#x}, expected them in order and at most {:#x}",
                            file.path(), h.start_pfn, h.end_pfn, h.max_pfn));
  return {};
}

}  // namespace

bool has_kdump_signature(const File& file) {
  char signature[8];
  if (file.read(0, {reinterpret_cast<std::uint8_t*>(signature), sizeof signature}) != sizeof signature) return false;
  return std::memcmp(signature, "KDUMP   ", 8) == 0 || std::memcmp(signature, "DISKDUMP", 8) == 0;
}

Result<KdumpHeader> read_kdump_header(const File& file) {
  std::uint8_t main[main64.size] = {};
  if (file.read(0, main) < main32.size)
    return fail(Errc::bad_data, fmt::format("{}: the file ends inside the dump header", file.path()));
  Reading reading = TRY(choose_main(file, main));
  KdumpHeader& h = reading.header;
  h.diskdump = main[0] == 'D';
  if (!h.diskdump) {
    std::uint8_t sub[sub64.size] = {};
    // Old versions' sub headers are shorter, but a whole block is reserved.
    if (file.read(h.block_size, sub) != sizeof sub)
      return fail(Errc::bad_data, fmt::format("{}: the file ends inside the sub header at {:#x}", file.path(), h.block_size));
    const Fields f{sub, h.order};
    const SubLayout* l = &sub64;
    if (h.word == 4) l = sense(f, packed32, h, file.size()) >= sense(f, aligned32, h, file.size()) ? &packed32 : &aligned32;
    read_sub(f, *l, h);
  }
  TRY(check_extent(file, h));
  return h;
}

}  // namespace kvm
