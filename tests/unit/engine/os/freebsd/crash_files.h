// The fake FreeBSD kernel as two files, a minidump of amd64 and a kernel, for what opens files by name.
#pragma once

#include "tests/support/ctf_writer.h"
#include "tests/support/freebsd_fixture.h"
#include "tests/support/freebsd_writer.h"
#include "tests/unit/engine/symbols/elf_image.h"

namespace kvm::test {

// Every page that was written.  The image is one page of 2 MiB at physical 16 MiB (bits: present, writable, large).
inline testing::Buffer minidump_of(const testing::FakeFreebsd& kernel, testing::Buffer message = {}, testing::Buffer behind_message = {}) {
  testing::MinidumpSpec spec;
  spec.kernbase = 0xffffffff80000000;
  spec.dmapbase = 0xfffff80000000000;
  spec.dmapend = spec.dmapbase + (64u << 20);
  spec.available = {{0, 64u << 20}};
  spec.entries = testing::number_row({0x1000083}, 8);
  spec.entries.resize(4096);
  if (!message.empty()) spec.message = std::move(message);
  spec.behind_message = std::move(behind_message);
  for (const PhysAddr page : kernel.memory.pages()) {
    testing::Buffer bytes(4096);
    if (kernel.memory.read(page, bytes)) spec.pages[page.raw] = std::move(bytes);
  }
  return testing::write_minidump(spec);
}

// With the symbols, and with types where there is CTF.
inline testing::Buffer kernel_file(const testing::FakeFreebsd& kernel, const testing::Buffer& ctf) {
  ElfImage image;
  const auto data = image.add({.name = ".data", .type = 8, .flags = 3, .addr = 0xffffffff80000000, .size = 0x100000});
  std::vector<ImageSymbol> symbols;
  for (const Symbol& symbol : kernel.symbols.all())
    symbols.push_back({std::string(symbol.name), symbol.address.raw, symbol.size, 0x11, static_cast<std::uint16_t>(data)});
  image.add_symbols(symbols);
  if (!ctf.empty()) image.add({.name = ".SUNW_ctf", .bytes = ctf, .align = 4});
  return image.bytes();
}

// The types that the fixture lays out (freebsd_fixture.cc), and what times need.
inline testing::CtfWriter kernel_types(unsigned version) {
  using namespace testing;
  CtfWriter t(version);
  const auto integer = t.integer("int", 4, true), uns = t.integer("unsigned int", 4, false), quad = t.integer("unsigned long", 8, false);
  const auto chr = t.integer("char", 1, true), name = t.array(chr, integer, 20, 20);
  const auto pid = t.to(CTF_TYPEDEF, t.to(CTF_TYPEDEF, integer, "__pid_t"), "pid_t");
  const auto thread = t.next(), thread_pointer = t.next() + 1;
  t.to(CTF_FORWARD, CTF_STRUCT, "thread");
  t.to(CTF_POINTER, thread);
  const auto head = t.record("", 16, {{"tqh_first", thread_pointer, 0}, {"tqh_last", thread_pointer, 64}});
  const auto states = t.enumeration("", 4, {{"PRS_NEW", 0}, {"PRS_NORMAL", 1}, {"PRS_ZOMBIE", 2}});
  const auto thread_states =
      t.enumeration("td_states", 4, {{"TDS_INACTIVE", 0}, {"TDS_INHIBITED", 1}, {"TDS_CAN_RUN", 2}, {"TDS_RUNQ", 3}, {"TDS_RUNNING", 4}});
  const auto cred = t.to(CTF_POINTER, t.record("ucred", 0x40, {{"cr_uid", uns, 0x4 * 8}}));
  const auto times = t.record("rusage_ext", 0x18, {{"rux_runtime", quad, 0}, {"rux_uu", quad, 64}, {"rux_su", quad, 128}});
  const auto process = t.to(CTF_POINTER, t.next() + 1);
  t.record("proc", 0x200, {{"p_list", head, 0}, {"p_threads", head, 0x10 * 8}, {"p_ucred", cred, 0x20 * 8}, {"p_flag", uns, 0x28 * 8},
                           {"p_state", states, 0x2c * 8}, {"p_pid", pid, 0x30 * 8}, {"p_hash", head, 0x38 * 8}, {"p_pptr", process, 0x48 * 8},
                           {"p_oppid", pid, 0x50 * 8}, {"p_comm", name, 0x60 * 8}, {"p_rux", times, 0x80 * 8}});
  t.record("thread", 0x200, {{"td_plist", head, 0x8 * 8}, {"td_tid", pid, 0x18 * 8}, {"td_flags", uns, 0x1c * 8}, {"td_inhibitors", uns, 0x20 * 8},
                             {"td_lastcpu", integer, 0x24 * 8}, {"td_oncpu", integer, 0x28 * 8}, {"td_name", name, 0x2c * 8},
                             {"td_state", thread_states, 0x50 * 8}});
  return t;
}

// A shell, its parent, and a process that runs.
inline void populate(testing::FakeFreebsd& kernel) {
  const VirtAddr parent = kernel.add_process(1, "init"), child = kernel.add_process(806, "sh"), cred = kernel.allocate(0x40);
  kernel.add_thread(parent, {.tid = 100001, .name = "init", .flags = 0});
  kernel.add_thread(child, {.tid = 100806, .name = "sh"});
  kernel.add_thread(kernel.add_process(900, "busy"), {.tid = 100900, .name = "busy", .oncpu = 1, .state = 4, .inhibitors = 0});
  kernel.set("proc", child, "p_pptr", parent.raw);
  kernel.set("proc", child, "p_ucred", cred.raw);
  kernel.set("ucred", cred, "cr_uid", 1001);
  kernel.put(child + 0x80, 2'500'000'000, 8);
  kernel.put(child + 0x88, 1'500'000, 8);
  kernel.variable("cpu_tick_frequency", 8, 1'000'000'000);
  kernel.variable("nprocs", 4, 3);
  kernel.variable("ticks", 4, 1000);
  kernel.variable("hz", 4, 100);
}

}  // namespace kvm::test
