// CPUs, and which note belongs to which: QEMU writes a note per virtual CPU, a kernel's own dump only one per CPU that
// was online, so a note's position is the last thing to go by.
#include <algorithm>
#include <map>

#include "engine/integers.h"
#include "engine/os/linux/model.h"

namespace kvm::os_linux {
namespace {

constexpr std::uint64_t most_cpus = 1 << 16;

std::vector<bool> cpu_mask(const KernelView& view, std::string_view symbol, std::uint64_t count) {
  std::vector<bool> mask(count);
  auto at = view.address_of(symbol);
  if (!at) return mask;
  const unsigned word = view.arch.pointer_bytes * 8u;  // an array of unsigned long: the byte order matters
  for (std::uint64_t cpu = 0; cpu < count; cpu += word) {
    auto bits = view.pointer_at(*at + cpu / 8);
    for (std::uint64_t i = 0; bits && i < word && cpu + i < count; ++i) mask[cpu + i] = bits->raw >> i & 1;
  }
  return mask;
}

VirtAddr run_queue_task(const KernelView& view, VirtAddr per_cpu, std::string_view member) {
  auto queues = view.symbols.find("runqueues");
  if (!queues) return {};
  return Record(view, "rq", VirtAddr{queues->address.raw + per_cpu.raw}).pointer(member).value_or(VirtAddr{});
}

// What tells a CPU's note from others; 0: not known.
struct Marks {
  std::uint64_t per_cpu, stack, stack_bytes, pid;
};

Marks marks_of(const KernelView& view, const CpuSlot& cpu) {
  Marks marks{cpu.per_cpu.raw, 0, view.types.size_of("thread_union").value_or(16384), 0};  // THREAD_SIZE
  if (!cpu.current.raw) return marks;
  const Record task(view, "task_struct", cpu.current);
  marks.stack = task.number("stack").value_or(0);
  marks.pid = task.number("pid").value_or(0);
  return marks;
}

// How sure we are that the note is this CPU's.
unsigned match(const arch::Arch& arch, const Marks& cpu, const CpuState& state) {
  if (arch.linux_layout && cpu.per_cpu)
    for (std::string_view name : arch.linux_layout->per_cpu_registers)
      if (state.registers.get(name) == cpu.per_cpu) return 3;
  auto sp = state.registers.get(arch::Role::sp);
  if (cpu.stack && sp && *sp >= cpu.stack && *sp - cpu.stack < cpu.stack_bytes) return 2;
  return cpu.pid && cpu.pid == state.pid ? 1 : 0;
}

void assign(const KernelView& view, std::vector<CpuSlot>& cpus, std::vector<CpuState> states) {
  std::vector<bool> used(states.size());
  std::vector<Marks> marks;
  for (const CpuSlot& cpu : cpus) marks.push_back(marks_of(view, cpu));
  for (unsigned wanted = 3; wanted >= 1; --wanted)
    for (std::size_t cpu = 0; cpu < cpus.size(); ++cpu)
      for (std::size_t i = 0; i < states.size() && !cpus[cpu].registers; ++i)
        if (!used[i] && match(view.arch, marks[cpu], states[i]) == wanted) {
          used[i] = true;
          cpus[cpu].registers = states[i].registers;
        }
  // The rest in order, when there is one note for each online CPU that is left, or for each possible one: a panic takes the
  // others offline, and QEMU writes notes of them all the same.
  const auto left = static_cast<std::size_t>(std::ranges::count(used, false));
  for (bool online_only : {true, false}) {
    std::vector<CpuSlot*> without;
    for (CpuSlot& cpu : cpus)
      if (!cpu.registers && (cpu.online || !online_only)) without.push_back(&cpu);
    if (without.size() != left) continue;
    auto slot = without.begin();
    for (std::size_t i = 0; i < states.size(); ++i)
      if (!used[i]) (*slot++)->registers = states[i].registers;
    return;
  }
}

// A kernel that names only functions hides its run queues and masks.  With group scheduling each task knows the queue that it
// was last on; else the CPUs that ran a task other than their idle one remain.
std::vector<CpuSlot> cpus_of_tasks(const KernelView& view) {
  std::map<unsigned, CpuSlot> cpus;
  std::vector<std::string> ignored;  // the walk that people see says what is wrong
  const auto tasks = find_tasks(view, {}, ignored);
  for (const Task& task : tasks.value_or(std::vector<Task>{})) {
    const Record record(view, "task_struct", task.handle);
    auto group = record.follow("se.cfs_rq", "cfs_rq");
    auto queue = group ? group->follow("rq", "rq") : fail(Errc::not_found);
    const auto number = queue ? queue->number("cpu") : fail(Errc::not_found);
    const VirtAddr current = queue ? queue->pointer("curr").value_or(VirtAddr{}) : VirtAddr{};
    if (number && *number < most_cpus && current.raw)
      cpus.try_emplace(static_cast<unsigned>(*number), CpuSlot{static_cast<unsigned>(*number), queue->number("online").value_or(0) != 0, {}, current,
                                                               queue->pointer("idle").value_or(VirtAddr{}), {}});
    else if (task.cpu && record.number("on_cpu").value_or(0) == 1)
      cpus.try_emplace(*task.cpu, CpuSlot{*task.cpu, true, {}, task.handle, {}, {}});
  }
  std::vector<CpuSlot> slots;
  for (auto& [number, slot] : cpus) slots.push_back(std::move(slot));
  return slots;
}

// Whether a return address into `function` lies on the stack that a CPU is on.  An address may be signed: below its uppermost
// bits, which no kernel leaves fewer of, it is as it was.
bool is_inside(const KernelView& view, const CpuSlot& cpu, const Symbol& function) {
  constexpr std::uint64_t most_words = 2048, plain_bits = (std::uint64_t{1} << 39) - 1;
  const std::uint64_t word = view.arch.pointer_bytes, sp = cpu.registers ? cpu.registers->get(arch::Role::sp).value_or(0) : 0;
  for (std::uint64_t i = 0; sp && i < most_words; ++i) {
    const auto value = view.pointer_at(VirtAddr{sp} + i * word);
    if (!value) return false;
    if (((*value - function.address) & plain_bits) < function.size) return true;
  }
  return false;
}

}  // namespace

std::vector<CpuSlot> find_cpus(const KernelView& view, std::vector<CpuState> states) {
  std::uint64_t count = states.size();
  if (auto at = view.address_of("nr_cpu_ids"))
    if (auto ids = view.number_at(*at, 4)) count = *ids;
  count = std::min(count, most_cpus);
  const auto possible = cpu_mask(view, "__cpu_possible_mask", count), online = cpu_mask(view, "__cpu_online_mask", count);
  auto offsets = view.address_of("__per_cpu_offset");
  std::vector<CpuSlot> cpus;
  for (unsigned cpu = 0; cpu < count; ++cpu) {
    if (!possible[cpu]) continue;
    VirtAddr per_cpu;
    if (offsets) per_cpu = view.pointer_at(*offsets + std::uint64_t{cpu} * view.arch.pointer_bytes).value_or(VirtAddr{});
    cpus.push_back({cpu, online[cpu], per_cpu, run_queue_task(view, per_cpu, "curr"), run_queue_task(view, per_cpu, "idle"), {}});
  }
  if (cpus.empty() && !view.symbols.find("runqueues")) cpus = cpus_of_tasks(view);
  assign(view, cpus, std::move(states));
  return cpus;
}

std::optional<unsigned> panic_cpu(const KernelView& view, const std::vector<CpuSlot>& cpus) {
  bool named = false;
  for (std::string_view name : {"panic_cpu", "crashing_cpu"}) {  // since v4.5; x86's own before
    auto at = view.address_of(name);
    auto cpu = at ? view.number_at(*at, 4) : fail(Errc::not_found);
    if (cpu && *cpu < most_cpus) return static_cast<unsigned>(*cpu);  // -1: no CPU has
    named = named || at;
  }
  if (named) return std::nullopt;
  for (std::string_view name : {"vpanic", "panic"})  // v6.17
    if (const auto function = view.symbols.find(name))
      for (const CpuSlot& cpu : cpus)
        if (is_inside(view, cpu, *function)) return cpu.number;
  return std::nullopt;
}

}  // namespace kvm::os_linux
