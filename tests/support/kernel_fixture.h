// A small Linux kernel in fake memory: an image with a banner, a build id and page tables, a direct map, and structures
// that tests lay out by member name.  Addresses and bits are literals (Intel SDM; kernel
// Documentation/arch/x86/x86_64/mm.rst), none of them from arch/ or engine/.
//
//   physical 0 ...                structures, per-CPU areas (seen through the direct map)
//   physical phys_base + 16 MiB + slide    the image: _text, banner at +0x2000, build id at +0x3000, swapper_pg_dir at
//                                 +0x4000, variables from +0x8000, page tables from +0x100000; one 2 MiB page
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/os.h"
#include "tests/support/fake_memory.h"
#include "tests/support/fake_symbols.h"
#include "tests/support/page_tables.h"

namespace kvm::testing {

struct FakeKernelOptions {
  std::uint64_t slide = 0, phys_base = 0;
  bool five_level = false;
  std::uint64_t c_bit = 0;  // in every page-table entry
  std::uint64_t ram = 64u << 20;
};

struct TaskSpec {
  std::uint64_t pid = 0;
  std::string comm = "task";
  std::uint64_t state = 1, exit_state = 0, flags = 0, cpu = 0;
};

class FakeKernel {
 public:
  FakeKernel() : FakeKernel(FakeKernelOptions{}) {}
  explicit FakeKernel(const FakeKernelOptions& options);
  FakeKernel(const FakeKernel&) = delete;

  static constexpr std::string_view release = "6.1.0-fake-amd64";
  static constexpr std::string_view build_id = "000102030405060708090a0b0c0d0e0f10111213";

  FakeMemory memory;
  FakeTypes types;
  FakeSymbols symbols;
  std::vector<Note> notes;

  VirtAddr image() const { return {0xffffffff81000000 + options_.slide}; }
  PhysAddr image_phys() const { return {options_.phys_base + 0x1000000 + options_.slide}; }
  VirtAddr direct_map() const { return {options_.five_level ? 0xff11000000000000 : 0xffff888000000000}; }
  PhysAddr phys(VirtAddr at) const;

  // Zeroed memory in the direct map, and a variable of the image with its symbol.
  VirtAddr allocate(std::uint64_t bytes);
  VirtAddr variable(const std::string& name, std::uint64_t bytes = 8, std::uint64_t value = 0);
  void put(VirtAddr at, std::uint64_t value, std::size_t bytes = 8) { memory.put_number(phys(at), value, bytes); }
  void put_text(VirtAddr at, std::string_view text) { memory.put(phys(at), std::string(text) + '\0'); }
  VirtAddr text(std::string_view text);  // allocated
  void set(std::string_view type, VirtAddr at, std::string_view path, std::uint64_t value);
  void set_text(std::string_view type, VirtAddr at, std::string_view path, std::string_view text);
  std::uint64_t offset(std::string_view type, std::string_view path) const { return types.member(type, path)->offset; }

  // Circular lists: an empty head, and a node before the head.
  void list_init(VirtAddr head);
  void list_add_tail(VirtAddr head, VirtAddr node);

  // The task_struct; a process leads its own thread group.
  VirtAddr add_process(const TaskSpec& spec);
  VirtAddr add_thread(VirtAddr leader, const TaskSpec& spec);
  void adopt(VirtAddr parent, VirtAddr child);
  VirtAddr init_task() const { return init_task_; }
  // A CPU's per-CPU area with its run queue; CPUs are numbered in the order of the calls.  Offline ones stay possible.
  VirtAddr add_cpu(VirtAddr current, VirtAddr idle, bool online = true);

  // NT_PRSTATUS and QEMU's note, with literal offsets of <sys/procfs.h> and of QEMU's QEMUCPUState.
  void add_prstatus(std::uint32_t pid, std::uint64_t sp, std::uint64_t gs_base = 0, std::uint64_t ip = 0xffffffff81000123);
  void add_qemu_note(std::uint64_t sp, std::uint64_t gs_base, std::uint64_t kernel_gs_base = 0, std::uint64_t ip = 0xffffffff81000123);

  std::string vmcoreinfo() const;  // as the kernel writes it
  PhysAddr root() const { return image_phys() + 0x4000; }
  X86Tables& tables() { return tables_; }
  const AddressSpace& space() const { return space_; }
  KernelView view() const;
  // A dump of this machine as it is now, or with other memory.
  Dump dump(std::string vmcoreinfo = {}) const { return dump(std::move(vmcoreinfo), memory); }
  Dump dump(std::string vmcoreinfo, const FakeMemory& contents) const;
  OsInput input(const Dump& dump, const Symbols* linked = nullptr) const;
  // The same symbols as the vmlinux has them.
  FakeSymbols linked_symbols() const { return symbols.minus(options_.slide, {0xffffffff80000000}); }

 private:
  VirtAddr make_task(const TaskSpec& spec, std::uint64_t tgid, VirtAddr signal, VirtAddr at);
  void define_types();
  void write_image();

  FakeKernelOptions options_;
  X86Tables tables_;
  AddressSpace space_;
  std::uint64_t next_free_ = 0x10000, next_variable_ = 0x8000;
  VirtAddr init_task_;
  unsigned cpus_ = 0;
};

}  // namespace kvm::testing
