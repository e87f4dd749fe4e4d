// A small FreeBSD kernel whose memory the fuzzer damages; then everything the FreeBSD model can be asked.
//
// Input: damage, a record each:   kind, page, offset (2), value (1 to 8 by kind).  Kinds let the fuzzer write pointers without
// guessing 64 bits.
#include <cstdlib>

#include "engine/kernel.h"
#include "tests/support/freebsd_fixture.h"

using namespace kvm;
using kvm::testing::FakeFreebsd;
using kvm::testing::FakeMemory;

namespace {

const FakeFreebsd& machine() {
  static FakeFreebsd kernel;
  static const bool made = [] {
    kernel.variable("pcb_size", 4, 0x140);
    kernel.variable("dumptid", 4, 100001);
    kernel.variable("dumppcb", 0x140);
    kernel.pointer("stoppcbs", kernel.allocate(4 * 0x140));
    kernel.put(kernel.variable("stopped_cpus", 128), 6, 8);
    kernel.put(kernel.variable("all_cpus", 128), 7, 8);
    kernel.variable("mp_maxid", 4, 2);
    kernel.put_text(kernel.variable("version", 256), "FreeBSD 15.1-RELEASE GENERIC\n");
    kernel.put_text(kernel.variable("osrelease", 32), "15.1-RELEASE");
    kernel.pointer("panicstr", kernel.text("page fault\n"));
    const VirtAddr cred = kernel.allocate(0x40);
    for (std::uint64_t pid = 1; pid < 6; ++pid) {
      const VirtAddr process = kernel.add_process(pid, "process", pid != 3, pid == 3 ? 2 : 1);
      kernel.set("proc", process, "p_ucred", cred.raw);
      kernel.set("proc", process, "p_pptr", process.raw);
      for (std::uint64_t i = 0; i < 2; ++i) {
        const VirtAddr thread = kernel.add_thread(process, {.tid = 100000 + pid * 2 + i, .name = "thread", .oncpu = pid < 3 ? static_cast<std::int64_t>(pid) : -1});
        kernel.set("thread", thread, "td_pcb", kernel.allocate(0x140).raw);
      }
    }
    kernel.add_module("zfs.ko", {0xffffffff82000000}, 0x1000);
    kernel.add_module("intpm.ko", {0xffffffff82600000}, 0x1000);
    kernel.add_message_buffer("<6>[1.5] Copyright\n<2>panic: page fault\n\0\0\0\0\0\0", 39);
    kernel.message_buffer = {'o', 'n', 'e', '\n', 0};
    return true;
  }();
  (void)made;
  return kernel;
}

class Input {
 public:
  Input(const std::uint8_t* data, std::size_t size) : data_(data), size_(size) {}
  std::uint64_t take(std::size_t bytes) {
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < bytes && at_ < size_; ++i) value |= std::uint64_t{data_[at_++]} << (8 * i);
    return value;
  }
  bool end() const { return at_ >= size_; }

 private:
  const std::uint8_t* data_;
  std::size_t size_, at_ = 0;
};

void damage(FakeMemory& memory, const std::vector<PhysAddr>& pages, Input& input) {
  constexpr std::uint64_t image = 0xffffffff80000000, direct_map = 0xfffff80000000000;
  while (!input.end()) {
    const std::uint64_t kind = input.take(1);
    const PhysAddr page = pages[input.take(1) % pages.size()], at = page + (input.take(2) & 0xfff), word{at.raw & ~7ull};
    switch (kind % 7) {
      case 0: memory.put_number(at, input.take(1), 1); break;
      case 1: memory.put_number(at, input.take(4), 4); break;
      case 2: memory.put_number(at, input.take(8)); break;
      case 3: memory.put_number(word, direct_map + input.take(2) * 8); break;
      case 4: memory.put_number(word, image + input.take(2) * 8); break;
      case 5: memory.exclude(page); break;
      case 6: memory.lose(page); break;
    }
  }
}

void ask(const Kernel& kernel) {
  if (const auto& tasks = kernel.tasks())
    for (std::size_t i = 0; i < tasks->size() && i < 8; ++i) (void)kernel.registers((*tasks)[i]);
  (void)kernel.modules();
  (void)kernel.find_symbol("zfs_open");
  (void)kernel.os().log();
  (void)kernel.os().panic_message();
  (void)kernel.os().pieces();
  (void)kernel.remarks();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const FakeFreebsd& kernel = machine();
  static const std::vector<PhysAddr> pages = kernel.memory.pages();
  for (const bool types : {true, false}) {
    Input input(data, size);
    KernelParts parts;
    parts.dump = kernel.dump();
    auto memory = std::make_unique<FakeMemory>(kernel.memory);
    damage(*memory, pages, input);
    parts.dump.memory = std::move(memory);
    parts.arch = parts.dump.arch;
    parts.map.mappings = kernel.view().space.mappings();
    parts.symbols = std::make_unique<testing::FakeSymbols>(kernel.symbols);
    if (types) parts.types = std::make_unique<testing::FakeTypes>(kernel.types);
    for (const OsKind* kind : os_kinds())
      if (kind->title == "FreeBSD") parts.os = kind->open;
    auto opened = Kernel::from_parts(std::move(parts));
    if (!opened) std::abort();
    ask(*opened);
  }
  return 0;
}
