// Where the registers of each thread are.  A thread on a CPU that was stopped: in that CPU's entry of stoppcbs; the one that dumped:
// in dumppcb; all others: in their own process control block (struct pcb), where the last switch left them (kgdb, kthr.c).
#include <algorithm>
#include <set>

#include "engine/os/freebsd/model.h"

namespace kvm::os_freebsd {
namespace {

constexpr unsigned most_cpus = 1 << 16;
// __FreeBSD_version since when stoppcbs is a pointer (sys/sys/smp.h), where no symbol size tells.
constexpr std::uint64_t stoppcbs_pointer = 1'400'088;

// A cpuset is an array of long (sys/sys/_bitset.h).
bool in_set(const KernelView& view, VirtAddr set, unsigned cpu) {
  const unsigned word = view.arch.pointer_bytes * 8u;
  const auto bits = view.pointer_at(set + std::uint64_t{cpu} / word * view.arch.pointer_bytes);
  return bits && bits->raw >> (cpu % word) & 1;
}

}  // namespace

Machine::Machine(const KernelView& view, std::vector<CpuState> states) : view_(view), states_(std::move(states)) {
  pcb_size_ = read_constant(view, "pcb_size").value_or(0);
  if (!pcb_size_) pcb_size_ = view.types.size_of("pcb").value_or(0);
  frame_ = layout_of(view, view.arch.frames, pcb_size_);
  if (const auto thread = read_int(view, "dumptid"); thread && *thread > 0) dump_thread_ = static_cast<std::uint64_t>(*thread);
}

// Without the set of stopped CPUs all that are not the dumping one are taken for stopped: a panic stops them.
bool Machine::stopped(unsigned cpu) const {
  const auto set = view_.address_of("stopped_cpus");
  return !set || in_set(view_, *set, cpu);
}

// An array before 1400088, a pointer to one since.  The symbol's size tells.
Result<VirtAddr> Machine::stop_pcb(unsigned cpu) const {
  const auto symbol = view_.symbols.find("stoppcbs");
  if (!symbol || !pcb_size_ || cpu >= most_cpus) return fail(Errc::not_found, "CPU " + std::to_string(cpu) + ": where it left its registers is not known");
  const bool pointer = symbol->size ? symbol->size == view_.arch.pointer_bytes : os_version(view_) >= stoppcbs_pointer;
  const VirtAddr array = pointer ? TRY(view_.pointer_at(symbol->address)) : symbol->address;
  return array + std::uint64_t{cpu} * pcb_size_;
}

Result<RegisterFile> Machine::read_pcb(VirtAddr at) const {
  if (!frame_) return fail(Errc::unsupported, "how FreeBSD saves registers on " + std::string(view_.arch.name) + " is not known");
  RegisterFile registers(view_.arch);
  for (const arch::SavedRegister& reg : frame_->regs) {
    const auto value = view_.number_at(at + reg.word_at, view_.arch.pointer_bytes);
    if (value) registers.set(reg.reg, *value);
  }
  if (registers.empty()) return fail(Errc::not_in_dump, at.raw, "the saved registers cannot be read");
  return registers;
}

Result<RegisterFile> Machine::registers(const Task& task) const {
  if (task.crashed && task.tid == dump_thread_)
    if (const auto pcb = view_.address_of("dumppcb")) return read_pcb(*pcb);
  if (task.on_cpu && task.cpu)
    if (auto found = registers(*task.cpu)) return found;
  if (!task.handle.raw) return fail(Errc::not_found, "the process has no thread");
  const Offsets offsets = TRY(read_offsets(view_));
  const VirtAddr pcb = TRY(view_.pointer_at(task.handle + offsets.pcb));
  if (!pcb.raw) return fail(Errc::not_found, task.handle.raw, "the thread has exited and its stack is gone");
  return read_pcb(pcb);
}

// A machine that somebody else dumped while it ran: each CPU's registers are in a note, in the CPUs' order.
bool Machine::noted(unsigned cpu) const { return !dump_thread_ && cpu < states_.size(); }

bool Machine::left_registers(unsigned cpu) const { return noted(cpu) || (stopped(cpu) && stop_pcb(cpu)); }

Result<RegisterFile> Machine::registers(unsigned cpu) const {
  if (noted(cpu)) return states_[cpu].registers;
  if (stopped(cpu)) return read_pcb(TRY(stop_pcb(cpu)));
  return fail(Errc::not_found, "CPU " + std::to_string(cpu) + " was not stopped: it left no registers in the dump");
}

// all_cpus is the set of those that there are; without it, those that threads tell of.
std::vector<Cpu> Machine::cpus() const {
  std::set<unsigned> numbers;
  std::optional<unsigned> dumping;
  if (const auto all = view_.address_of("all_cpus"))
    for (std::int64_t cpu = 0, last = read_int(view_, "mp_maxid").value_or(0); cpu <= last && cpu < most_cpus; ++cpu)
      if (in_set(view_, *all, static_cast<unsigned>(cpu))) numbers.insert(static_cast<unsigned>(cpu));
  // A dump of a system that goes on (savecore -L, sys/kern/kern_vnodedumper.c) stops no CPU: threads tell which one wrote it.
  const bool listed = !numbers.empty(), one_runs = std::ranges::count_if(numbers, [this](unsigned cpu) { return !stopped(cpu); }) == 1;
  std::vector<std::string> ignored;  // the walk that people see says what is wrong
  if (const auto tasks = !listed || (dump_thread_ && !one_runs) ? find_tasks(view_, *this, ignored) : std::vector<Task>{})
    for (const Task& task : *tasks) {
      if (!listed && task.cpu && *task.cpu < most_cpus) numbers.insert(*task.cpu);
      if (task.crashed && task.on_cpu) dumping = task.cpu;
    }
  for (unsigned cpu = 0; numbers.empty() && cpu < states_.size(); ++cpu) numbers.insert(cpu);
  std::vector<Cpu> cpus;
  for (unsigned number : numbers) {
    Cpu cpu{number, true, std::nullopt};
    // A stopped_cpus tells the dumping CPU: all others are in it.
    const bool dumped = dumping ? dumping == number : dump_thread_ && !stopped(number);
    const auto pcb = dumped ? view_.address_of("dumppcb") : fail(Errc::not_found);
    if (auto found = pcb ? read_pcb(*pcb) : registers(number)) cpu.registers = std::move(*found);
    cpus.push_back(std::move(cpu));
  }
  return cpus;
}

}  // namespace kvm::os_freebsd
