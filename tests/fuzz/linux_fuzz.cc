// A small kernel whose memory, page tables included, the fuzzer damages; then everything the Linux model can be asked.
// And VMCOREINFO out of the fuzzer's hands, with which the kernel is looked for in that memory.
//
// Input: damage, a record each, until a byte 0xff or the end:   kind, page, offset (2), value (1 to 8 by kind)
// What is left is the text of a VMCOREINFO note.  Kinds let the fuzzer write pointers without guessing 64 bits.
#include <cstdlib>

#include "engine/kernel.h"
#include "engine/mapped.h"
#include "engine/os/linux/os_info.h"
#include "tests/support/pid_table.h"
#include "tests/support/printk_ring.h"

using namespace kvm;
using kvm::testing::FakeKernel;
using kvm::testing::FakeMemory;

namespace {

constexpr std::uint64_t ram = 0x1200000;  // up to the image's end

void add_modules(FakeKernel& kernel) {
  kernel.types.define("module", 0x200,
                      "state 0 u4; list 8 r16:list_head; name 0x18 a56; sect_attrs 0x60 *module_sect_attrs; mem[0].base 0x80 *;"
                      "mem[0].size 0x88 u4; mem[1].base 0xa0 *; mem[1].size 0xa8 u4; kallsyms 0x180 *mod_kallsyms");
  kernel.types.define("mod_kallsyms", 0x20, "symtab 0 *; num_symtab 8 u4; strtab 0x10 *; typetab 0x18 *");
  kernel.types.define("btf_module", 0x40, "list 0 r16:list_head; module 0x10 *module; btf 0x18 *btf");
  kernel.types.define("btf", 0x40, "data 0 *; data_size 0x30 u4");
  const VirtAddr btf_list = kernel.variable("btf_modules", 16);
  kernel.list_init(btf_list);
  kernel.types.define("module_sect_attrs", 0x40, "nsections 0x28 u4; attrs 0x30 r0");
  kernel.types.define("module_sect_attr", 0x50, "battr.attr.name 0 *; address 0x48 u8");
  for (const char* name : {"ext4", "xfs"}) {
    const VirtAddr module = kernel.allocate(0x200), attributes = kernel.allocate(0x30 + 2 * 0x50), note = kernel.allocate(64);
    kernel.set_text("module", module, "name", name);
    kernel.set("module", module, "mem[0].base", note.raw);
    kernel.set("module", module, "mem[0].size", 64);
    kernel.set("module", module, "sect_attrs", attributes.raw);
    kernel.set("module_sect_attrs", attributes, "nsections", 1);
    kernel.set("module_sect_attr", attributes + 0x30, "battr.attr.name", kernel.text(".note.gnu.build-id").raw);
    kernel.set("module_sect_attr", attributes + 0x30, "address", note.raw);
    const VirtAddr tables = kernel.allocate(0x20), symtab = kernel.allocate(4 * 24), entry = kernel.allocate(0x40), btf = kernel.allocate(0x40);
    kernel.set("module", module, "kallsyms", tables.raw);
    kernel.set("mod_kallsyms", tables, "symtab", symtab.raw);
    kernel.set("mod_kallsyms", tables, "num_symtab", 4);
    kernel.set("mod_kallsyms", tables, "strtab", kernel.text("?loop_init").raw);
    kernel.set("mod_kallsyms", tables, "typetab", kernel.text("?ttd").raw);
    for (std::uint64_t i = 1; i < 4; ++i) kernel.put(symtab + i * 24, 1 + i, 4), kernel.put(symtab + i * 24 + 6, 1, 2);
    kernel.set("btf_module", entry, "module", module.raw);
    kernel.set("btf_module", entry, "btf", btf.raw);
    kernel.set("btf", btf, "data", attributes.raw);
    kernel.set("btf", btf, "data_size", 64);
    kernel.list_add_tail(btf_list, entry);
    kernel.list_add_tail(kernel.symbols.find("modules")->address, module + 8);
  }
}

void add_tasks(FakeKernel& kernel) {
  testing::PidTable pids(kernel);
  const VirtAddr mm = kernel.allocate(0x40), frame = kernel.allocate(0x38), kthread = kernel.allocate(0x40), worker = kernel.allocate(0x80);
  kernel.set("mm_struct", mm, "pgd", kernel.direct_map().raw + kernel.root().raw);
  std::vector<VirtAddr> tasks;
  for (std::uint64_t pid = 1; pid < 6; ++pid) {
    tasks.push_back(kernel.add_process({pid, "task", 1, 0, pid == 2 ? 0x200020u : 0}));
    kernel.set("task_struct", tasks.back(), "mm", mm.raw);
    pids.add(pid, tasks.back());
  }
  kernel.add_thread(tasks[0], {77, "thread"});
  kernel.types.define("task_struct", 0x200,
                      "thread_info.cpu 0x14 u4; __state 0x18 u4; stack 0x20 *; flags 0x2c u4; tasks 0x40 r16:list_head; mm 0x50 *mm_struct;"
                      "exit_state 0x60 s4; pid 0x68 s4; tgid 0x6c s4; real_parent 0x70 *task_struct; thread_node 0x80 r16:list_head;"
                      "worker_private 0xa8 *; cred 0xb0 *cred; comm 0xc0 a16; signal 0xd0 *signal_struct; thread.sp 0x100 u8; pid_links[0] 0x1a0 r16");
  kernel.set("task_struct", tasks[1], "worker_private", kthread.raw);
  kernel.set("kthread", kthread, "data", worker.raw);
  kernel.set("worker", worker, "pool", worker.raw);
  kernel.set_text("worker", worker, "desc", "events");
  kernel.set("task_struct", tasks[2], "thread.sp", frame.raw);
  kernel.add_cpu(tasks[0], kernel.init_task());
  kernel.add_cpu(tasks[1], tasks[1]);
  kernel.add_prstatus(1, 0x1111);
  kernel.add_prstatus(2, 0x2222);
  kernel.add_qemu_note(0x1111, 0x10);
  kernel.add_qemu_note(0x2222, 0x10);
}

const FakeKernel& machine() {
  static FakeKernel kernel({.ram = ram});
  static const bool made = [] {
    add_tasks(kernel);
    add_modules(kernel);
    static testing::PrintkRing ring(kernel);
    ring.window(0, 1);
    ring.record(0, "Linux version 6.1.0");
    ring.record(1, "Kernel panic - not syncing: test");
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
  std::string rest() const { return std::string(reinterpret_cast<const char*>(data_) + at_, size_ - at_); }

 private:
  const std::uint8_t* data_;
  std::size_t size_, at_ = 0;
};

void damage(const FakeKernel& kernel, FakeMemory& memory, Input& input) {
  static const std::vector<PhysAddr> pages = kernel.memory.pages();
  while (!input.end()) {
    const std::uint64_t kind = input.take(1);
    if (kind == 0xff) return;
    const PhysAddr page = pages[input.take(1) % pages.size()];
    const PhysAddr at = page + (input.take(2) & 0xfff);
    switch (kind % 8) {
      case 0: memory.put_number(at, input.take(1), 1); break;
      case 1: memory.put_number(at, input.take(4), 4); break;
      case 2: memory.put_number(at, input.take(8)); break;
      case 3: memory.put_number({at.raw & ~7ull}, kernel.direct_map().raw + input.take(3) % ram); break;  // a pointer
      case 4: memory.put_number({at.raw & ~7ull}, kernel.image().raw + input.take(3) % 0x200000); break;
      case 5: memory.put_number({at.raw & ~7ull}, (pages[input.take(1) % pages.size()].raw) | input.take(1)); break;  // an entry
      case 6: memory.exclude(page); break;
      case 7: memory.lose(page); break;
    }
  }
}

void ask_statistics(const Kernel& kernel) {
  const Statistics* known = kernel.os().statistics();
  if (!known) return;
  (void)known->load_average();
  (void)known->swap_devices();
  (void)known->cpu_times();
  (void)known->cpu_area(0);
  (void)known->cpu_variable({0x1010}, 0);
  const auto& tasks = kernel.tasks();
  for (std::size_t i = 0; tasks && i < tasks->size() && i < 8; ++i) {
    (void)known->details((*tasks)[i]);
    (void)known->arguments((*tasks)[i]);
  }
}

void ask(const Kernel& kernel) {
  if (const auto& tasks = kernel.tasks()) {
    for (std::size_t i = 0; i < tasks->size() && i < 8; ++i) {
      (void)kernel.registers((*tasks)[i]);
      std::uint8_t bytes[64];
      if (auto space = kernel.os().user_space((*tasks)[i])) (void)space->read({0x400000}, bytes);
    }
  }
  ask_statistics(kernel);
  if (const auto& modules = kernel.modules())
    for (std::size_t i = 0; i < modules->size() && i < 4; ++i) {
      if (const auto symbols = kernel.os().module_symbols((*modules)[i])) (void)(*symbols)->find("loop_init");
      (void)kernel.os().module_types((*modules)[i]);
    }
  (void)kernel.find_symbol("loop_init");
  (void)kernel.os().log();
  (void)kernel.os().panic_message();
  (void)kernel.remarks();
  for (const Extent& run : mapped_runs(kernel.space(), 4096).runs)
    if (!run.phys || run.last < run.first) std::abort();
  VirtAddr next{0};
  for (int i = 0; i < 256; ++i) {
    auto extent = kernel.space().extent_at(next);
    if (extent && (extent->first > next || extent->last < next)) std::abort();
    next = extent ? extent->last + 1 : VirtAddr{(next.raw | 0xfff) + 1};
  }
}

// The text as a page of os_info with its right sum, and as the note that the lowcore points to.
void ask_os_info(const std::string& text) {
  FakeMemory memory;
  memory.ram(0, 0x8000);
  std::string page = text.substr(0, 4084);
  page.resize(4084);
  std::uint64_t sum = 0;
  for (std::size_t at = 0; at < page.size(); ++at) sum += std::uint64_t{static_cast<std::uint8_t>(page[at])} << (24 - 8 * (at % 4));
  memory.put({0x2000}, std::string_view("OSINFOSZ"));
  memory.put_number({0x2008}, sum % 0xffffffff ? sum % 0xffffffff : 0xffffffff, 4, std::endian::big);
  memory.put({0x200c}, page);
  memory.put({0x4000}, text.substr(0, 0x4000));
  memory.put_number({0xe18}, 0x2000, 8, std::endian::big);
  memory.put_number({0xe0c}, 0x4000, 8, std::endian::big);
  const auto info = os_linux::read_os_info(memory, *arch::find("s390x")->linux_layout);
  for (const Mapping& mapping : info.mappings)
    if (mapping.last < mapping.first) std::abort();
  (void)AddressSpace(memory, info.mappings).extent_at({0x5000});
}

KernelParts parts_of(Dump dump, KernelMap map, const FakeKernel& kernel) {
  KernelParts parts;
  parts.dump = std::move(dump);
  parts.arch = parts.dump.arch;
  parts.map = std::move(map);
  parts.symbols = std::make_unique<testing::FakeSymbols>(kernel.symbols);
  parts.types = std::make_unique<testing::FakeTypes>(kernel.types);
  for (const OsKind* kind : os_kinds())
    if (kind->name == "linux") parts.os = kind->open;
  return parts;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const FakeKernel& kernel = machine();
  FakeMemory memory = kernel.memory;
  Input input(data, size);
  damage(kernel, memory, input);
  const std::string text = input.rest();

  if (text.empty()) {
    KernelMap map;
    map.mappings = kernel.space().mappings();
    auto opened = Kernel::from_parts(parts_of(kernel.dump({}, memory), map, kernel));
    if (!opened) std::abort();
    ask(*opened);
    return 0;
  }
  ask_os_info(text);
  for (bool with_symbols : {false, true}) {
    const Dump dump = kernel.dump(text, memory);
    for (const OsKind* kind : os_kinds()) {
      auto map = kind->map(kernel.input(dump, with_symbols ? &kernel.symbols : nullptr));
      if (!map) continue;
      auto opened = Kernel::from_parts(parts_of(kernel.dump(text, memory), *map, kernel));
      if (!opened) std::abort();
      ask(*opened);
    }
  }
  return 0;
}
