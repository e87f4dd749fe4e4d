// Any bytes as a FreeBSD dump, bare or in its containers: opening must answer or refuse, and every address must belong to an
// extent that holds it.
#include <cstdint>
#include <vector>

#include "engine/dump.h"

namespace {

using namespace kvm;

void check_extents(const Dump& dump) {
  const AddressSpace space(*dump.memory, dump.kernel_map);
  std::vector<std::uint8_t> out(5000);
  const auto at = [&](VirtAddr address) {
    const auto extent = space.extent_at(address);
    if (extent && (extent->first > address || extent->last < address)) __builtin_trap();
    if (!extent && extent.error().addr != address.raw) __builtin_trap();
    const auto got = space.read(address, out);
    if (got && *got > out.size()) __builtin_trap();
  };
  std::size_t left = 12;
  for (const Mapping& mapping : dump.kernel_map) {
    if (mapping.first > mapping.last) __builtin_trap();
    const std::uint64_t size = mapping.last - mapping.first;
    for (const std::uint64_t skip : {std::uint64_t{0}, size / 2, size, std::uint64_t{0x1000}, std::uint64_t{0x201008}}) at(mapping.first + skip);
    at(mapping.first - 1);
    at(mapping.last + 1);
    if (--left == 0) break;
  }
  at({0});
  at({~std::uint64_t{0}});
}

void check_memory(const PhysicalMemory& memory) {
  std::vector<std::uint8_t> out(9000);
  std::size_t left = 8;
  std::uint64_t end = 0;
  for (const PhysRange& range : memory.ranges()) {
    if (range.first.raw < end || range.size == 0) __builtin_trap();  // ascending and disjoint
    end = range.first.raw + (range.size - 1);
    for (const std::uint64_t at : {range.first.raw, range.first.raw + range.size / 2, end}) {
      const auto got = memory.read({at}, out);
      if (got && *got > out.size()) __builtin_trap();
      (void)memory.file_offset({at});
      (void)memory.view({at});
    }
    if (--left == 0) break;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size > 96 << 10) return 0;  // a stream of so many bytes can take gigabytes to decode
  auto dump = open_dump(File::from_bytes({data, data + size}, "input"), "", {});
  if (!dump) {
    if (dump.error().note.empty()) __builtin_trap();  // every refusal says why
    return 0;
  }
  check_extents(*dump);
  check_memory(*dump->memory);
  return 0;
}
