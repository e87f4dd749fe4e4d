// Any bytes as a dump: opening must answer or refuse, and reading must stay inside.
#include <cstdint>
#include <string_view>
#include <vector>

#include "engine/dump.h"

namespace {

using namespace kvm;

void read_places(const PhysicalMemory& memory) {
  std::vector<std::uint8_t> out(3 * 4096 + 5);
  const auto at = [&](std::uint64_t address, std::size_t size) {
    const auto got = memory.read({address}, MutableBytes{out}.first(size));
    if (got && *got > size) __builtin_trap();
    (void)memory.file_offset({address});
    const Bytes view = memory.view({address});
    volatile std::uint8_t sink = 0;
    if (!view.empty()) sink = view.front() ^ view.back();
    (void)sink;
  };
  for (const std::uint64_t address : {0x0ull, 0x8ull, 0xfffull, 0x1000ull, 0x100000ull, ~0ull, ~0ull - 4096})
    at(address, out.size());
  std::size_t left = 16;
  std::uint64_t end = 0;
  for (const PhysRange& range : memory.ranges()) {
    if (range.first.raw < end || range.size == 0) __builtin_trap();  // ascending and disjoint
    end = range.first.raw + (range.size - 1);
    at(range.first.raw, 8);
    at(range.first.raw + range.size / 2, out.size());
    at(end, 16);
    if (--left == 0) break;
  }
  std::uint64_t from = 0;
  for (int i = 0; i < 16; ++i) {
    const auto run = memory.next_stored({from});
    if (!run) break;
    if (run->size == 0 || run->first.raw < from) __builtin_trap();
    from = run->first.raw + run->size;
    if (from < run->first.raw) break;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  for (const std::string_view format : {"", "raw", "elf", "kdump", "lime"}) {
    auto dump = open_dump(File::from_bytes({data, data + size}, "input"), format, {});
    if (dump) read_places(*dump->memory);
    else if (dump.error().note.empty() && size) __builtin_trap();  // every refusal says why
  }
  return 0;
}
