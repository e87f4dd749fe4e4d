// FreeBSD's model as a whole, its log and modules, and the frames of its traps.
#include <catch2/catch.hpp>

#include <algorithm>
#include <array>

#include "engine/os/freebsd/model.h"
#include "tests/support/freebsd_fixture.h"

namespace kvm {
extern const OsKind freebsd_os;
}

using namespace kvm;
using kvm::testing::FakeFreebsd;

namespace {

// Keeps what the model borrows.
struct Opened {
  explicit Opened(const FakeFreebsd& kernel) : view(kernel.view()), dump(kernel.dump()), model(freebsd_os.open(view, dump, map)) {}
  KernelView view;
  Dump dump;
  KernelMap map;
  Result<std::unique_ptr<OsModel>> model;
};

std::vector<std::string> texts(const FakeFreebsd& kernel) {
  const auto lines = os_freebsd::read_log(kernel.view(), kernel.dump());
  std::vector<std::string> texts;
  if (lines)
    for (const LogLine& line : *lines) texts.push_back(line.text);
  return texts;
}

using Texts = std::vector<std::string>;

}  // namespace

TEST_CASE("FreeBSD's model: release, panic, CPUs", "[freebsd]") {
  FakeFreebsd kernel;
  kernel.add_thread(kernel.add_process(7, "seven"), {.tid = 100007, .oncpu = 1, .state = 4});
  kernel.put_text(kernel.variable("osrelease", 32), "15.1-RELEASE");
  kernel.pointer("panicstr", kernel.text("kdb_sysctl_panic\n"));
  kernel.put(kernel.variable("all_cpus", 128), 0b101, 8);
  kernel.variable("mp_maxid", 4, 3);
  const Opened opened(kernel);
  REQUIRE(opened.model);
  CHECK((*opened.model)->release() == "15.1-RELEASE");
  CHECK((*opened.model)->panic_message() == "kdb_sysctl_panic");
  std::vector<unsigned> numbers;
  for (const Cpu& cpu : (*opened.model)->cpus()) numbers.push_back(cpu.number);
  CHECK(numbers == std::vector<unsigned>{0, 2});
}

TEST_CASE("where return addresses can be signed, the bits of a signature are known", "[freebsd][map]") {
  const auto mask = [](std::string_view arch) {
    const FakeFreebsd kernel(arch);
    Dump dump = kernel.dump();
    dump.kernel_map.push_back({{0xffff000000000000}, {0xffff00003fffffff}, Linear{PhysAddr{0}}, "page map"});
    return freebsd_os.map({dump, *dump.arch, nullptr, {}, {}})->signature_mask;
  };
  CHECK(mask("aarch64") == 0xffff000000000000);  // PAC_ADDR_MASK, 0xff7f000000000000, and bit 55
  CHECK(mask("x86_64") == 0);
}

TEST_CASE("the release out of the version text", "[freebsd]") {
  FakeFreebsd kernel;
  kernel.put_text(kernel.variable("version", 256), "FreeBSD 14.1-RELEASE-p3 GENERIC amd64\n    root@host\n");
  CHECK((*Opened(kernel).model)->release() == "14.1-RELEASE-p3");
}

TEST_CASE("another kernel's file is refused with both versions", "[freebsd]") {
  class WithFile final : public Symbols {
   public:
    explicit WithFile(const Symbols& symbols) : symbols_(symbols) {}
    std::optional<Symbol> find(std::string_view name) const override { return symbols_.find(name); }
    std::optional<Symbol> at(VirtAddr address) const override { return symbols_.at(address); }
    Bytes contents(VirtAddr, std::size_t) const override { return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size() + 1}; }
    std::string text = "FreeBSD 14.1-RELEASE GENERIC\n";

   private:
    const Symbols& symbols_;
  };
  FakeFreebsd kernel;
  kernel.put_text(kernel.variable("version", 256), "FreeBSD 14.1-RELEASE GENERIC\n");
  WithFile symbols(kernel.symbols);
  const KernelView plain = kernel.view(), view{plain.arch, plain.space, symbols, plain.types};
  const Dump dump = kernel.dump();
  CHECK(freebsd_os.open(view, dump, {}));
  symbols.text = "FreeBSD 13.2-RELEASE GENERIC\n";
  const auto refused = freebsd_os.open(view, dump, {});
  REQUIRE_FALSE(refused);
  CHECK(refused.error().note.find("'FreeBSD 13.2-RELEASE GENERIC'") != std::string::npos);
  CHECK(refused.error().note.find("'FreeBSD 14.1-RELEASE GENERIC'") != std::string::npos);
}

