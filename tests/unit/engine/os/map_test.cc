// Finding a kernel's page tables, slide and physical base, by every way there is.
#include "engine/os/linux/map.h"

#include <catch2/catch.hpp>

#include "tests/support/kernel_fixture.h"

using namespace kvm;
using kvm::testing::FakeKernel;
using kvm::testing::FakeKernelOptions;

namespace {

// What must hold however the map was found.
void check_map(const FakeKernel& kernel, const Dump& dump, const Result<KernelMap>& map, const FakeKernelOptions& truth) {
  REQUIRE(map);
  CHECK(map->slide == truth.slide);
  CHECK(map->phys_base == truth.phys_base);
  CHECK(map->mode == (truth.five_level ? "5-level" : "4-level"));
  CHECK(map->release == FakeKernel::release);
  CHECK(map->build_id == FakeKernel::build_id);
  const AddressSpace space(*dump.memory, map->mappings);
  auto image = space.translate(kernel.image() + 0x2000);
  REQUIRE(image);
  CHECK(image->raw == kernel.image_phys().raw + 0x2000);
  auto direct = space.translate(kernel.direct_map() + 0x1234567);
  REQUIRE(direct);
  CHECK(direct->raw == 0x1234567);
}

FakeKernelOptions options_of(int number) {
  FakeKernelOptions options;
  if (number & 1) options.slide = 0x1e00000;
  if (number & 2) options.phys_base = 0x200000;
  if (number & 4) options.five_level = true;
  if (number & 8) options.phys_base = 0 - std::uint64_t{0x800000};  // the image lies lower than it was linked for
  return options;
}

// VMCOREINFO as the kernel keeps it: the text fills a page of its own.
void put_vmcoreinfo_page(FakeKernel& kernel, std::uint64_t page, const std::string& text) { kernel.memory.put({page}, text + '\0'); }

}  // namespace

TEST_CASE("the VMCOREINFO note", "[linux][map]") {
  for (int number : {0, 1, 2, 3, 4, 5, 8, 9}) {
    const FakeKernelOptions options = options_of(number);
    FakeKernel kernel(options);
    const Dump dump = kernel.dump(kernel.vmcoreinfo());
    auto map = os_linux::map_kernel(kernel.input(dump));
    check_map(kernel, dump, map, options);
    CHECK(map->source == "VMCOREINFO note");
    CHECK(map->vmcoreinfo == kernel.vmcoreinfo());
    CHECK(!map->needs_symbols);
  }
}

TEST_CASE("the note of a machine with memory encryption", "[linux][map]") {
  FakeKernelOptions options;
  options.c_bit = 1ull << 47;
  FakeKernel kernel(options);
  const Dump dump = kernel.dump(kernel.vmcoreinfo());
  check_map(kernel, dump, os_linux::map_kernel(kernel.input(dump)), options);
}

TEST_CASE("kernels before 4.10 leave phys_base to the dump's header", "[linux][map]") {
  FakeKernelOptions options;
  options.phys_base = 0x400000;
  FakeKernel kernel(options);
  std::string text = kernel.vmcoreinfo();
  text.erase(text.find("NUMBER(phys_base)"), text.find("NUMBER(pgtable") - text.find("NUMBER(phys_base)"));
  Dump dump = kernel.dump(text);
  dump.phys_base = 0x400000;
  check_map(kernel, dump, os_linux::map_kernel(kernel.input(dump)), options);
}

TEST_CASE("the root's older name", "[linux][map]") {
  FakeKernel kernel;
  std::string text = kernel.vmcoreinfo();
  text.replace(text.find("swapper_pg_dir"), 14, "init_level4_pgt");
  const Dump dump = kernel.dump(text);
  check_map(kernel, dump, os_linux::map_kernel(kernel.input(dump)), {});
}

