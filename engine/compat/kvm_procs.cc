// Processes and threads as FreeBSD's kinfo_proc, from any system's tasks.  What a system does not have stays zero.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "engine/compat/handle.h"

namespace kvm::compat {
namespace {

static_assert(sizeof(void*) != 8 || sizeof(kinfo_proc) == 1088, "KINFO_PROC_SIZE of FreeBSD's <sys/user.h> for 64-bit machines");

constexpr std::uint64_t no_device = ~std::uint64_t{0};  // NODEV

// The letters of ps(1) as S* numbers of <sys/proc.h>.
char status_of(char letter) {
  switch (letter) {
    case 'R': return SRUN;
    case 'T': case 't': return SSTOP;
    case 'Z': case 'X': return SZOMB;
    case 'W': return SWAIT;
    case 'L': return SLOCK;
    case 'N': return SIDL;
    default: return SSLEEP;
  }
}

template <std::size_t size>
void put(char (&field)[size], std::string_view text) {
  const std::size_t length = std::min(text.size(), size - 1);
  std::copy_n(text.data(), length, field);
  field[length] = '\0';
}

template <class T>
void put(T*& field, VirtAddr address) { field = reinterpret_cast<T*>(static_cast<std::uintptr_t>(address.raw)); }

timeval time_of(std::uint64_t microseconds) {
  timeval time{};
  time.tv_sec = static_cast<time_t>(microseconds / 1'000'000);
  time.tv_usec = static_cast<suseconds_t>(microseconds % 1'000'000);
  return time;
}

template <class T>
T within(std::int64_t value) {
  return static_cast<T>(std::clamp<std::int64_t>(value, std::numeric_limits<T>::min(), std::numeric_limits<T>::max()));
}

struct kvm_sigset set_of(const Signals& signals) {
  struct kvm_sigset set {};
  std::copy_n(signals.begin(), std::min(signals.size(), std::size(set.__bits)), set.__bits);
  return set;
}

void put_identity(kinfo_proc& to, const Task& task, const ProcessDetails& from) {
  put(to.ki_paddr, from.process);
  put(to.ki_tdaddr, from.thread);
  put(to.ki_fd, from.files);
  put(to.ki_vmspace, from.space);
  put(to.ki_textvp, from.executable);
  put(to.ki_wchan, from.wait_channel);
  put(to.ki_args, from.kept_arguments);
  put(to.ki_pd, from.directories);
  put(to.ki_pcb, from.saved_registers);
  put(to.ki_kstack, from.stack);
  to.ki_pid = static_cast<pid_t>(task.pid);
  to.ki_ppid = static_cast<pid_t>(task.ppid.value_or(0));
  to.ki_tid = static_cast<std::int32_t>(task.tid);
  to.ki_pgid = static_cast<pid_t>(from.group.value_or(0));
  to.ki_sid = static_cast<pid_t>(from.session.value_or(0));
  to.ki_tpgid = static_cast<pid_t>(from.terminal_group.value_or(from.terminal ? -1 : 0));
  to.ki_tsid = static_cast<pid_t>(from.terminal_session.value_or(0));
  to.ki_tdev = from.terminal.value_or(no_device);
  to.ki_tdev_freebsd11 = static_cast<std::uint32_t>(to.ki_tdev);
  to.ki_jobc = -1;  // not counted, as in libkvm
  to.ki_jid = within<int>(from.jail);
  to.ki_tracer = within<int>(from.tracer.value_or(0));
  to.ki_fibnum = static_cast<int>(from.routing_table);
}

void put_credentials(kinfo_proc& to, const ProcessDetails& from) {
  to.ki_uid = from.uid;
  to.ki_ruid = from.real_uid;
  to.ki_svuid = from.saved_uid;
  to.ki_rgid = from.real_gid;
  to.ki_svgid = from.saved_gid;
  const std::size_t groups = std::min<std::size_t>(from.groups.size(), KI_NGROUPS);
  std::copy_n(from.groups.begin(), groups, to.ki_groups);
  to.ki_ngroups = static_cast<short>(groups);
  if (from.capability_mode) to.ki_cr_flags |= KI_CRF_CAPABILITY_MODE;
  if (from.groups.size() > groups) to.ki_cr_flags |= KI_CRF_GRP_OVERFLOW;
}

void put_usage(kinfo_proc& to, const ProcessDetails& from) {
  to.ki_size = from.virtual_bytes;
  to.ki_rssize = static_cast<long>(from.resident_pages);
  to.ki_swrss = static_cast<long>(from.swap_pages);
  to.ki_tsize = static_cast<long>(from.text_pages);
  to.ki_dsize = static_cast<long>(from.data_pages);
  to.ki_ssize = static_cast<long>(from.stack_pages);
  to.ki_runtime = from.run_time;
  to.ki_start = time_of(from.started);
  to.ki_rusage.ru_utime = time_of(from.user_time);
  to.ki_rusage.ru_stime = time_of(from.system_time);
  to.ki_rusage.ru_minflt = static_cast<long>(from.minor_faults);
  to.ki_rusage.ru_majflt = static_cast<long>(from.major_faults);
  to.ki_rusage.ru_nvcsw = static_cast<long>(from.voluntary_switches);
  to.ki_rusage.ru_nivcsw = static_cast<long>(from.forced_switches);
  to.ki_childutime = time_of(from.child_user_time);
  to.ki_childstime = time_of(from.child_system_time);
  to.ki_childtime = time_of(from.child_user_time + from.child_system_time);
}

void put_state(kinfo_proc& to, const Task& task, const ProcessDetails& from) {
  constexpr int no_cpu = -1, old_no_cpu = 255, old_most = 254;
  const auto old = [=](int cpu) { return static_cast<unsigned char>(cpu < 0 ? old_no_cpu : std::min(cpu, old_most)); };
  to.ki_stat = status_of(task.state);
  to.ki_nice = within<signed char>(from.nice);
  to.ki_pri.pri_level = within<unsigned char>(from.priority);
  to.ki_pri.pri_user = within<unsigned char>(from.user_priority.value_or(from.priority));
  to.ki_pri.pri_class = static_cast<unsigned char>(from.priority_class);
  to.ki_pri.pri_native = within<unsigned char>(from.base_priority);
  to.ki_numthreads = within<int>(static_cast<std::int64_t>(from.threads));
  to.ki_xstat = static_cast<unsigned short>(from.exit_status);
  to.ki_oncpu = task.on_cpu && task.cpu ? static_cast<int>(*task.cpu) : no_cpu;
  const auto last = from.last_cpu ? from.last_cpu : task.cpu;
  to.ki_lastcpu = last ? static_cast<int>(*last) : no_cpu;
  to.ki_oncpu_old = old(to.ki_oncpu);
  to.ki_lastcpu_old = old(to.ki_lastcpu);
  to.ki_flag = static_cast<long>(from.flags);
  to.ki_flag2 = static_cast<int>(from.more_flags);
  to.ki_tdflags = static_cast<long>(from.thread_flags);
  to.ki_acflag = static_cast<unsigned short>(from.accounting_flags);
  to.ki_traceflag = static_cast<int>(from.trace_flags);
  to.ki_lock = static_cast<char>(from.holds);
  to.ki_swtime = static_cast<unsigned>(from.since_swap);
  to.ki_siglist = set_of(from.pending);
  to.ki_sigmask = set_of(from.blocked);
  to.ki_sigignore = set_of(from.ignored);
  to.ki_sigcatch = set_of(from.caught);
  if (from.terminal) to.ki_flag |= P_CONTROLT;
  if (from.terminal || from.session_terminal) to.ki_kiflag |= KI_CTTY;
  if (task.kernel_thread) to.ki_flag |= P_KPROC | P_SYSTEM;
  if (from.session_leader) to.ki_kiflag |= KI_SLEADER;
  if (!from.lock_name.empty()) to.ki_kiflag |= KI_LOCKBLOCK;
}

void put_names(kinfo_proc& to, const Task& task, const ProcessDetails& from) {
  const std::string& thread = from.thread_name.empty() ? task.comm : from.thread_name;
  put(to.ki_comm, from.name.empty() ? task.comm : from.name);
  put(to.ki_tdname, thread);
  if (thread.size() > TDNAMLEN) put(to.ki_moretdname, std::string_view(thread).substr(TDNAMLEN));
  put(to.ki_wmesg, from.wait_message);
  put(to.ki_lockname, from.lock_name);
  put(to.ki_login, from.login);
  put(to.ki_emul, from.emulation);
}

bool selected(int what, int arg, const kinfo_proc& p) {
  const auto id = static_cast<std::uint32_t>(arg);
  switch (what) {
    case KERN_PROC_ALL: case KERN_PROC_PROC: return true;
    case KERN_PROC_PID: return p.ki_pid == arg;
    case KERN_PROC_PGRP: return p.ki_pgid == arg;
    case KERN_PROC_SESSION: return p.ki_sid == arg;
    case KERN_PROC_TTY: return p.ki_tdev != no_device && p.ki_tdev == id;
    case KERN_PROC_UID: return p.ki_uid == id;
    case KERN_PROC_RUID: return p.ki_ruid == id;
    case KERN_PROC_RGID: return p.ki_rgid == id;
    case KERN_PROC_GID: return p.ki_groups[0] == id;
    default: return true;  // as libkvm, which has no such case
  }
}

// By process, then thread, so that a process's first thread comes first; a system's idle tasks that are nobody's are left out.
std::vector<Task> in_order(const std::vector<Task>& all) {
  std::vector<Task> tasks;
  std::ranges::copy_if(all, std::back_inserter(tasks), [](const Task& t) { return !(t.idle && t.pid == 0); });
  std::ranges::sort(tasks, {}, [](const Task& t) { return std::tuple(t.pid, t.place, t.tid != t.pid, t.tid); });
  return tasks;
}

kinfo_proc entry_of(const Task& task, const Statistics* known) {
  ProcessDetails details;
  details.process = details.thread = task.handle;
  details.uid = details.real_uid = details.saved_uid = task.uid;
  if (known)
    if (auto more = known->details(task)) details = std::move(*more);
  kinfo_proc entry;
  std::memset(&entry, 0, sizeof entry);
  entry.ki_structsize = sizeof entry;
  put_identity(entry, task, details);
  put_credentials(entry, details);
  put_usage(entry, details);
  put_state(entry, task, details);
  put_names(entry, task, details);
  return entry;
}

kinfo_proc* processes(kvm_t* kd, int op, int arg, int* count) {
  kd->processes.clear();
  kd->tasks.clear();
  const Kernel* kernel = structures(kd, "kvm_getprocs");
  if (!kernel) return nullptr;
  const auto& tasks = kernel->tasks();
  if (!tasks) return complain(kd, "kvm_getprocs: " + to_string(tasks.error())), nullptr;
  const int what = op & ~KERN_PROC_INC_THREAD;
  const bool threads = what == KERN_PROC_ALL || op & KERN_PROC_INC_THREAD;
  std::optional<std::uint64_t> last;
  for (const Task& task : in_order(*tasks)) {
    if (!threads && last == task.pid) continue;
    last = task.pid;
    const kinfo_proc entry = entry_of(task, kernel->os().statistics());
    if (!selected(what, arg, entry)) continue;
    kd->processes.push_back(entry);
    kd->tasks.emplace(std::pair(entry.ki_pid, entry.ki_tid), task);
  }
  *count = static_cast<int>(kd->processes.size());
  return kd->processes.empty() ? nullptr : kd->processes.data();
}

using Words = Result<std::vector<std::string>> (Statistics::*)(const Task&) const;

const Task* task_of(kvm_t* kd, const Kernel& kernel, const kinfo_proc& process) {
  if (auto known = kd->tasks.find({process.ki_pid, process.ki_tid}); known != kd->tasks.end()) return &known->second;
  if (!kernel.tasks()) return nullptr;
  const auto found = std::ranges::find(*kernel.tasks(), static_cast<std::uint64_t>(process.ki_pid), &Task::pid);
  return found == kernel.tasks()->end() ? nullptr : &*found;
}

// `limit`: how many characters all strings may have, with their ends; the one that exceeds it is cut.
char** words_of(kvm_t* kd, const kinfo_proc* process, int limit, Words words) {
  constexpr std::string_view refusal = "cannot read user space from dead kernel";
  const Kernel* kernel = structures(kd, "kvm_getargv");
  const Statistics* known = kernel ? statistics(kd, "kvm_getargv") : nullptr;
  if (!known) return nullptr;
  const Task* task = task_of(kd, *kernel, *process);
  auto found = task ? (known->*words)(*task) : fail(Errc::not_found, fmt::format("no process has the id {}", process->ki_pid));
  if (!found) return complain(kd, fmt::format("{}: {}", refusal, to_string(found.error()))), nullptr;
  if (found->empty()) return nullptr;  // a kernel thread
  kd->words.clear();
  kd->pointers.clear();
  std::size_t room = limit > 0 ? static_cast<std::size_t>(limit) : ~std::size_t{0};
  for (std::string& word : *found) {
    if (room == 0) break;
    if (word.size() >= room) word.resize(room - 1);
    room -= word.size() + 1;
    kd->words.push_back(std::move(word));
  }
  for (std::string& word : kd->words) kd->pointers.push_back(word.data());
  kd->pointers.push_back(nullptr);
  return kd->pointers.data();
}

}  // namespace
}  // namespace kvm::compat

using namespace kvm::compat;

struct kinfo_proc* kvm_getprocs(kvm_t* kd, int op, int arg, int* count) {
  return guarded(kd, static_cast<kinfo_proc*>(nullptr), [&] { return processes(kd, op, arg, count); });
}

char** kvm_getargv(kvm_t* kd, const struct kinfo_proc* process, int limit) {
  return guarded(kd, static_cast<char**>(nullptr), [&] { return words_of(kd, process, limit, &kvm::Statistics::arguments); });
}

char** kvm_getenvv(kvm_t* kd, const struct kinfo_proc* process, int limit) {
  return guarded(kd, static_cast<char**>(nullptr), [&] { return words_of(kd, process, limit, &kvm::Statistics::environment); });
}
