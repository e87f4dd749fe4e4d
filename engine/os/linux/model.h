// The Linux model: tasks, CPUs, modules, log.  Every structure is read by member names, newest name first.
#pragma once

#include <vector>

#include "engine/cpu_notes.h"
#include "engine/os.h"

namespace kvm::os_linux {

// What is known of one CPU.
struct CpuSlot {
  unsigned number;
  bool online;
  VirtAddr per_cpu;            // base of its per-CPU area
  VirtAddr current, idle;      // task_structs, 0: not known
  std::optional<RegisterFile> registers;
};
std::vector<CpuSlot> find_cpus(const KernelView& view, std::vector<CpuState> states);

// The CPU that panicked; none when none did.  Where the kernel does not name the variable that says so, one that is in panic().
std::optional<unsigned> panic_cpu(const KernelView& view, const std::vector<CpuSlot>& cpus);

// The addresses of all tasks that have a process id, from the table of ids; some may be unreadable.
std::vector<VirtAddr> tasks_by_pid(const KernelView& view);
Result<std::vector<Task>> find_tasks(const KernelView& view, const std::vector<CpuSlot>& cpus, std::vector<std::string>& remarks);
Result<std::vector<Module>> find_modules(const KernelView& view, std::vector<std::string>& remarks);
Result<std::vector<LogLine>> read_log(const KernelView& view);
// Where the memory of `struct page` lies, as far as the kernel's page tables do not tell; what a damaged list leaves is left out.
std::vector<Mapping> vmemmap_blocks(const KernelView& view);
// Registers that a task left on its stack when it was switched out.
Result<RegisterFile> saved_registers(const KernelView& view, VirtAddr task);

}  // namespace kvm::os_linux
