// See kernel_fixture.h.
#include "tests/support/kernel_fixture.h"

#include <fmt/format.h>

#include <cstring>

namespace kvm::testing {
namespace {

constexpr std::uint64_t run_queues = 0x1000;  // the per-CPU offset of `runqueues`
constexpr std::uint64_t large_page = 0x200000;

AddressSpace space_of(const FakeMemory& memory, const FakeKernelOptions& options, PhysAddr root) {
  const arch::PagingMode& mode = arch::find("x86_64")->paging[options.five_level ? 1 : 0];
  return AddressSpace(memory, {{{0}, {~std::uint64_t{0}}, PageTable{&mode, root, root, options.c_bit, std::endian::little}, "page tables"}});
}

void put_into(std::vector<std::uint8_t>& bytes, std::size_t at, std::uint64_t value, std::size_t size) {
  std::memcpy(bytes.data() + at, &value, size);  // notes of a little-endian machine, on one
}

}  // namespace

FakeKernel::FakeKernel(const FakeKernelOptions& options)
    : options_(options),
      tables_(memory, image_phys() + 0x4000, options.five_level ? 5 : 4, image_phys() + 0x100000),
      space_(space_of(memory, options, image_phys() + 0x4000)) {
  memory.ram(0, options.ram);
  tables_.add_to_entries(options.c_bit);
  for (std::uint64_t at = 0; at < options.ram; at += large_page) tables_.map(direct_map() + at, {at}, large_page, 0x8000000000000163);
  tables_.map(image(), image_phys(), large_page);
  define_types();
  write_image();
}

void FakeKernel::write_image() {
  symbols.add("_text", image(), 0, 'T');
  symbols.add("_stext", image(), 0, 'T');
  symbols.add("linux_banner", image() + 0x2000, 0, 'R');
  symbols.add("swapper_pg_dir", image() + 0x4000);
  symbols.add("init_top_pgt", image() + 0x4000);
  memory.put(image_phys(), std::string_view("\x0f\x01\x15\xf3"));
  memory.put(image_phys() + 0x2000, fmt::format("Linux version {} (builder@host) (gcc 12) #1 SMP\n", release));
  // An ELF note: name size 4, description size 20, type 3 (NT_GNU_BUILD_ID), "GNU".
  memory.put(image_phys() + 0x3000, std::string_view("\x04\0\0\0\x14\0\0\0\x03\0\0\0GNU\0", 16));
  for (std::uint8_t i = 0; i < 20; ++i) memory.put_number(image_phys() + 0x3010 + i, i, 1);
  symbols.add("runqueues", {run_queues});
  variable("nr_cpu_ids", 4);
  variable("__cpu_possible_mask");
  variable("__cpu_online_mask");
  variable("__per_cpu_offset", 64 * 8);
  list_init(variable("modules", 16));
  variable("panic_cpu", 4, 0xffffffff);
  init_task_ = variable("init_task", *types.size_of("task_struct"));
  list_init(init_task_ + offset("task_struct", "tasks"));
  make_task({0, "swapper/0", 0, 0, 0x200000}, 0, allocate(*types.size_of("signal_struct")), init_task_);
}

// Offsets are arbitrary; names are those of Linux 6.8 and later.
void FakeKernel::define_types() {
  types.define("task_struct", 0x200,
               "thread_info.cpu 0x14 u4; __state 0x18 u4; stack 0x20 *; flags 0x2c u4; tasks 0x40 r16:list_head; mm 0x50 *mm_struct;"
               "exit_state 0x60 s4; pid 0x68 s4; tgid 0x6c s4; real_parent 0x70 *task_struct; thread_node 0x80 r16:list_head;"
               "thread_group 0x90 r16:list_head; set_child_tid 0xa0 *; worker_private 0xa8 *; cred 0xb0 *cred; comm 0xc0 a16;"
               "signal 0xd0 *signal_struct; thread.sp 0x100 u8; children 0x108 r16:list_head; sibling 0x118 r16:list_head");
  types.define("signal_struct", 0x40, "thread_head 0x10 r16:list_head");
  types.define("cred", 0x20, "uid 0x8 r4:kuid_t");
  types.define("mm_struct", 0x40, "pgd 0x18 *");
  types.define("kthread", 0x40, "data 0x10 *; full_name 0x20 *");
  types.define("worker", 0x80, "current_work 0x0 *work_struct; pool 0x18 *worker_pool; desc 0x40 a24");
  types.define("rq", 0x100, "curr 0x20 *task_struct; idle 0x28 *task_struct");
  types.define("inactive_task_frame", 0x38, "r15 0x0 u8; r14 0x8 u8; r13 0x10 u8; r12 0x18 u8; bx 0x20 u8; bp 0x28 u8; ret_addr 0x30 u8");
  types.define("uts_namespace", 0x200, "name.release 0x82 a65");
  types.define("list_head", 16, "next 0 *list_head; prev 8 *list_head");
}

PhysAddr FakeKernel::phys(VirtAddr at) const {
  if (at >= image() && at - image() < large_page) return image_phys() + (at - image());
  return {at - direct_map()};
}

VirtAddr FakeKernel::allocate(std::uint64_t bytes) {
  const VirtAddr at = direct_map() + next_free_;
  next_free_ += (bytes + 63) & ~std::uint64_t{63};
  return at;
}

VirtAddr FakeKernel::variable(const std::string& name, std::uint64_t bytes, std::uint64_t value) {
  const VirtAddr at = image() + next_variable_;
  next_variable_ += (bytes + 63) & ~std::uint64_t{63};
  symbols.add(name, at, bytes);
  if (bytes <= 8) put(at, value, bytes);
  return at;
}

VirtAddr FakeKernel::text(std::string_view text) {
  const VirtAddr at = allocate(text.size() + 1);
  put_text(at, text);
  return at;
}

void FakeKernel::set(std::string_view type, VirtAddr at, std::string_view path, std::uint64_t value) {
  const Member member = types.member(type, path).value();
  put(at + member.offset, member.bit_size ? value << member.bit_offset : value, member.size);
}

void FakeKernel::set_text(std::string_view type, VirtAddr at, std::string_view path, std::string_view text) {
  const Member member = types.member(type, path).value();
  memory.put(phys(at + member.offset), std::string(member.size, '\0'));
  memory.put(phys(at + member.offset), text.substr(0, member.size));
}

void FakeKernel::list_init(VirtAddr head) {
  put(head, head.raw);
  put(head + 8, head.raw);
}

void FakeKernel::list_add_tail(VirtAddr head, VirtAddr node) {
  const VirtAddr last = view().pointer_at(head + 8).value();
  put(node, head.raw);
  put(node + 8, last.raw);
  put(last, node.raw);
  put(head + 8, node.raw);
}

VirtAddr FakeKernel::make_task(const TaskSpec& spec, std::uint64_t tgid, VirtAddr signal, VirtAddr at) {
  set("task_struct", at, "pid", spec.pid);
  set("task_struct", at, "tgid", tgid);
  set("task_struct", at, "__state", spec.state);
  set("task_struct", at, "exit_state", spec.exit_state);
  set("task_struct", at, "flags", spec.flags);
  set("task_struct", at, "thread_info.cpu", spec.cpu);
  set("task_struct", at, "real_parent", init_task_.raw);
  set("task_struct", at, "signal", signal.raw);
  set("task_struct", at, "stack", allocate(0x4000).raw);
  set_text("task_struct", at, "comm", spec.comm);
  const VirtAddr cred = allocate(*types.size_of("cred"));
  put(cred + 8, 1000 + spec.pid, 4);
  set("task_struct", at, "cred", cred.raw);
  if (spec.pid == tgid) {
    list_init(signal + offset("signal_struct", "thread_head"));
    list_init(at + offset("task_struct", "thread_group"));
  }
  list_add_tail(signal + offset("signal_struct", "thread_head"), at + offset("task_struct", "thread_node"));
  list_init(at + offset("task_struct", "children"));
  list_init(at + offset("task_struct", "sibling"));
  return at;
}

void FakeKernel::adopt(VirtAddr parent, VirtAddr child) {
  set("task_struct", child, "real_parent", parent.raw);
  list_add_tail(parent + offset("task_struct", "children"), child + offset("task_struct", "sibling"));
}

VirtAddr FakeKernel::add_process(const TaskSpec& spec) {
  const VirtAddr at = allocate(*types.size_of("task_struct"));
  make_task(spec, spec.pid, allocate(*types.size_of("signal_struct")), at);
  list_add_tail(init_task_ + offset("task_struct", "tasks"), at + offset("task_struct", "tasks"));
  return at;
}

VirtAddr FakeKernel::add_thread(VirtAddr leader, const TaskSpec& spec) {
  const KernelView here = view();
  const Record record(here, "task_struct", leader);
  const VirtAddr at = allocate(*types.size_of("task_struct"));
  make_task(spec, record.number("pid").value(), record.pointer("signal").value(), at);
  list_add_tail(leader + offset("task_struct", "thread_group"), at + offset("task_struct", "thread_group"));
  return at;
}

VirtAddr FakeKernel::add_cpu(VirtAddr current, VirtAddr idle, bool online) {
  const VirtAddr area = allocate(run_queues + *types.size_of("rq"));
  const auto word = [&](const char* name) { return symbols.find(name)->address; };
  put(word("nr_cpu_ids"), cpus_ + 1, 4);
  const KernelView here = view();
  const std::uint64_t bit = std::uint64_t{1} << cpus_;
  put(word("__cpu_possible_mask"), here.number_at(word("__cpu_possible_mask"), 8).value() | bit);
  if (online) put(word("__cpu_online_mask"), here.number_at(word("__cpu_online_mask"), 8).value() | bit);
  put(word("__per_cpu_offset") + 8 * cpus_++, area.raw);
  const VirtAddr queue = area + run_queues;
  set("rq", queue, "curr", current.raw);
  set("rq", queue, "idle", idle.raw);
  return area;
}

void FakeKernel::add_prstatus(std::uint32_t pid, std::uint64_t sp, std::uint64_t gs_base, std::uint64_t ip) {
  std::vector<std::uint8_t> desc(336);
  put_into(desc, 32, pid, 4);
  put_into(desc, 240, ip, 8);
  put_into(desc, 264, sp, 8);
  put_into(desc, 288, gs_base, 8);
  notes.push_back({"CORE", 1, desc});
}

void FakeKernel::add_qemu_note(std::uint64_t sp, std::uint64_t gs_base, std::uint64_t kernel_gs_base, std::uint64_t ip) {
  std::vector<std::uint8_t> desc(440);
  put_into(desc, 0, 1, 4);
  put_into(desc, 4, 440, 4);
  put_into(desc, 56, sp, 8);
  put_into(desc, 136, ip, 8);
  put_into(desc, 264, gs_base, 8);
  put_into(desc, 392, 0x80050033, 8);  // cr0: paging is on
  put_into(desc, 416, root().raw | 1, 8);  // cr3, PCID 1
  put_into(desc, 424, options_.five_level ? 0x1ef0 : 0xef0, 8);  // cr4: LA57 is bit 12
  put_into(desc, 432, kernel_gs_base, 8);
  notes.push_back({"QEMU", 0, desc});
}

std::string FakeKernel::vmcoreinfo() const {
  return fmt::format(
      "OSRELEASE={}\nBUILD-ID={}\nPAGESIZE=4096\nSYMBOL(init_uts_ns)=ffffffff82012345\nSYMBOL(_stext)={:x}\nSYMBOL(swapper_pg_dir)={:x}\n"
      "NUMBER(phys_base)={}\nNUMBER(pgtable_l5_enabled)={}\nNUMBER(sme_mask)={}\nKERNELOFFSET={:x}\nNUMBER(KERNEL_IMAGE_SIZE)=1073741824\n",
      release, build_id, image().raw, (image() + 0x4000).raw, static_cast<std::int64_t>(options_.phys_base), options_.five_level ? 1 : 0,
      options_.c_bit, options_.slide);
}

KernelView FakeKernel::view() const { return KernelView{*arch::find("x86_64"), space_, symbols, types}; }

Dump FakeKernel::dump(std::string vmcoreinfo, const FakeMemory& contents) const {
  Dump dump;
  dump.format = "fake";
  dump.arch = arch::find("x86_64");
  dump.memory = std::make_unique<FakeMemory>(contents);
  dump.notes = notes;
  dump.vmcoreinfo = std::move(vmcoreinfo);
  return dump;
}

OsInput FakeKernel::input(const Dump& dump, const Symbols* linked) const { return {dump, *dump.arch, linked, {}, {}}; }

}  // namespace kvm::testing
