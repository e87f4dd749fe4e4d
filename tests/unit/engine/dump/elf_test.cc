#include "tests/unit/engine/dump/reading.h"

using namespace kvm;
using namespace kvm::testing;
using Catch::Matchers::Contains;

namespace {

ElfSpec two_pages() {
  ElfSpec spec;
  spec.loads = {{0x1000, 0, page_of(1)}, {0x10000, 0, page_of(16)}};
  return spec;
}

}  // namespace

TEST_CASE("ELF cores of both classes and byte orders read alike") {
  for (const int bits : {32, 64}) {
    for (const bool big : {false, true}) {
      ElfSpec spec = two_pages();
      spec.bits = bits;
      spec.big_endian = big;
      spec.notes = {{"CORE", 1, Buffer(336, 7)}, {"VMCOREINFO", 0, {'A', '=', '1', '\n'}}};
      const Dump dump = opened(write_elf(spec));
      CHECK(bytes_at(dump, 0x1000) == page_of(1));
      CHECK(bytes_at(dump, 0x10000) == page_of(16));
      CHECK(error_at(dump, 0x2000) == Errc::not_in_dump);
      CHECK(error_at(dump, 0) == Errc::not_in_dump);
      REQUIRE(dump.notes.size() == 2);
      CHECK(dump.notes[0].desc == Buffer(336, 7));
      CHECK(dump.vmcoreinfo == "A=1\n");
      REQUIRE(dump.memory->ranges().size() == 2);
      CHECK(dump.memory->ranges()[1].first.raw == 0x10000);
      CHECK(dump.memory->ranges()[1].size == 0x1000);
    }
  }
}

TEST_CASE("An ELF core's processor comes from e_machine, even when class and byte order are the writer's") {
  ElfSpec spec = two_pages();
  REQUIRE(opened(write_elf(spec)).arch);
  CHECK(opened(write_elf(spec)).arch->name == "x86_64");
  spec.big_endian = true;
  CHECK(opened(write_elf(spec)).arch->name == "x86_64");
  spec.machine = 0x1234;
  const Dump unknown = opened(write_elf(spec));
  CHECK_FALSE(unknown.arch);
  CHECK(has_remark(unknown, "e_machine 4660"));
}

TEST_CASE("Of a machine with two byte orders a CPU's register tells the kernel's") {
  ElfSpec spec = two_pages();
  spec.machine = 21;  // EM_PPC64
  spec.big_endian = true;
  Buffer prstatus(504, 0);
  prstatus[112 + 8 * 33 + 7] = 0x32;  // msr, word 33 of pt_regs: big-endian as the file
  spec.notes = {{"CORE", 1, prstatus}};
  REQUIRE(opened(write_elf(spec)).arch);
  CHECK(opened(write_elf(spec)).arch->name == "ppc64");
  spec.notes[0].desc[112 + 8 * 33 + 7] = 0x33;  // LE
  CHECK(opened(write_elf(spec)).arch->name == "ppc64le");
  spec.notes.clear();
  CHECK(opened(write_elf(spec)).arch->name == "ppc64");  // the file's word is all there is
}

TEST_CASE("More than 65534 segments are counted in section header 0") {
  ElfSpec spec;
  spec.count_in_section = true;
  for (std::uint64_t i = 0; i < 70000; ++i) spec.loads.push_back({i * 0x1000, 0, Buffer(16, static_cast<std::uint8_t>(i))});
  const Dump dump = opened(write_elf(spec));
  CHECK(bytes_at(dump, 69999 * 0x1000, 16) == Buffer(16, static_cast<std::uint8_t>(69999)));
  CHECK(dump.memory->ranges().size() == 70000);
}

TEST_CASE("The part of a segment behind p_filesz was excluded") {
  ElfSpec spec;
  spec.loads = {{0x1000, 0, page_of(1), 0x3000}};
  const Dump dump = opened(write_elf(spec));
  CHECK(bytes_at(dump, 0x1000, 0x2000) == page_of(1));  // a short read stops there
  CHECK(error_at(dump, 0x2000) == Errc::not_in_dump);
  CHECK(dump.memory->ranges()[0].size == 0x3000);
}

