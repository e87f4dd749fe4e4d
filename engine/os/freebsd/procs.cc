// Processes and threads.  Zombies are on no list of processes since 13.0 (exit1() in sys/kern/kern_exit.c): the table of process ids
// still has them.
#include <unordered_set>

#include "engine/os/freebsd/model.h"

namespace kvm::os_freebsd {
namespace {

// sys/sys/proc.h
constexpr std::uint64_t p_kproc = 0x4, p_traced = 0x800, p_stopped = 0xe'0000, tdf_sintr = 0x8, tdf_idletd = 0x20;
constexpr std::uint64_t tdi_sleeping = 0x2, tdi_lock = 0x8;
enum : std::uint64_t { prs_new, prs_normal, prs_zombie };
enum : std::uint64_t { tds_inactive, tds_inhibited, tds_can_run, tds_runq, tds_running };
constexpr std::size_t name_bytes = 20;   // MAXCOMLEN + 1
constexpr std::size_t most_records = 1 << 22, most_buckets = 1 << 20;

// What all threads of a process share.
struct Process {
  VirtAddr at;
  std::uint64_t pid = 0, flags = 0;
  std::optional<std::uint64_t> state, ppid;
  std::string comm;
  std::uint32_t uid = 0;
  bool listed = true;  // on the list of processes
};

// As ps(1) shows it (state() in bin/ps/print.c), from what fill_kinfo_thread() in sys/kern/kern_proc.c says.  Without debug
// information only what runs is certain.
char state_letter(const Process& process, const Record& thread, bool on_cpu) {
  if (process.state ? *process.state == prs_zombie : !process.listed) return 'Z';
  const auto state = thread.number("td_state");
  if (!state) return on_cpu ? 'R' : '?';
  if (*state >= tds_can_run && *state <= tds_running) return 'R';
  if (process.flags & p_stopped) return 'T';
  const std::uint64_t inhibitors = thread.number("td_inhibitors").value_or(0);
  if (inhibitors & tdi_sleeping) return thread.number("td_flags").value_or(0) & tdf_sintr ? 'S' : 'D';
  return inhibitors & tdi_lock ? 'L' : 'W';
}

class Collector {
 public:
  Collector(const KernelView& view, const Offsets& offsets, const Machine& machine, std::vector<std::string>& remarks)
      : view_(view), offsets_(offsets), machine_(machine), remarks_(remarks) {}

  // A list of processes, from its head on.
  void add_list(VirtAddr head, bool listed, std::string_view name) {
    auto at = view_.pointer_at(head);
    while (at && at->raw) {
      if (!processes_.insert(at->raw).second) return note(name, "it loops or runs into another list");
      if (processes_.size() > most_records) return note(name, "it is too long");
      add_process(*at, listed);
      at = view_.pointer_at(*at + offsets_.list);
    }
    if (!at) note(name, to_string(at.error()));
  }

  // pidhashtbl is an array of pidhash + 1 lists.  A loop in one comes back to what that bucket has met.
  void add_table() {
    const auto table = view_.address_of("pidhashtbl"), mask = view_.address_of("pidhash");
    if (!offsets_.hash || !table || !mask) return;
    const auto buckets = view_.pointer_at(*table);
    const auto last = view_.pointer_at(*mask);  // a u_long
    if (!buckets || !last || !buckets->raw || last->raw >= most_buckets) return note("process ids", "its table cannot be read");
    for (std::uint64_t i = 0; i <= last->raw; ++i) add_bucket(*buckets + i * view_.arch.pointer_bytes);
  }

  std::vector<Task> take() {
    if (!running_.empty()) remarks_.push_back("CPU " + running_ + " left no registers: those of what ran there are older, of its last switch");
    if (damaged_) remarks_.push_back(std::to_string(damaged_) + " process(es) or thread(s) cannot be read and are not shown; the first: " + first_damage_);
    return std::move(tasks_);
  }

 private:
  void add_bucket(VirtAddr head) {
    std::unordered_set<std::uint64_t> met;
    auto at = view_.pointer_at(head);
    while (at && at->raw) {
      if (!met.insert(at->raw).second) return note("process ids", "a list of its table loops");
      if (processes_.insert(at->raw).second) add_process(*at, false);
      if (processes_.size() > most_records) return note("process ids", "it is too long");
      at = view_.pointer_at(*at + *offsets_.hash);
    }
    if (!at) note("process ids", to_string(at.error()));
  }

  void note(std::string_view list, const std::string& why) {
    if (broken_++ == 0) remarks_.push_back("the list of " + std::string(list) + " is cut short: " + why);
  }
  void damage(const Error& error) {
    if (damaged_++ == 0) first_damage_ = to_string(error);
  }