TEST_CASE("the user's slide and physical base go before the note's", "[linux][map]") {
  FakeKernelOptions options;
  options.phys_base = 0x200000;
  options.slide = 0x600000;
  FakeKernel kernel(options);
  std::string text = kernel.vmcoreinfo();
  text.replace(text.find("NUMBER(phys_base)=2097152"), 25, "NUMBER(phys_base)=9999360");
  text.replace(text.find("KERNELOFFSET=600000"), 19, "KERNELOFFSET=700000");
  const Dump dump = kernel.dump(text);
  OsInput input = kernel.input(dump);
  input.phys_base = 0x200000;
  input.slide = 0x600000;
  check_map(kernel, dump, os_linux::map_kernel(input), options);
}

TEST_CASE("the user's word and a vmlinux, without a note", "[linux][map]") {
  for (int number : {0, 3, 5, 9}) {
    const FakeKernelOptions options = options_of(number);
    FakeKernel kernel(options);
    const Dump dump = kernel.dump();
    const auto linked = kernel.linked_symbols();
    OsInput input = kernel.input(dump, &linked);
    input.slide = options.slide;
    input.phys_base = options.phys_base;
    auto map = os_linux::map_kernel(input);
    check_map(kernel, dump, map, options);
    CHECK(map->source == "the command line");
  }
}

TEST_CASE("a CPU's own state", "[linux][map]") {
  for (int number : {0, 1, 3, 4, 5, 9}) {
    const FakeKernelOptions options = options_of(number);
    FakeKernel kernel(options);
    kernel.add_qemu_note(0x1000, 0x2000);
    const Dump dump = kernel.dump();
    SECTION("with a vmlinux " + std::to_string(number)) {
      const auto linked = kernel.linked_symbols();
      auto map = os_linux::map_kernel(kernel.input(dump, &linked));
      check_map(kernel, dump, map, options);
      CHECK(map->source == "a CPU's cr3");
      CHECK(!map->needs_symbols);
    }
    SECTION("alone " + std::to_string(number)) {
      // The slide is a guess from the default link address until a vmlinux says better.
      auto map = os_linux::map_kernel(kernel.input(dump));
      check_map(kernel, dump, map, options);
      CHECK(map->needs_symbols);
    }
  }
}

TEST_CASE("a CPU in user mode: CR3 has the user copy of the tables", "[linux][map]") {
  FakeKernel kernel;
  kernel.add_qemu_note(0x1000, 0x2000);
  // Page-table isolation: the user copy is the page after the kernel's, which is aligned to two pages.
  std::vector<std::uint8_t>& desc = kernel.notes[0].desc;
  REQUIRE((kernel.root().raw & 0x1fff) == 0);
  desc[416 + 1] = static_cast<std::uint8_t>(desc[416 + 1] | 0x10);
  const Dump dump = kernel.dump();
  check_map(kernel, dump, os_linux::map_kernel(kernel.input(dump)), {});
}

TEST_CASE("a CPU that runs other tables is passed over", "[linux][map]") {
  FakeKernel kernel;
  kernel.add_qemu_note(0x1000, 0x2000);
  kernel.add_qemu_note(0x1000, 0x2000);
  kernel.notes[0].desc[416 + 2] = 0x33;  // firmware's tables, all zeros
  const Dump dump = kernel.dump();
  check_map(kernel, dump, os_linux::map_kernel(kernel.input(dump)), {});
}

TEST_CASE("a vmlinux whose banner is found in memory", "[linux][map]") {
  for (int number : {0, 1, 3, 4, 9}) {
    const FakeKernelOptions options = options_of(number);
    FakeKernel kernel(options);
    // A banner on an aligned address that is no kernel: the compressed image's, or a text in the page cache.
    kernel.memory.put({0x400000 + 0x2000}, "Linux version 5.10.0-decoy (");
    const Dump dump = kernel.dump();
    const auto linked = kernel.linked_symbols();
    auto map = os_linux::map_kernel(kernel.input(dump, &linked));
    check_map(kernel, dump, map, options);
    CHECK(map->source == "vmlinux, found in memory");
  }
}