TEST_CASE("constants: memory first, then the file", "[freebsd]") {
  class WithFile final : public Symbols {
   public:
    std::optional<Symbol> find(std::string_view) const override { return Symbol{"pcb_size", {0xffffffff80000000}, 4, 'R'}; }
    std::optional<Symbol> at(VirtAddr) const override { return std::nullopt; }
    Bytes contents(VirtAddr, std::size_t) const override { return Bytes(number); }
    std::array<std::uint8_t, 4> number{0x40, 1, 0, 0};
  };
  FakeFreebsd kernel;
  WithFile symbols;
  const KernelView plain = kernel.view(), view{plain.arch, plain.space, symbols, plain.types};
  kernel.put({0xffffffff80000000}, 0x120, 4);
  CHECK(os_freebsd::read_constant(view, "pcb_size") == 0x120u);
  kernel.put({0xffffffff80000000}, 0, 4);
  CHECK(os_freebsd::read_constant(view, "pcb_size") == 0x140u);
  kernel.memory.exclude({16u << 20});
  CHECK(os_freebsd::read_constant(view, "pcb_size") == 0x140u);
  symbols.number = {};
  CHECK(os_freebsd::read_constant(view, "pcb_size") == 0u);
}

TEST_CASE("the message buffer", "[freebsd][log]") {
  FakeFreebsd kernel;
  SECTION("one that never went round") {
    kernel.add_message_buffer(std::string("Copyright\n<118>Starting devd.\npanic: x\n") + std::string(24, '\0'), 39);
    CHECK(texts(kernel) == Texts{"Copyright", "Starting devd.", "panic: x"});
    CHECK(os_freebsd::read_log(kernel.view(), kernel.dump())->at(1).level == (118 & 7));
    CHECK_FALSE(os_freebsd::read_log(kernel.view(), kernel.dump())->at(1).nanoseconds);
  }
  SECTION("one that has: the line that was cut is left out") {
    // 32 bytes, of which byte 7 is the oldest; sequence numbers go up to sixteen times the size.
    kernel.add_message_buffer("newest\ncut line\nsecond\nthe third", 7 + 3 * 32);
    CHECK(texts(kernel) == Texts{"second", "the thirdnewest"});
  }
  SECTION("with times") {
    kernel.add_message_buffer(std::string("[12] a\n[13.000250] b\n[x] c\n") + std::string(5, '\0'), 27);
    const auto lines = os_freebsd::read_log(kernel.view(), kernel.dump());
    CHECK(lines->at(0).nanoseconds == 12'000'000'000);
    CHECK(lines->at(1).nanoseconds == 13'000'250'000);
    CHECK(lines->at(1).text == "b");
    CHECK_FALSE(lines->at(2).nanoseconds);
    CHECK(lines->at(2).text == "[x] c");
  }
  SECTION("only the dump's copy") {
    const std::string_view copy("one\ntwo\n\0\0", 10);
    kernel.message_buffer.assign(copy.begin(), copy.end());
    CHECK(texts(kernel) == Texts{"one", "two"});
    Dump dump = kernel.dump();
    dump.message_buffer.clear();
    dump.message_state = {0, 0, 0, 0, 0, 0, 0, 0, 0x62, 0x30, 0x06, 0, 0, 0, 0, 0, 9, 0, 0, 0};  // of a ring of no bytes
    CHECK_FALSE(os_freebsd::read_log(kernel.view(), dump));
  }
  SECTION("nonsense") {
    kernel.add_message_buffer("x", 1);
    const VirtAddr at = kernel.view().pointer_at(kernel.symbols.find("msgbufp")->address).value();
    kernel.put(at + 12, 0, 4);
    CHECK_FALSE(os_freebsd::read_log(kernel.view(), kernel.dump()));
    kernel.put(at + 12, 0xffffffff, 4);
    CHECK_FALSE(os_freebsd::read_log(kernel.view(), kernel.dump()));
    kernel.put(at + 8, 1, 4);
    CHECK_FALSE(os_freebsd::read_log(kernel.view(), kernel.dump()));
  }
}

TEST_CASE("modules: all files but the kernel", "[freebsd][modules]") {
  FakeFreebsd kernel;
  std::vector<std::string> remarks;
  kernel.add_module("zfs.ko", {0xffffffff82000000}, 0x5d3d00);
  const VirtAddr last = kernel.add_module("intpm.ko", {0xffffffff82600000}, 0x3250);
  auto modules = os_freebsd::find_modules(kernel.view(), remarks);
  REQUIRE(modules);
  REQUIRE(modules->size() == 2);
  CHECK(modules->at(0).name == "zfs.ko");
  CHECK(modules->at(0).path == "/boot/kernel/zfs.ko");
  CHECK(modules->at(0).base == VirtAddr{0xffffffff82000000});
  CHECK(modules->at(0).size == 0x5d3d00);
  CHECK(modules->at(0).placing == Module::Placing::from_file);
  CHECK(remarks.empty());

  kernel.symbols.remove("linker_kernel_file");
  CHECK(os_freebsd::find_modules(kernel.view(), remarks)->size() == 2);
  kernel.put_pointer(last + 0x10, last);
  CHECK(os_freebsd::find_modules(kernel.view(), remarks)->size() == 2);
  CHECK(remarks.size() == 1);
}

TEST_CASE("entry code has rows, other code is left to debuggers", "[freebsd][traps]") {
  class Named final : public Symbols {
   public:
    std::optional<Symbol> find(std::string_view) const override { return std::nullopt; }
    std::optional<Symbol> at(VirtAddr) const override { return std::nullopt; }
    std::vector<Symbol> all() const override {
      return {{"XXH64", {0x9000}, 0, 'T'}, {"calltrap", {0x1000}, 0, 't'}, {"alltraps", {0xf00}, 0, 't'}, {"Xtimerint", {0x2000}, 0, 'T'},
              {"sched_idle", {0x1040}, 0x80, 'T'}, {"fast_syscall_common", {0x3000}, 0x20, 't'}, {"fork_trampoline", {0x4000}, 0x10, 'T'},
              {"calltrap_data", {0x1010}, 0, 'd'}, {"Xend", {0x2100}, 4, 'T'}, {".L0 ", {0x1002}, 0, 't'}, {"$x", {0x1004}, 0, 't'}};
    }
  };
  using enum UnwindRow::Kind;
  FakeFreebsd kernel;
  Named symbols;
  const KernelView plain = kernel.view(), view{plain.arch, plain.space, symbols, plain.types};
  const Pieces pieces = os_freebsd::trap_pieces(view);
  std::vector<std::pair<std::uint64_t, UnwindRow::Kind>> rows;
  for (const UnwindRow& row : pieces.pieces.at(0).unwind) rows.emplace_back(row.address.raw, row.kind);
  CHECK(rows == std::vector<std::pair<std::uint64_t, UnwindRow::Kind>>{
                    {0x1000, interrupt}, {0x1040, elsewhere}, {0x2000, interrupt}, {0x2100, interrupt}, {0x2104, elsewhere}, {0x3000, interrupt},
                    {0x3020, elsewhere}, {0x4000, end}, {0x4010, elsewhere}});
  CHECK(pieces.pieces[0].unwind[0].interrupted);
  CHECK_FALSE(pieces.pieces[0].unwind[5].interrupted);  // a system call
  // DWARF numbers of the psABI: rip 16, rsp 7; places of sys/x86/include/frame.h.
  const auto place = [&](unsigned reg) { return std::ranges::find(pieces.interrupt_frame, reg, &SavedAt::reg)->offset; };
  CHECK(pieces.pieces[0].unwind[0].cfa_offset == 0xc0);
  CHECK(place(16) == 0x98 - 0xc0);
  CHECK(place(7) == 0xb0 - 0xc0);
  CHECK_FALSE(pieces.stack_switch);
}