  Result<Process> read_process(VirtAddr at, bool listed) const {
    const Record record(view_, "proc", at);
    Process process;
    process.at = at;
    process.listed = listed;
    process.pid = TRY(view_.number_at(at + offsets_.pid, 4));
    process.comm = TRY(view_.text_at(at + offsets_.comm, name_bytes));
    process.flags = record.number("p_flag").value_or(0);
    if (auto state = record.number("p_state")) process.state = *state;
    process.ppid = parent_of(record, process.flags);
    if (auto cred = record.follow("p_ucred", "ucred")) process.uid = static_cast<std::uint32_t>(cred->number("cr_uid").value_or(0));
    return process;
  }

  // A debugger is the parent of what it traces; the one before is remembered (proc_realparent(), sys/kern/kern_exit.c).
  std::optional<std::uint64_t> parent_of(const Record& record, std::uint64_t flags) const {
    if (auto own = record.number("p_oppid"); own && *own && flags & p_traced) return *own;
    const auto parent = record.pointer("p_pptr");
    if (!parent) return std::nullopt;
    if (!parent->raw) return 0;
    const auto pid = view_.number_at(*parent + offsets_.pid, 4);
    return pid ? std::optional(*pid) : std::nullopt;
  }

  void add_process(VirtAddr at, bool listed) {
    const auto process = read_process(at, listed);
    if (!process) return damage(process.error());
    if (process->state == prs_new) return;
    auto thread = view_.pointer_at(at + offsets_.threads);
    if (thread && !thread->raw) return add_without_threads(*process);
    for (unsigned place = 0; thread && thread->raw; ++place) {
      if (!threads_.insert(thread->raw).second) return note("a process's threads", "it loops or runs into another list");
      if (threads_.size() > most_records) return note("a process's threads", "it is too long");
      add_thread(*process, *thread, place);
      thread = view_.pointer_at(*thread + offsets_.next_thread);
    }
    if (!thread) note("a process's threads", to_string(thread.error()));
  }

  void add_without_threads(const Process& process) {
    Task task = task_of(process);
    task.tid = process.pid;
    task.state = !process.listed || process.state == prs_zombie ? 'Z' : '?';
    tasks_.push_back(std::move(task));
  }

  Task task_of(const Process& process) const {
    Task task;
    task.pid = process.pid;
    task.ppid = process.ppid;
    task.comm = process.comm;
    task.uid = process.uid;
    task.kernel_thread = process.flags & p_kproc;
    task.process = process.at;
    return task;
  }

  void add_thread(const Process& process, VirtAddr at, unsigned place) {
    const auto tid = view_.number_at(at + offsets_.tid, 4);
    if (!tid) return damage(tid.error());
    const Record record(view_, "thread", at);
    Task task = task_of(process);
    task.handle = at;
    task.place = place;
    task.tid = *tid;
    task.thread_name = view_.text_at(at + offsets_.name, name_bytes).value_or("");
    const std::uint64_t nowhere = offsets_.oncpu_bytes == 1 ? 0xff : 0xffff'ffff;  // NOCPU
    if (auto cpu = view_.number_at(at + offsets_.oncpu, offsets_.oncpu_bytes); cpu && *cpu != nowhere) {
      task.on_cpu = true;
      task.cpu = static_cast<unsigned>(*cpu);
    } else if (auto last = record.number("td_lastcpu"); last && static_cast<std::uint32_t>(*last) != nowhere) {
      task.cpu = static_cast<unsigned>(*last);
    }
    task.idle = record.number("td_flags").value_or(0) & tdf_idletd;
    task.state = state_letter(process, record, task.on_cpu);
    task.crashed = machine_.dump_thread() == task.tid;
    if (task.on_cpu && !task.crashed && running_.size() < 80 && !machine_.left_registers(*task.cpu))
      running_ += (running_.empty() ? "" : ", ") + std::to_string(*task.cpu);
    tasks_.push_back(std::move(task));
  }

  const KernelView& view_;
  const Offsets& offsets_;
  const Machine& machine_;
  std::vector<std::string>& remarks_;
  std::vector<Task> tasks_;
  std::unordered_set<std::uint64_t> processes_, threads_;
  std::size_t damaged_ = 0, broken_ = 0;
  std::string first_damage_, running_;  // the latter: CPUs that left no registers
};

}  // namespace

Result<std::vector<Task>> find_tasks(const KernelView& view, const Machine& machine, std::vector<std::string>& remarks) {
  const Offsets offsets = TRY(read_offsets(view));
  Collector collector(view, offsets, machine, remarks);
  const VirtAddr all = TRY(view.address_of("allproc"));
  collector.add_list(all, true, "processes");
  if (auto zombies = view.address_of("zombproc")) collector.add_list(*zombies, false, "zombies");
  collector.add_table();
  std::vector<Task> tasks = collector.take();
  if (tasks.empty()) return fail(Errc::bad_data, "no thread could be read: " + (remarks.empty() ? std::string("the lists are empty") : remarks.back()));
  return tasks;
}

}  // namespace kvm::os_freebsd
