// kdump-compressed files, after struct disk_dump_header and struct kdump_sub_header as a C compiler lays them out:
// fields are appended one by one with the ABI's sizes and alignments, not placed by a table of offsets.
#include <lzo/lzo1x.h>
#include <snappy.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>

#include "tests/support/dump_writer.h"

namespace kvm::testing {
namespace {

// Appends the members of a C struct.
class Struct {
 public:
  Struct(Image& image, std::size_t start, const KdumpSpec& spec)
      : image_(image), start_(start), at_(start), long_(spec.abi == Abi::lp64 ? 8 : 4), align64_(spec.abi == Abi::i386 ? 4 : 8) {}
  void i32(std::uint64_t value) { field(value, 4, 4); }
  void u64(std::uint64_t value) { field(value, 8, align64_); }
  void ulong(std::uint64_t value) { field(value, long_, long_); }
  void text(const std::string& text, std::size_t size) {
    image_.put(at_, text.substr(0, size));
    at_ += size;
    image_.pad_to(at_);
  }

 private:
  void field(std::uint64_t value, int size, int alignment) {
    while ((at_ - start_) % static_cast<std::size_t>(alignment)) ++at_;
    image_.put(at_, value, size);
    at_ += static_cast<std::size_t>(size);
  }
  Image& image_;
  std::size_t start_, at_;
  int long_, align64_;
};

Buffer pack(const Buffer& page, Packing packing) {
  Buffer out(page.size() * 2 + 1024);
  switch (packing) {
    case Packing::none:
      return page;
    case Packing::zlib: {
      uLongf size = out.size();
      compress2(out.data(), &size, page.data(), page.size(), 6);
      out.resize(size);
      break;
    }
    case Packing::lzo: {
      Buffer work(LZO1X_1_MEM_COMPRESS);
      lzo_uint size = out.size();
      lzo1x_1_compress(page.data(), page.size(), out.data(), &size, work.data());
      out.resize(size);
      break;
    }
    case Packing::snappy: {
      std::string text;
      snappy::Compress(reinterpret_cast<const char*>(page.data()), page.size(), &text);
      out.assign(text.begin(), text.end());
      break;
    }
    case Packing::zstd:
      out.resize(ZSTD_compress(out.data(), out.size(), page.data(), page.size(), 1));
      break;
  }
  return out.size() < page.size() ? out : page;
}

std::uint32_t flag_of(Packing packing) {
  switch (packing) {
    case Packing::zlib:
      return 0x1;
    case Packing::lzo:
      return 0x2;
    case Packing::snappy:
      return 0x4;
    case Packing::zstd:
      return 0x20;
    default:
      return 0;
  }
}

void put_bitmap(Image& image, std::size_t at, const std::set<std::uint64_t>& pfns) {
  std::map<std::size_t, std::uint8_t> bytes;
  for (const std::uint64_t pfn : pfns) bytes[at + pfn / 8] = static_cast<std::uint8_t>(bytes[at + pfn / 8] | 1u << pfn % 8);
  for (const auto& [where, value] : bytes) image.put(where, value, 1);
}

void put_headers(Image& image, const KdumpSpec& spec, std::uint32_t sub_blocks, std::uint32_t bitmap_blocks, std::size_t notes_at,
                 std::size_t notes_size, std::size_t text_at) {
  Struct main(image, 0, spec);
  main.text(spec.signature, 8);
  main.i32(static_cast<std::uint64_t>(spec.version));
  for (const std::string& name :
       {std::string("Linux"), spec.node, spec.release, std::string("#1"), spec.machine, std::string("(none)")})
    main.text(name, 65);
  main.ulong(spec.seconds);
  main.ulong(0);
  main.i32(spec.status | flag_of(spec.packing));
  main.i32(spec.block_size);
  main.i32(sub_blocks);
  main.i32(bitmap_blocks);
  main.i32(spec.max_pfn);
  for (int i = 0; i < 5; ++i) main.i32(0);
  main.i32(1);

  Struct sub(image, spec.block_size, spec);
  sub.ulong(spec.phys_base);
  sub.i32(31);
  sub.i32(spec.split);
  sub.ulong(spec.start_pfn);
  sub.ulong(spec.end_pfn);
  sub.u64(spec.vmcoreinfo.empty() ? 0 : text_at);
  sub.ulong(spec.vmcoreinfo.size());
  sub.u64(notes_size ? notes_at : 0);
  sub.ulong(notes_size);
  sub.u64(0);
  sub.ulong(0);
  sub.u64(spec.start_pfn);
  sub.u64(spec.end_pfn);
  sub.u64(spec.max_pfn);
}

}  // namespace

Buffer write_kdump(const KdumpSpec& spec) {
  Image image(spec.big_endian);
  const std::size_t block = spec.block_size;
  const auto blocks = [&](std::size_t bytes) { return static_cast<std::uint32_t>((bytes + block - 1) / block); };
  const Buffer notes = note_area(spec.notes, spec.big_endian);
  const std::size_t notes_at = block + 0x68, text_at = notes_at + notes.size();
  const std::uint32_t sub_blocks = blocks(text_at - block + spec.vmcoreinfo.size());
  const std::uint32_t one_bitmap = blocks((spec.max_pfn + 7) / 8);
  put_headers(image, spec, sub_blocks, 2 * one_bitmap, notes_at, notes.size(), text_at);
  image.put(notes_at, notes);
  image.put(text_at, spec.vmcoreinfo);

  std::set<std::uint64_t> dumped = spec.unwritten, exists = spec.excluded;
  for (const auto& [pfn, page] : spec.pages) dumped.insert(pfn);
  exists.insert(dumped.begin(), dumped.end());
  const std::size_t bitmap = (1 + sub_blocks) * block;
  put_bitmap(image, bitmap, exists);
  put_bitmap(image, bitmap + one_bitmap * block, dumped);
  std::size_t descriptor = bitmap + 2 * one_bitmap * block;

  std::set<std::uint64_t> own;
  for (const std::uint64_t pfn : dumped)
    if (!spec.split || (pfn >= spec.start_pfn && pfn < spec.end_pfn)) own.insert(pfn);
  std::size_t data = descriptor + own.size() * 24;
  image.pad_to(data);
  for (const std::uint64_t pfn : own) {
    if (!spec.unwritten.count(pfn)) {
      const Buffer& page = spec.pages.at(pfn);
      const Buffer packed = pack(page, spec.packing);
      image.put(descriptor, data, 8);
      image.put(descriptor + 8, packed.size(), 4);
      image.put(descriptor + 12, packed.size() < page.size() ? flag_of(spec.packing) : 0, 4);
      image.put(data, packed);
      data += packed.size();
    }
    descriptor += 24;
  }
  return image.take();
}

}  // namespace kvm::testing
