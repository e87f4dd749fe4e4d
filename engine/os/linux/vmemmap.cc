// Power with hashed page tables keeps `struct page` in memory that is in no table of Linux's, only in the processor's.  For itself it
// keeps a list of that memory's blocks, all of one size (arch/powerpc/mm/init_64.c: vmemmap_list, struct vmemmap_backing).
#include <algorithm>
#include <unordered_set>

#include "engine/os/linux/model.h"

namespace kvm::os_linux {
namespace {

constexpr std::size_t most_blocks = 1u << 20;  // of 16 MiB: 2^18 TiB of RAM

// mmu_psize_defs[mmu_vmemmap_psize].shift
Result<std::uint64_t> block_bytes(const KernelView& view) {
  const VirtAddr kind_at = TRY(view.address_of("mmu_vmemmap_psize")), kinds = TRY(view.address_of("mmu_psize_defs"));
  const std::uint64_t kind = TRY(view.number_at(kind_at, 4)), size = TRY(view.types.size_of("mmu_psize_def"));
  constexpr std::uint64_t most_kinds = 64;
  if (kind >= most_kinds) return fail(Errc::bad_data, kind_at.raw);
  const std::uint64_t shift = TRY(Record(view, "mmu_psize_def", kinds + kind * size).number("shift"));
  if (shift < 12 || shift > 40) return fail(Errc::bad_data, kinds.raw);
  return std::uint64_t{1} << shift;
}

// Neighbours in either space become one.
std::vector<Mapping> joined(std::vector<Mapping> blocks) {
  std::ranges::sort(blocks, {}, &Mapping::first);
  std::vector<Mapping> all;
  for (Mapping& block : blocks) {
    const PhysAddr phys = std::get<Linear>(block.how).base;
    if (!all.empty() && all.back().last + 1 == block.first && std::get<Linear>(all.back().how).base + (block.first - all.back().first) == phys)
      all.back().last = block.last;
    else all.push_back(std::move(block));
  }
  return all;
}

}  // namespace

std::vector<Mapping> vmemmap_blocks(const KernelView& view) {
  const auto head = view.address_of("vmemmap_list");
  const auto bytes = head ? block_bytes(view) : tl::unexpected(head.error());
  auto node = bytes ? view.pointer_at(*head) : tl::unexpected(bytes.error());
  std::unordered_set<std::uint64_t> seen;
  std::vector<Mapping> blocks;
  while (node && node->raw && blocks.size() < most_blocks && seen.insert(node->raw).second) {
    const Record block(view, "vmemmap_backing", *node);
    const auto phys = block.number("phys"), virt = block.number("virt_addr");
    if (!phys || !virt || *virt % *bytes) break;
    // With radix trees the tables have it.
    const auto there = view.space.extent_at({*virt});
    if (!there || !there->phys) blocks.push_back({{*virt}, {*virt + (*bytes - 1)}, Linear{{*phys}}, "vmemmap"});
    node = block.pointer("list");
  }
  return joined(std::move(blocks));
}

}  // namespace kvm::os_linux
