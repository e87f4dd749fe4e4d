// Tasks: every thread of every process from the task lists, and each CPU's idle task, which is on no list.
#include <unordered_set>

#include "engine/os/linux/list.h"
#include "engine/os/linux/model.h"

namespace kvm::os_linux {
namespace {

// include/linux/sched.h: the bits that /proc/PID/stat reports, and the letters for them (fs/proc/array.c).
constexpr std::uint64_t task_report = 0x7f, task_idle = 0x402, task_rtlock_wait = 0x1000, task_frozen = 0x8000;
constexpr std::string_view state_letters = "RSDTtXZPI";
constexpr std::uint64_t pf_wq_worker = 0x20, pf_kthread = 0x20'0000;

char state_letter(std::uint64_t state, std::uint64_t exit_state) {
  unsigned index = 0;
  for (std::uint64_t bits = (state | exit_state) & task_report; bits; bits >>= 1) ++index;
  if ((state & task_idle) == task_idle) index = 8;
  if (state & (task_rtlock_wait | task_frozen)) index = 2;
  return state_letters[index];
}

// What /proc shows beyond comm: a kernel thread's full name (since v5.17), or a worker's latest work queue after
// `+` (running) or `-` (done), as wq_worker_comm() in kernel/workqueue.c.  `cut`: there is a longer name, and it cannot be read.
std::string shown_name(const KernelView& view, const Record& task, std::uint64_t flags, std::string comm, bool& cut) {
  if (!(flags & (pf_kthread | pf_wq_worker))) return comm;
  auto kthread = task.follow(task.has("worker_private") ? "worker_private" : "set_child_tid", "kthread");
  if (!kthread || !kthread->address().raw) return comm;
  if (!(flags & pf_wq_worker)) {
    auto full = kthread->pointer("full_name");
    auto text = full && full->raw ? view.text_at(*full, 64) : fail(Errc::not_found);
    cut = full ? full->raw && !text : kthread->has("full_name");
    return text && !text->empty() ? *text : comm;
  }
  auto worker = kthread->follow("data", "worker");
  // Since v6.9 a rescuer is called after its queue, beyond what comm has room for.
  constexpr std::string_view rescuer = "kworker/R-";
  if (auto queue = worker ? worker->follow("rescue_wq", "workqueue_struct") : fail(Errc::not_found);
      queue && queue->address().raw && comm.starts_with(rescuer)) {
    if (auto name = queue->text("name")) comm = std::string(rescuer) + *name;
    else cut = true;
  }
  auto pool = worker ? worker->pointer("pool") : fail(Errc::not_found);
  auto description = worker ? worker->text("desc") : fail(Errc::not_found);
  if (!pool || !pool->raw || !description || description->empty()) return comm;
  const bool busy = worker->pointer("current_work").value_or(VirtAddr{}).raw != 0;
  return comm + (busy ? "+" : "-") + *description;
}

std::optional<std::uint64_t> tgid_of_parent(const Record& task) {
  auto parent = task.follow("real_parent", "task_struct");
  auto tgid = parent ? parent->number("tgid") : fail(Errc::not_found);
  return tgid ? std::optional(*tgid) : std::nullopt;
}

// thread_info is part of the task, or lies at the end of its stack.
Result<std::uint64_t> cpu_of(const Record& task) {
  auto cpu = task.first_number({"thread_info.cpu", "cpu"});
  auto info = cpu ? fail(Errc::not_found) : task.follow("stack", "thread_info");
  return info && info->address().raw ? info->number("cpu") : cpu;
}

Result<Task> read_task(const KernelView& view, VirtAddr at, bool& cut_name) {
  const Record record(view, "task_struct", at);
  Task task;
  task.handle = at;
  task.tid = TRY(record.number("pid"));
  task.pid = TRY(record.number("tgid"));
  task.ppid = tgid_of_parent(record);
  const std::uint64_t flags = record.number("flags").value_or(0);
  task.kernel_thread = flags & pf_kthread;
  task.comm = shown_name(view, record, flags, TRY(record.text("comm")), cut_name);
  task.state = state_letter(TRY(record.first_number({"__state", "state"})), record.number("exit_state").value_or(0));
  if (auto cpu = cpu_of(record)) task.cpu = static_cast<unsigned>(*cpu);
  if (auto cred = record.follow("cred", "cred")) task.uid = static_cast<std::uint32_t>(cred->number("uid").value_or(0));
  return task;
}

class Collector {
 public:
  Collector(const KernelView& view, std::vector<std::string>& remarks) : view_(view), remarks_(remarks) {}

  void add(VirtAddr at) {
    if (!seen_.insert(at.raw).second) return;
    order_.push_back(at);
    bool cut_name = false;
    auto task = read_task(view_, at, cut_name);
    cut_names_ += cut_name;
    if (task) tasks_.push_back(std::move(*task));
    else if (damaged_++ == 0) first_damage_ = to_string(task.error());
  }