TEST_CASE("a vmlinux of a processor without a window for the image: it lies where it was linked", "[linux][map]") {
  FakeKernelOptions options;
  options.phys_base = 0x600000;
  FakeKernel kernel(options);
  arch::LinuxLayout layout = *arch::find("x86_64")->linux_layout;
  layout.image_size = 0;
  arch::Arch plain = *arch::find("x86_64");
  plain.linux_layout = &layout;
  const kvm::testing::FakeSymbols linked = kernel.linked_symbols();
  const Dump dump = kernel.dump();
  const OsInput input{dump, plain, &linked, {}, {}};
  auto map = os_linux::map_kernel(input);
  check_map(kernel, dump, map, options);
  CHECK(map->source == "vmlinux, found in memory");
}

TEST_CASE("VMCOREINFO found by scanning memory", "[linux][map]") {
  for (int number : {0, 3, 5, 9}) {
    const FakeKernelOptions options = options_of(number);
    FakeKernel kernel(options);
    put_vmcoreinfo_page(kernel, 0x80000, kernel.vmcoreinfo());
    const Dump dump = kernel.dump();
    auto map = os_linux::map_kernel(kernel.input(dump));
    check_map(kernel, dump, map, options);
    CHECK(map->source == "VMCOREINFO found in memory");
    CHECK(map->vmcoreinfo == kernel.vmcoreinfo());
  }
}

TEST_CASE("VMCOREINFO in memory that contradicts the tables is not believed", "[linux][map]") {
  FakeKernelOptions options;
  options.slide = 0x1e00000;
  FakeKernel kernel(options);
  FakeKernel older;  // the kernel before the last kexec, at another place
  put_vmcoreinfo_page(kernel, 0x80000, older.vmcoreinfo());
  SECTION("and the right one is found behind it") {
    put_vmcoreinfo_page(kernel, 0x90000, kernel.vmcoreinfo());
    const Dump dump = kernel.dump();
    check_map(kernel, dump, os_linux::map_kernel(kernel.input(dump)), options);
  }
  SECTION("and when there is no other, nothing is made up") {
    const Dump dump = kernel.dump();
    auto map = os_linux::map_kernel(kernel.input(dump));
    REQUIRE(!map);
    CHECK(map.error().code == Errc::not_found);
    CHECK(map.error().note.find("--slide") != std::string::npos);
  }
  SECTION("a root that maps the text elsewhere than phys_base says") {
    std::string text = kernel.vmcoreinfo();
    // Root and text are shifted alike, so that the root is found but the text's page differs.
    text.replace(text.find("SYMBOL(_stext)="), 31, "SYMBOL(_stext)=ffff888000001000");
    put_vmcoreinfo_page(kernel, 0x90000, text);
    const Dump dump = kernel.dump();
    CHECK(!os_linux::map_kernel(kernel.input(dump)));
  }
}

TEST_CASE("the scan begins at page boundaries, whatever RAM's ranges do", "[linux][map]") {
  FakeKernel kernel;
  testing::FakeMemory odd = kernel.memory;
  put_vmcoreinfo_page(kernel, 0x80000, kernel.vmcoreinfo());
  Dump dump = kernel.dump();
  class OddRanges final : public PhysicalMemory {
   public:
    explicit OddRanges(std::unique_ptr<PhysicalMemory> memory) : memory_(std::move(memory)) {}
    Result<std::size_t> read(PhysAddr at, MutableBytes out) const override { return memory_->read(at, out); }
    std::span<const PhysRange> ranges() const override { return ranges_; }

   private:
    std::unique_ptr<PhysicalMemory> memory_;
    PhysRange ranges_[1] = {{{0x400}, 0x3fffc00}};  // firmware keeps the first KiB
  };
  dump.memory = std::make_unique<OddRanges>(std::move(dump.memory));
  check_map(kernel, dump, os_linux::map_kernel(kernel.input(dump)), {});
}

