// A plain image of RAM, as JTAG probes, `pmemsave` and virtual machine monitors write it: physical address 0 is the
// file's first byte.  Nothing in it says so, so it is read only when asked for: --format raw.
#include <fmt/format.h>

#include "engine/dump.h"
#include "engine/dump/support/segments.h"

namespace kvm {
namespace {

bool probe(const File&) { return false; }

Result<Dump> open(File file, const DumpOptions& options) {
  Dump dump;
  dump.format = "raw memory image";
  dump.arch = options.arch;
  if (!dump.arch) dump.remarks.push_back("processor: a raw image does not say; name it with --arch");
  const std::uint64_t size = file.size();
  dump.memory = std::make_unique<SegmentedMemory>(std::move(file), std::vector<Segment>{{{0}, size, size, 0}});
  return dump;
}

}  // namespace

extern const DumpFormat raw_format;
const DumpFormat raw_format{"raw", probe, open};

}  // namespace kvm