  // The threads of a process hang on its signal_struct (since v3.14), before that on each other.
  void add_process(VirtAddr leader) {
    const Record record(view_, "task_struct", leader);
    auto signal = record.follow("signal", "signal_struct");
    auto node = record.member("thread_node");
    auto head = signal && signal->address().raw ? signal->address_of("thread_head") : fail(Errc::not_found);
    if (node && head) add_threads(*head, node->offset);
    add(leader);
    auto group = record.member("thread_group");
    if (!(node && head) && group) add_threads(leader + group->offset, group->offset);
  }

  // Each list once: the table of process ids names every thread.
  void add_threads(VirtAddr head, std::uint64_t offset) {
    if (heads_.insert(head.raw).second && !nodes_.contains(head.raw))
      note(walk_list(view_, head, offset, nodes_, [&](VirtAddr at) { add(at); }), "a process's threads");
  }

  // Past the gaps in the lists: whom those that are found stand beside, their parents and children, and what shares their slabs.
  void add_relatives(VirtAddr init) {
    const auto list = view_.types.member("task_struct", "tasks"), sibling = view_.types.member("task_struct", "sibling"),
               node = view_.types.member("task_struct", "thread_node");
    const Slab slab = task_slab();
    std::unordered_set<std::uint64_t> nodes;
    for (std::size_t i = 0; i < order_.size() && i < list_limit; ++i) {
      const Record task(view_, "task_struct", order_[i]);
      if (slab.object) add_slab_mates(order_[i], slab);
      const auto tid = task.number("pid"), tgid = task.number("tgid");
      if (!tid || !tgid || *tid == 0) continue;
      if (auto parent = task.pointer("real_parent"); parent && *parent != init) add_other(*parent);
      auto children = sibling ? task.address_of("children") : fail(Errc::not_found);
      if (children) walk_list(view_, *children, sibling->offset, nodes, [&](VirtAddr at) { add_other(at); });
      // Threads keep what they copied from their parent's place in the list of processes.
      if (list && *tid == *tgid) add_neighbours(task, list->offset, init + list->offset);
      auto signal = node ? task.follow("signal", "signal_struct") : fail(Errc::not_found);
      if (auto head = signal ? signal->address_of("thread_head") : fail(Errc::not_found)) add_neighbours(task, node->offset, *head);
    }
  }

  void note(const std::string& why, std::string_view list) {
    if (!why.empty() && broken_++ == 0) remarks_.push_back("the list of " + std::string(list) + " is cut short: " + why);
  }
  bool broken() const { return broken_ || damaged_; }

  std::vector<Task> take() {
    if (damaged_) remarks_.push_back(std::to_string(damaged_) + " task(s) cannot be read and are not shown; the first: " + first_damage_);
    if (cut_names_) remarks_.push_back("the names of " + std::to_string(cut_names_) + " kernel thread(s) are cut to what fits into comm: the rest cannot be read");
    return std::move(tasks_);
  }

 private:
  struct Slab {
    std::uint64_t object = 0, bytes = 0;
  };

  // SLUB's slabs are of 2^n pages and aligned to them; `oo` has n in its upper half (mm/slub.c).  Tasks are as long as their
  // processor's registers make them, which may be less than the type says.
  Slab task_slab() const {
    constexpr unsigned order_shift = 16, highest_order = 10;
    constexpr std::uint64_t shortest = 512;
    const auto cache = view_.address_of("task_struct_cachep");
    const auto at = cache ? view_.pointer_at(*cache) : fail(Errc::not_found);
    const Record record(view_, "kmem_cache", at.value_or(VirtAddr{}));
    const auto object = record.number("size"), order = record.number("oo.x");
    if (!object || !order || *object < shortest || *order >> order_shift > highest_order) return {};
    return {*object, std::uint64_t{view_.arch.page_size} << (*order >> order_shift)};
  }

  void add_slab_mates(VirtAddr at, const Slab& slab) {
    const VirtAddr first{at.raw & ~(slab.bytes - 1)};
    if ((at.raw - first.raw) % slab.object) return;
    for (std::uint64_t offset = 0; offset + slab.object <= slab.bytes; offset += slab.object)
      if (Record(view_, "task_struct", first + offset).number("pid")) add_other(first + offset);
  }

  // One that may have been freed: nothing uses it then.
  void add_other(VirtAddr at) {
    const Record task(view_, "task_struct", at);
    const auto tid = task.number("pid"), users = task.first_number({"usage.refs.counter", "usage.counter"});
    if (!tid || (*tid > 0 && *tid < list_limit && users.value_or(task.has("usage") ? 0 : 1) > 0)) add_process(at);
  }

  void add_neighbours(const Record& task, std::uint64_t offset, VirtAddr head) {
    for (std::uint64_t link : {std::uint64_t{0}, std::uint64_t{view_.arch.pointer_bytes}})
      if (const auto node = view_.pointer_at(task.address() + offset + link); node && node->raw && *node != head) add_other(*node - offset);
  }