TEST_CASE("banner and build id behind a hole in the image", "[linux][map]") {
  // The gap between text and read-only data is given back, and with page-table isolation unmapped.
  FakeKernel kernel;
  kernel.tables().put_entry(kernel.image(), 2, 0);
  for (std::uint64_t at : {0x0ull, 0x2000ull, 0x3000ull, 0x4000ull}) kernel.tables().map(kernel.image() + at, kernel.image_phys() + at, 0x1000);
  kernel.add_qemu_note(0x1000, 0x2000);
  SECTION("not mapped") {
    const Dump dump = kernel.dump();
    auto map = os_linux::map_kernel(kernel.input(dump));
    REQUIRE(map);
    CHECK(map->release == FakeKernel::release);
    CHECK(map->build_id == FakeKernel::build_id);
  }
  SECTION("mapped, but not in the dump") {
    kernel.tables().map(kernel.image() + 0x1000, kernel.image_phys() + 0x1000, 0x1000);
    kernel.memory.exclude(kernel.image_phys() + 0x1000);
    const Dump dump = kernel.dump();
    auto map = os_linux::map_kernel(kernel.input(dump));
    REQUIRE(map);
    CHECK(map->release == FakeKernel::release);
    CHECK(map->build_id == FakeKernel::build_id);
  }
}

TEST_CASE("the first page table of the image may be missing", "[linux][map]") {
  FakeKernel kernel;
  kernel.memory.exclude({kernel.tables().entry_at(kernel.image(), 3).raw & ~0xfffull});
  const Dump dump = kernel.dump(kernel.vmcoreinfo());
  auto map = os_linux::map_kernel(kernel.input(dump));
  REQUIRE(map);
  const AddressSpace space(*dump.memory, map->mappings);
  CHECK(space.translate(kernel.image() + 0x2000)->raw == kernel.image_phys().raw + 0x2000);  // by the image's constant distance
}

TEST_CASE("segments stand in for the direct map's tables", "[linux][map]") {
  FakeKernel kernel;
  const std::string text = kernel.vmcoreinfo();
  kernel.memory.exclude({kernel.tables().entry_at(kernel.direct_map(), 3).raw & ~0xfffull});
  Dump dump = kernel.dump(text);
  dump.segments = {{kernel.direct_map(), {0}, 64u << 20}, {{0xfffffffffffff000}, {0}, 0x10000}, {{0x1000}, {0}, ~0ull}};
  auto map = os_linux::map_kernel(kernel.input(dump));
  REQUIRE(map);
  const AddressSpace space(*dump.memory, map->mappings);
  CHECK(space.translate(kernel.direct_map() + 0x12345)->raw == 0x12345);
  for (const Mapping& mapping : map->mappings) CHECK(mapping.first <= mapping.last);
}

TEST_CASE("a note that makes no sense does not stop the other ways", "[linux][map]") {
  FakeKernel kernel;
  kernel.add_qemu_note(0x1000, 0x2000);
  for (const char* text : {"OSRELEASE=6.1\n", "SYMBOL(swapper_pg_dir)=zzz\nNUMBER(phys_base)=0\n", "\n=\n", "NUMBER(phys_base)=0\n"}) {
    const Dump dump = kernel.dump(text);
    auto map = os_linux::map_kernel(kernel.input(dump));
    REQUIRE(map);
    CHECK(map->source == "a CPU's cr3");
  }
  const Dump dump = kernel.dump("SYMBOL(swapper_pg_dir)=ffffffffffffffff\nNUMBER(phys_base)=-1\nNUMBER(pgtable_l5_enabled)=77\n");
  auto map = os_linux::map_kernel(kernel.input(dump));  // believed, but harmless
  REQUIRE(map);
  CHECK(map->mode == "5-level");
}

TEST_CASE("an architecture without Linux facts is not supported, not crashed", "[linux][map]") {
  FakeKernel kernel;
  const Dump dump = kernel.dump();
  static constexpr arch::Arch unknown{.name = "vax"};
  const OsInput input{dump, unknown, nullptr, {}, {}};
  CHECK(os_linux::map_kernel(input).error().code == Errc::unsupported);
}
