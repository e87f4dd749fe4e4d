// The blocks of `struct page` that Power's kernels list.
#include <catch2/catch.hpp>

#include "engine/os/linux/model.h"
#include "tests/support/kernel_fixture.h"

using namespace kvm;
using kvm::testing::FakeKernel;

namespace {

constexpr std::uint64_t region = 0xffffea0000000000, block = 0x10000;

struct Machine {
  FakeKernel kernel;
  VirtAddr list, kinds, kind;

  Machine() {
    kernel.types.define("vmemmap_backing", 24, "list 0 *vmemmap_backing; phys 8 u8; virt_addr 16 u8");
    kernel.types.define("mmu_psize_def", 0x30, "shift 0 u4; penc 4 a64");
    kind = kernel.variable("mmu_vmemmap_psize", 4, 5);
    kinds = kernel.variable("mmu_psize_defs", 16 * 0x30);
    kernel.put(kinds + 5 * 0x30, 16, 4);
    list = kernel.variable("vmemmap_list");
  }
  VirtAddr add(std::uint64_t virt, std::uint64_t phys) {
    const VirtAddr node = kernel.allocate(24);
    kernel.put(node, kernel.memory.read(kernel.phys(list), raw_).has_value() ? load<std::uint64_t>(raw_, std::endian::little) : 0);
    kernel.put(node + 8, phys);
    kernel.put(node + 16, virt);
    kernel.put(list, node.raw);
    return node;
  }
  std::vector<Mapping> blocks() const { return os_linux::vmemmap_blocks(kernel.view()); }

 private:
  std::uint8_t raw_[8];
};

PhysAddr base(const Mapping& mapping) { return std::get<Linear>(mapping.how).base; }

}  // namespace

TEST_CASE("blocks of struct page, neighbours joined", "[linux][map]") {
  Machine machine;
  CHECK(machine.blocks().empty());
  machine.add(region, 0x200000);
  machine.add(region + block, 0x200000 + block);
  machine.add(region + 2 * block, 0x100000);
  machine.add(region + 4 * block, 0x100000 + block);
  const auto blocks = machine.blocks();
  REQUIRE(blocks.size() == 3);
  CHECK(blocks[0].first.raw == region);
  CHECK(blocks[0].last.raw == region + 2 * block - 1);
  CHECK(base(blocks[0]).raw == 0x200000);
  CHECK(base(blocks[1]).raw == 0x100000);
  CHECK(blocks[2].first.raw == region + 4 * block);
  CHECK(blocks[2].last.raw == region + 5 * block - 1);
}

TEST_CASE("blocks that the page tables have, and lists that are damaged", "[linux][map]") {
  Machine machine;
  machine.add(machine.kernel.direct_map().raw, 0x300000);
  CHECK(machine.blocks().empty());
  const VirtAddr first = machine.add(region, 0x200000), second = machine.add(region + 8 * block, 0x300000);
  CHECK(machine.blocks().size() == 2);
  machine.kernel.put(first, second.raw);  // a loop
  CHECK(machine.blocks().size() == 2);
  machine.kernel.put(first, 0x123456789);  // nothing there
  CHECK(machine.blocks().size() == 2);
  machine.kernel.put(second + 16, region + 5);
  CHECK(machine.blocks().empty());
  machine.kernel.put(second + 16, region);
  machine.kernel.put(machine.kinds + 5 * 0x30, 60, 4);
  CHECK(machine.blocks().empty());
  machine.kernel.put(machine.kind, 1000, 4);
  CHECK(machine.blocks().empty());
}
