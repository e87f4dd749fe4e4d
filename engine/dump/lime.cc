// LiME, the Linux Memory Extractor: RAM ranges one after the other, each behind a header of its own.
// Odd: a range's end is inclusive, and /proc/iomem's order is kept, so ranges need not ascend.
// Manual: LiME, doc/README.md, "lime" format, version 1.  Always little-endian, whatever the machine.
#include <fmt/format.h>

#include <algorithm>

#include "engine/dump.h"
#include "engine/dump/support/segments.h"
#include "engine/integers.h"

namespace kvm {
namespace {

constexpr std::uint32_t magic = 0x4c694d45;  // "EMiL" in the file

struct RangeHeader {
  le32 magic, version;
  le64 first, last;
  std::uint8_t reserved[8];
};
static_assert(sizeof(RangeHeader) == 32);

bool probe(const File& file) {
  const auto header = file.at<RangeHeader>(0);
  return header && header->magic == magic;
}

Result<Dump> open(File file, const DumpOptions& options) {
  Dump dump;
  dump.format = "LiME v1";
  dump.arch = options.arch;
  if (!dump.arch) dump.remarks.push_back("processor: a LiME file does not say; name it with --arch");
  std::vector<Segment> segments;
  for (std::uint64_t at = 0; at < file.size();) {
    const auto h = file.at<RangeHeader>(at);
    if (!h) {
      dump.remarks.push_back(fmt::format("the file is cut: it ends inside the range header at {:#x}", at));
      break;
    }
    const std::uint64_t first = h->first, last = h->last;
    if (h->magic != magic || h->version != 1)
      return fail(Errc::bad_data, fmt::format("{}: magic {:#x} version {} at {:#x}, expected {:#x} and 1", file.path(),
                                              std::uint32_t{h->magic}, std::uint32_t{h->version}, at, magic));
    if (last < first || last - first == ~std::uint64_t{0})
      return fail(Errc::bad_data, fmt::format("{}: range {:#x} to {:#x} at {:#x}", file.path(), first, last, at));
    const std::uint64_t size = last - first + 1, data = at + sizeof(RangeHeader);
    segments.push_back({{first}, size, size, data});
    if (size > file.size() - data) {
      dump.remarks.push_back(fmt::format("the file is cut: the range {:#x} to {:#x} does not end in it", first, last));
      break;
    }
    at = data + size;
  }
  if (segments.empty()) return fail(Errc::bad_data, fmt::format("{}: the file ends inside the range header at 0", file.path()));
  dump.memory = std::make_unique<SegmentedMemory>(std::move(file), std::move(segments));
  return dump;
}

}  // namespace

extern const DumpFormat lime_format;
const DumpFormat lime_format{"lime", probe, open};

}  // namespace kvm
