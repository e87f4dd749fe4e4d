// See freebsd_fixture.h.
#include "tests/support/freebsd_fixture.h"

namespace kvm::testing {
namespace {

constexpr std::uint64_t ram = 64u << 20, image_phys = 16u << 20, image_bytes = 1u << 20;

}  // namespace

FakeFreebsd::FakeFreebsd(std::string_view arch)
    : arch_(arch::find(arch)), word_(arch_->pointer_bytes), image_{word_ == 8 ? 0xffffffff80000000 : 0xc0000000},
      direct_map_{word_ == 8 ? 0xfffff80000000000 : 0x80000000} {
  memory.ram(0, ram);
  space_ = std::make_unique<AddressSpace>(
      memory, std::vector<Mapping>{{image_, image_ + (image_bytes - 1), Linear{PhysAddr{image_phys}}, "image"},
                                   {direct_map_, direct_map_ + (ram - 1), Linear{PhysAddr{0}}, "direct map"}});
  define_types();
  export_constants();
  pointer("allproc", {});
  const VirtAddr table = allocate(buckets * word_);
  pointer("pidhashtbl", table);
  variable("pidhash", word_, buckets - 1);
  const VirtAddr kernel = allocate(0x80), head = variable("linker_files", 16);
  put_pointer(head, kernel);
  put_pointer(kernel + 0x20, text("kernel"));
  put_pointer(kernel + 0x30, image_);
  pointer("linker_kernel_file", kernel);
  last_file_ = kernel;
}

// Names are those of FreeBSD 14; pointers are as wide as the processor's.
void FakeFreebsd::define_types() {
  types.define("proc", 0x200,
               "p_list 0x0 r16; p_threads 0x10 r16; p_ucred 0x20 *ucred; p_flag 0x28 u4; p_state 0x2c u4; p_pid 0x30 s4; p_hash 0x38 r16;"
               "p_pptr 0x48 *proc; p_oppid 0x50 s4; p_comm 0x60 a20");
  types.define("thread", 0x200,
               "td_plist 0x8 r16; td_tid 0x18 s4; td_flags 0x1c u4; td_inhibitors 0x20 u4; td_lastcpu 0x24 s4; td_oncpu 0x28 s4;"
               "td_name 0x2c a20; td_pcb 0x48 *pcb; td_state 0x50 u4");
  types.define("ucred", 0x40, "cr_uid 0x4 u4");
}

void FakeFreebsd::export_constants() {
  for (const auto& [name, type, member] : {std::tuple{"proc_off_p_pid", "proc", "p_pid"}, {"proc_off_p_comm", "proc", "p_comm"},
                                          {"proc_off_p_list", "proc", "p_list"}, {"proc_off_p_threads", "proc", "p_threads"},
                                          {"proc_off_p_hash", "proc", "p_hash"}, {"thread_off_td_tid", "thread", "td_tid"},
                                          {"thread_off_td_name", "thread", "td_name"}, {"thread_off_td_oncpu", "thread", "td_oncpu"},
                                          {"thread_off_td_pcb", "thread", "td_pcb"}, {"thread_off_td_plist", "thread", "td_plist"}})
    variable(name, 4, offset(type, member));
  variable("kld_off_address", 4, 0x30);
  variable("kld_off_filename", 4, 0x20);
  variable("kld_off_pathname", 4, 0x28);
  variable("kld_off_next", 4, 0x10);
}

PhysAddr FakeFreebsd::phys(VirtAddr at) const {
  return at >= image_ && at - image_ < image_bytes ? PhysAddr{image_phys + (at - image_)} : PhysAddr{at - direct_map_};
}

void FakeFreebsd::put(VirtAddr at, std::uint64_t value, std::size_t bytes) { memory.put_number(phys(at), value, bytes, arch_->endian); }

VirtAddr FakeFreebsd::allocate(std::uint64_t bytes) {
  const VirtAddr at = direct_map_ + next_free_;
  next_free_ += (bytes + 63) & ~std::uint64_t{63};
  return at;
}

VirtAddr FakeFreebsd::variable(const std::string& name, std::uint64_t bytes, std::uint64_t value) {
  const VirtAddr at = image_ + next_variable_;
  next_variable_ += (bytes + 63) & ~std::uint64_t{63};
  symbols.add(name, at, bytes);
  if (bytes <= 8) put(at, value, bytes);
  return at;
}

VirtAddr FakeFreebsd::text(std::string_view text) {
  const VirtAddr at = allocate(text.size() + 1);
  put_text(at, text);
  return at;
}

void FakeFreebsd::set(std::string_view type, VirtAddr at, std::string_view path, std::uint64_t value) {
  const Member member = types.member(type, path).value();
  put(at + member.offset, value, member.kind == Member::Kind::pointer ? word_ : member.size);
}

VirtAddr FakeFreebsd::add_process(std::uint64_t pid, std::string_view comm, bool listed, std::uint64_t state) {
  const VirtAddr at = allocate(0x200);
  set("proc", at, "p_pid", pid);
  set("proc", at, "p_state", state);
  put_text(at + offset("proc", "p_comm"), comm.substr(0, 19));
  const KernelView here = view();
  const auto push = [&](VirtAddr head, std::string_view link) {
    put_pointer(at + offset("proc", link), here.pointer_at(head).value());
    put_pointer(head, at);
  };
  if (listed) push(symbols.find("allproc")->address, "p_list");
  push(here.pointer_at(symbols.find("pidhashtbl")->address).value() + pid % buckets * word_, "p_hash");
  return at;
}

VirtAddr FakeFreebsd::add_thread(VirtAddr process, const ThreadSpec& spec) {
  const VirtAddr at = allocate(0x200);
  set("thread", at, "td_tid", spec.tid);
  set("thread", at, "td_state", spec.state);
  set("thread", at, "td_inhibitors", spec.inhibitors);
  set("thread", at, "td_flags", spec.flags);
  set("thread", at, "td_oncpu", static_cast<std::uint64_t>(spec.oncpu));
  set("thread", at, "td_lastcpu", static_cast<std::uint64_t>(spec.lastcpu));
  put_text(at + offset("thread", "td_name"), spec.name);
  const KernelView here = view();
  VirtAddr link = process + offset("proc", "p_threads");
  while (here.pointer_at(link).value().raw) link = here.pointer_at(link).value() + offset("thread", "td_plist");
  put_pointer(link, at);
  return at;
}

VirtAddr FakeFreebsd::add_module(std::string_view name, VirtAddr address, std::uint64_t size) {
  const VirtAddr at = allocate(0x80);
  put_pointer(at + 0x20, text(name));
  put_pointer(at + 0x28, text("/boot/kernel/" + std::string(name)));
  put_pointer(at + 0x30, address);
  put(at + 0x30 + word_, size, word_);
  put_pointer(last_file_ + 0x10, at);
  last_file_ = at;
  return at;
}

void FakeFreebsd::add_message_buffer(std::string_view ring, std::uint64_t written) {
  const VirtAddr at = allocate(64);
  const VirtAddr characters = allocate(ring.size());
  memory.put(phys(characters), ring);
  put_pointer(at, characters);
  put(at + word_, 0x063062, 4);
  put(at + word_ + 4, ring.size(), 4);
  put(at + word_ + 8, written, 4);
  pointer("msgbufp", at);
}

Dump FakeFreebsd::dump() const {
  Dump dump;
  dump.format = "fake";
  dump.system = "FreeBSD";
  dump.arch = arch_;
  dump.memory = std::make_unique<FakeMemory>(memory);
  dump.message_buffer = message_buffer;
  return dump;
}

}  // namespace kvm::testing
