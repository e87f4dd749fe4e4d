// A small FreeBSD kernel in fake memory, of any processor: an image with exported constants, and structures that tests lay out by
// member name.  Offsets are arbitrary but for what has no name in a kernel: the tail queues of sys/sys/queue.h (first, last), struct
// msgbuf (sys/sys/msgbuf.h) and linker_file's size behind its address (sys/sys/linker.h).
//
//   0xffffffff80000000 on (32-bit: 0xc0000000)   the image, at physical 16 MiB: variables
//   0xfffff80000000000 on (32-bit: 0x80000000)   all of physical memory: structures from 64 KiB on
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/os.h"
#include "tests/support/fake_memory.h"
#include "tests/support/fake_symbols.h"

namespace kvm::testing {

struct ThreadSpec {
  std::uint64_t tid = 100001;
  std::string name = "";
  std::int64_t oncpu = -1, lastcpu = 0;
  std::uint64_t state = 1, inhibitors = 2, flags = 8;  // TDS_INHIBITED, TDI_SLEEPING, TDF_SINTR
};

class FakeFreebsd {
 public:
  explicit FakeFreebsd(std::string_view arch = "x86_64");
  FakeFreebsd(const FakeFreebsd&) = delete;

  FakeMemory memory;
  FakeTypes types;
  FakeSymbols symbols;
  std::vector<std::uint8_t> message_buffer;

  // Zeroed memory, and a variable of the image with its symbol.
  VirtAddr allocate(std::uint64_t bytes);
  VirtAddr variable(const std::string& name, std::uint64_t bytes, std::uint64_t value = 0);
  VirtAddr pointer(const std::string& name, VirtAddr value) { return variable(name, word_, value.raw); }
  VirtAddr text(std::string_view text);
  PhysAddr phys(VirtAddr at) const;
  void put(VirtAddr at, std::uint64_t value, std::size_t bytes);
  void put_pointer(VirtAddr at, VirtAddr value) { put(at, value.raw, word_); }
  void put_text(VirtAddr at, std::string_view text) { memory.put(phys(at), std::string(text) + '\0'); }
  void set(std::string_view type, VirtAddr at, std::string_view path, std::uint64_t value);
  std::uint64_t offset(std::string_view type, std::string_view path) const { return types.member(type, path)->offset; }
  std::uint64_t word() const { return word_; }

  // A process at the head of allproc, as fork() puts it; without a list it is only in the table of process ids, as a zombie is.
  VirtAddr add_process(std::uint64_t pid, std::string_view comm, bool listed = true, std::uint64_t state = 1);
  VirtAddr add_thread(VirtAddr process, const ThreadSpec& spec);
  // A file at the list's end.
  VirtAddr add_module(std::string_view name, VirtAddr address, std::uint64_t size);
  void add_message_buffer(std::string_view ring, std::uint64_t written);

  KernelView view() const { return KernelView{*arch_, *space_, symbols, types}; }
  Dump dump() const;

  static constexpr std::uint64_t buckets = 4;

 private:
  void define_types();
  void export_constants();

  const arch::Arch* arch_;
  std::uint64_t word_;
  VirtAddr image_, direct_map_;
  std::unique_ptr<AddressSpace> space_;
  std::uint64_t next_free_ = 0x10000, next_variable_ = 0;
  VirtAddr last_file_;
};

}  // namespace kvm::testing