TEST_CASE("Overlapping segments: stored bytes win over excluded ones, earlier over later") {
  ElfSpec spec;
  spec.loads = {{0x1000, 0, page_of(1), 0x4000}, {0x2000, 0, page_of(2)}, {0x1800, 0, Buffer(0x2000, 9)}};
  const Dump dump = opened(write_elf(spec));
  CHECK(bytes_at(dump, 0x1000) == page_of(1));
  CHECK(bytes_at(dump, 0x2000) == page_of(2));
  CHECK(bytes_at(dump, 0x3000, 0x1000) == Buffer(0x800, 9));
  CHECK(error_at(dump, 0x3800) == Errc::not_in_dump);
  CHECK(dump.memory->ranges().size() == 1);
}

TEST_CASE("A read crosses adjacent segments and borrows where it can") {
  ElfSpec spec;
  spec.loads = {{0x2000, 0, page_of(2)}, {0x1000, 0, page_of(1)}};
  const Dump dump = opened(write_elf(spec));
  CHECK(bytes_at(dump, 0x1000, 0x3000) == join(page_of(1), page_of(2)));
  CHECK(dump.memory->view({0x1ff0}).size() == 16);
  CHECK(dump.memory->file_offset({0x2000}) == 0x40u + 2 * 0x38);
  CHECK_FALSE(dump.memory->file_offset({0x5000}));
}

TEST_CASE("Virtual addresses of segments are hints; physical -1 means none") {
  ElfSpec spec = two_pages();
  spec.loads[0].vaddr = 0xffffffff81000000;
  spec.loads.push_back({~std::uint64_t{0}, 0xffff888000000000, page_of(3)});
  const Dump dump = opened(write_elf(spec));
  REQUIRE(dump.segments.size() == 1);
  CHECK(dump.segments[0].virt.raw == 0xffffffff81000000);
  CHECK(dump.segments[0].phys.raw == 0x1000);
  CHECK(dump.memory->ranges().size() == 2);
}

TEST_CASE("A cut ELF core loses what lies behind its end, and says so") {
  const Buffer whole = write_elf(two_pages());
  const Dump dump = opened(cut(whole, whole.size() - 0x800));
  CHECK(bytes_at(dump, 0x1000) == page_of(1));
  CHECK(bytes_at(dump, 0x10000).size() == 0x800);
  CHECK(error_at(dump, 0x10800) == Errc::lost);
  CHECK(has_remark(dump, "the file is cut"));
}

TEST_CASE("makedumpfile marks an incomplete ELF core in e_flags") {
  ElfSpec spec = two_pages();
  CHECK_FALSE(opened(write_elf(spec)).incomplete);
  spec.flags = 1;
  const Dump dump = opened(write_elf(spec));
  CHECK(dump.incomplete);
  CHECK(has_remark(dump, "incomplete"));
}

TEST_CASE("ELF files that are no dumps are refused in one line") {
  ElfSpec spec = two_pages();
  for (const int type : {1, 2, 3}) {
    spec.type = static_cast<std::uint16_t>(type);
    CHECK(refusal(write_elf(spec)) == "made.dump: is a program or debug file (vmlinux?), not a dump");
  }
  spec.type = 4;
  spec.loads.clear();
  CHECK_THAT(refusal(write_elf(spec)), Contains("made.dump: no PT_LOAD"));
  const Buffer whole = write_elf(two_pages());
  CHECK_THAT(refusal(cut(whole, 0x50)), Contains("program headers"));
  CHECK_THAT(refusal(cut(whole, 0x20)), Contains("ends inside the ELF headers"));
  Buffer odd = whole;
  odd[4] = 9;
  CHECK_THAT(refusal(odd), Contains("ELF class 9"));
  odd = whole;
  odd[0x36] = 3;
  CHECK_THAT(refusal(odd), Contains("e_phentsize 3"));
}

TEST_CASE("Segments may lie anywhere: at the end of the address space, or with sizes that wrap") {
  ElfSpec spec;
  spec.loads = {{~std::uint64_t{0} - 0xfff + 0, 0, page_of(1)}, {0x5000, 0, page_of(5), ~std::uint64_t{0}}};
  spec.loads[1].filesz = ~std::uint64_t{0} - 0x10;
  const Dump dump = opened(write_elf(spec));
  CHECK(bytes_at(dump, 0xfffffffffffff000, 0x2000) == page_of(1));
  CHECK(bytes_at(dump, 0x5000, 0x1000) == page_of(5));
  CHECK(error_at(dump, 0x6000) == Errc::lost);
}