  const KernelView& view_;
  std::vector<std::string>& remarks_;
  std::vector<Task> tasks_;
  std::vector<VirtAddr> order_;  // of all that were met
  std::unordered_set<std::uint64_t> seen_, heads_, nodes_;  // tasks; thread lists and what is on them
  std::size_t damaged_ = 0, broken_ = 0, cut_names_ = 0;
  std::string first_damage_;
};

Result<VirtAddr> frame_start(const KernelView& view, const arch::SavedFrame& frame, const Record& task) {
  if (frame.record.empty()) return task.address();
  const VirtAddr stack = TRY(task.pointer(frame.path));
  if (!frame.below_caller) return stack;
  const VirtAddr caller = TRY(view.pointer_at(stack));
  return VirtAddr{caller.raw - TRY(view.types.size_of(frame.record))};
}

Result<std::uint64_t> saved_register(const KernelView& view, const Record& saved, VirtAddr words, const arch::SavedRegister& reg) {
  if (!reg.symbol.empty()) return TRY(view.address_of(reg.symbol)).raw;
  if (reg.member.empty()) return view.number_at(words + reg.word_at, view.arch.pointer_bytes);
  const Member member = TRY(saved.member(reg.member));
  if (member.size <= view.arch.pointer_bytes) return saved.number(reg.member);
  if (reg.word_at + std::uint64_t{view.arch.pointer_bytes} > member.size) return fail(Errc::not_found);
  return view.number_at(saved.address() + member.offset + reg.word_at, view.arch.pointer_bytes);
}

Result<RegisterFile> read_frame(const KernelView& view, VirtAddr at, const arch::SavedFrame& frame) {
  const Record task(view, "task_struct", at);
  const VirtAddr start = TRY(frame_start(view, frame, task));
  const Record saved = frame.record.empty() ? task : Record(view, std::string(frame.record), start + frame.offset);
  const VirtAddr words = frame.words.empty() ? start : TRY(saved.pointer(frame.words)) + frame.words_offset;
  RegisterFile registers(view.arch);
  for (const arch::SavedRegister& reg : frame.regs)
    if (auto value = saved_register(view, saved, words, reg)) registers.set(reg.reg, *value);
  if (registers.empty()) return fail(Errc::not_found, at.raw, "the task's saved frame cannot be read");
  if (auto sp = register_index(view.arch, arch::Role::sp); sp && frame.sp_is_frame_end)
    registers.set(view.arch.registers[*sp].name, saved.address().raw + TRY(view.types.size_of(frame.record)));
  return registers;
}

}  // namespace

Result<std::vector<Task>> find_tasks(const KernelView& view, const std::vector<CpuSlot>& cpus, std::vector<std::string>& remarks) {
  Collector collector(view, remarks);
  const VirtAddr init = TRY(view.address_of("init_task"));
  const Member list = TRY(view.types.member("task_struct", "tasks"));
  const VirtAddr head = init + list.offset;
  collector.note(walk_list(view, head, list.offset, [&](VirtAddr leader) { collector.add_process(leader); }), "processes");
  if (collector.broken()) {
    for (VirtAddr at : tasks_by_pid(view)) collector.add_process(at);
    collector.add_relatives(init);
  }
  // What runs, and what idles, even when the lists are damaged.
  for (const CpuSlot& cpu : cpus)
    for (VirtAddr at : {cpu.current, cpu.idle})
      if (at.raw) collector.add(at);
  std::vector<Task> tasks = collector.take();
  const auto panicked = panic_cpu(view, cpus);
  for (Task& task : tasks)
    for (const CpuSlot& cpu : cpus) {
      if (cpu.idle == task.handle) task.idle = true, task.cpu = cpu.number;
      // A panic takes the other CPUs offline; what they ran is still theirs.
      if (cpu.current != task.handle) continue;
      task.on_cpu = true;
      task.cpu = cpu.number;
      task.crashed = panicked == cpu.number;
    }
  if (tasks.empty()) return fail(Errc::bad_data, "no task could be read: " + (remarks.empty() ? std::string("the lists are empty") : remarks.back()));
  return tasks;
}

Result<RegisterFile> saved_registers(const KernelView& view, VirtAddr at) {
  // A task that has exited gave its stack back (release_task_stack()); what lies there now is somebody else's.
  if (auto stack = Record(view, "task_struct", at).pointer("stack"); stack && stack->raw == 0)
    return fail(Errc::not_found, at.raw, "the task has exited and its stack is gone");
  Result<RegisterFile> registers = fail(Errc::unsupported, "saved frames of " + std::string(view.arch.name) + " are not known");
  for (const arch::SavedFrame& frame : view.arch.frames)  // the newest kernels' first
    if (frame.os == "linux" && (registers = read_frame(view, at, frame))) break;
  return registers;
}

}  // namespace kvm::os_linux
