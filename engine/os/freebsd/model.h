// The FreeBSD model: processes and threads, CPUs, modules, log.  A kernel tells the most important offsets itself, as exported
// constants; the rest comes from debug information, where there is some.
#pragma once

#include <vector>

#include "engine/cpu_notes.h"
#include "engine/os.h"

namespace kvm::os_freebsd {

// A constant or variable of at most 8 bytes.  Memory is the authority: a stripped or rebuilt kernel file can hold zeros instead.
Result<std::uint64_t> read_constant(const KernelView& view, std::string_view symbol, std::size_t bytes = 4);
std::optional<std::int64_t> read_int(const KernelView& view, std::string_view symbol);
std::uint64_t os_version(const KernelView& view);  // __FreeBSD_version, 0: not known

// sys/kern/kern_proc.c: what a kernel exports for debuggers, since 10.3; before that, and where a symbol is missing, debug information.
struct Offsets {
  std::uint64_t pid, comm, list, threads;          // of struct proc
  std::uint64_t tid, name, oncpu, pcb, next_thread;  // of struct thread
  std::optional<std::uint64_t> hash;               // of struct proc: since 13.0
  std::uint64_t oncpu_bytes = 4;                   // before 11.0 a single one
};
Result<Offsets> read_offsets(const KernelView& view);

// The machine at its end: which thread dumped, which CPUs were stopped.
class Machine {
 public:
  Machine(const KernelView& view, std::vector<CpuState> states);

  std::optional<std::uint64_t> dump_thread() const { return dump_thread_; }  // id of the thread that panicked
  std::vector<Cpu> cpus() const;
  // Of a running thread whose CPU left none: those of its last switch.
  Result<RegisterFile> registers(const Task& task) const;
  bool left_registers(unsigned cpu) const;

 private:
  Result<RegisterFile> registers(unsigned cpu) const;
  bool noted(unsigned cpu) const;
  bool stopped(unsigned cpu) const;
  Result<VirtAddr> stop_pcb(unsigned cpu) const;
  Result<RegisterFile> read_pcb(VirtAddr at) const;

  const KernelView& view_;
  std::vector<CpuState> states_;       // the dump's notes, in CPU order
  std::optional<std::uint64_t> dump_thread_;
  std::uint64_t pcb_size_ = 0;
  const arch::SavedFrame* frame_ = nullptr;
};

Result<std::vector<Task>> find_tasks(const KernelView& view, const Machine& machine, std::vector<std::string>& remarks);
Result<std::vector<Module>> find_modules(const KernelView& view, std::vector<std::string>& remarks);
// When the kernel's structures cannot be read, the dump's own copy serves.
Result<std::vector<LogLine>> read_log(const KernelView& view, const Dump& dump);
std::vector<LogLine> log_of_copy(const Dump& dump, const arch::Arch& arch);
std::string panic_in(const std::vector<LogLine>& log);
// By a CPU's own page tables, when the dump has CPUs' registers.
Result<KernelMap> map_by_cpus(const OsInput& input);
// "15.0-RELEASE" of "FreeBSD 15.0-RELEASE releng/15.0 GENERIC", or "".
std::string release_in(std::string_view version);
// The same, by searching all of memory for a kernel's text.
std::string find_release(const PhysicalMemory& memory);
// How to leave the code that traps, interrupts and system calls enter: debug information does not tell.
Pieces trap_pieces(const KernelView& view);

// The layout of a record that has had several, by debug information, else by the system's version, else by `size`.  Null: none that is
// known is what debug information says.
const arch::SavedFrame* layout_of(const KernelView& view, std::span<const arch::SavedFrame> rows, std::uint64_t size);

}  // namespace kvm::os_freebsd
