// One task's details, as /proc/PID/stat has them (fs/proc/array.c).
#include <algorithm>

#include "engine/os/linux/list.h"
#include "engine/os/linux/statistics.h"
#include "engine/page_bytes.h"

namespace kvm::os_linux {
namespace {

constexpr std::uint64_t ns_per_us = 1000;
constexpr std::uint64_t most_groups = 65536;           // NGROUPS_MAX
constexpr std::uint64_t most_words_bytes = 2u << 20;   // of arguments or environment; a quarter of the usual stack limit
constexpr std::uint64_t default_priority = 120;        // DEFAULT_PRIO: nice 0

std::uint64_t number(const Record& record, std::string_view path) { return record.number(path).value_or(0); }

// struct pid's number in the first namespace.
std::optional<std::int64_t> number_of_pid(const KernelView& view, VirtAddr pid) {
  if (!pid.raw) return std::nullopt;
  const auto value = Record(view, "pid", pid).number("numbers[0].nr");
  return value ? std::optional(static_cast<std::int64_t>(*value)) : std::nullopt;
}

// A process's ids hang on its signal_struct (since v4.19), before that on its leader.
std::optional<std::int64_t> id_of_kind(const KernelView& view, const Record& signal, VirtAddr leader, const char* kind) {
  const auto index = view.types.enumerator(kind);
  if (!index) return std::nullopt;
  const std::string slot = "pids[" + std::to_string(*index) + "]";
  auto pid = signal.pointer(slot);
  if (!pid) pid = Record(view, "task_struct", leader).pointer(slot + ".pid");
  return pid ? number_of_pid(view, *pid) : std::nullopt;
}

void add_terminal(const KernelView& view, const Record& signal, ProcessDetails& details) {
  const auto tty = signal.follow("tty", "tty_struct");
  if (!tty || !tty->address().raw) return;
  const auto driver = tty->follow("driver", "tty_driver");
  if (!driver) return;
  const std::uint64_t major = number(*driver, "major"), minor = number(*driver, "minor_start") + number(*tty, "index");
  details.terminal = (minor & 0xff) | major << 8 | (minor & ~std::uint64_t{0xff}) << 12;  // new_encode_dev()
  // Since v5.16 in a member of their own.
  const bool grouped = tty->has("ctrl.pgrp");
  details.terminal_group = number_of_pid(view, tty->pointer(grouped ? "ctrl.pgrp" : "pgrp").value_or(VirtAddr{}));
  details.terminal_session = number_of_pid(view, tty->pointer(grouped ? "ctrl.session" : "session").value_or(VirtAddr{}));
}

void add_credentials(const KernelView& view, const Record& task, ProcessDetails& details) {
  const auto cred = task.follow("cred", "cred");
  if (!cred) return;
  const auto id = [&](std::string_view path) { return static_cast<std::uint32_t>(number(*cred, path)); };
  details.uid = id("euid");
  details.real_uid = id("uid");
  details.saved_uid = id("suid");
  details.real_gid = id("gid");
  details.saved_gid = id("sgid");
  details.groups = {id("egid")};
  const auto others = cred->follow("group_info", "group_info");
  if (!others) return;
  const std::uint64_t count = std::min(number(*others, "ngroups"), most_groups);
  const auto first = others->address_of("gid");  // since v4.9 one array
  for (std::uint64_t i = 0; first && i < count; ++i) {
    const auto gid = view.number_at(*first + i * 4, 4);
    if (!gid) break;
    details.groups.push_back(static_cast<std::uint32_t>(*gid));
  }
}

// MM_FILEPAGES, MM_ANONPAGES and MM_SHMEMPAGES; counters per CPU since v6.2, whose common part /proc shows.
std::uint64_t resident_pages(const KernelView& view, const Record& mm) {
  std::uint64_t pages = 0;
  for (const char* kind : {"MM_FILEPAGES", "MM_ANONPAGES", "MM_SHMEMPAGES"}) {
    const auto index = view.types.enumerator(kind);
    if (!index) continue;
    const std::string slot = "[" + std::to_string(*index) + "]";
    const auto value = mm.first_number({"rss_stat" + slot + ".count", "rss_stat.count" + slot + ".counter"});
    if (value && static_cast<std::int64_t>(*value) > 0) pages += *value;
  }
  return pages;
}

void add_memory(const KernelView& view, const Record& task, ProcessDetails& details) {
  const auto mm = task.follow("mm", "mm_struct");
  if (!mm || !mm->address().raw) return;
  const std::uint64_t page = page_bytes(view.space, view.arch);
  details.space = mm->address();
  details.executable = mm->pointer("exe_file").value_or(VirtAddr{});
  details.virtual_bytes = number(*mm, "total_vm") * page;
  details.resident_pages = resident_pages(view, *mm);
  details.text_pages = (number(*mm, "end_code") - number(*mm, "start_code") + page - 1) / page;
  details.data_pages = number(*mm, "data_vm");
  details.stack_pages = number(*mm, "stack_vm");
}

void add_usage(const Record& record, ProcessDetails& details) {
  details.user_time += number(record, "utime") / ns_per_us;  // nanoseconds since v4.11
  details.system_time += number(record, "stime") / ns_per_us;
  details.run_time += record.first_number({"se.sum_exec_runtime", "sum_sched_runtime"}).value_or(0) / ns_per_us;
  details.minor_faults += number(record, "min_flt");
  details.major_faults += number(record, "maj_flt");
  details.voluntary_switches += number(record, "nvcsw");
  details.forced_switches += number(record, "nivcsw");
}

// A process's usage is that of its threads, and what those that are gone left behind.
void add_process_usage(const KernelView& view, const Record& signal, VirtAddr leader, ProcessDetails& details) {
  add_usage(signal, details);
  details.child_user_time = number(signal, "cutime") / ns_per_us;
  details.child_system_time = number(signal, "cstime") / ns_per_us;
  const auto head = signal.address_of("thread_head");
  const auto node = view.types.member("task_struct", "thread_node");
  if (!head || !node) return;
  walk_list(view, *head, node->offset, [&](VirtAddr thread) {
    if (thread != leader) add_usage(Record(view, "task_struct", thread), details);
  });
}

// What must be added to a time since boot to get one since 1970, in nanoseconds (getboottime64(), kernel/time/timekeeping.c).
// The clock lies behind its sequence count, in a structure without a name until v6.13.
std::optional<std::uint64_t> boot_time(const KernelView& view) {
  constexpr std::uint64_t behind_count = 8, year_2001 = 978'307'200'000'000'000, year_2200 = 7'258'118'400'000'000'000;
  const auto core = view.address_of("tk_core");
  if (!core) return std::nullopt;
  const auto member = view.types.member("tk_data", "timekeeper");
  const Record clock(view, "timekeeper", *core + (member ? member->offset : behind_count));
  const auto real = clock.first_number({"offs_real", "offs_real.tv64"}), boot = clock.first_number({"offs_boot", "offs_boot.tv64"});
  if (!real || !boot || *real - *boot < year_2001 || *real - *boot > year_2200) return std::nullopt;
  return *real - *boot;
}

}  // namespace

Result<ProcessDetails> read_details(const KernelView& view, const Task& task) {
  const Record record(view, "task_struct", task.handle);
  ProcessDetails details;
  details.thread = task.handle;
  details.process = record.pointer("group_leader").value_or(task.handle);
  details.name = Record(view, "task_struct", details.process).text("comm").value_or(task.comm);
  details.thread_name = task.comm;
  details.emulation = "Linux";
  details.files = record.pointer("files").value_or(VirtAddr{});
  details.stack = record.pointer("stack").value_or(VirtAddr{});
  details.nice = static_cast<std::int64_t>(number(record, "static_prio") - default_priority);
  details.priority = static_cast<std::int64_t>(number(record, "prio"));
  details.base_priority = static_cast<std::int64_t>(number(record, "normal_prio"));
  details.exit_status = number(record, "exit_code");
  details.last_cpu = task.cpu;
  add_credentials(view, record, details);
  add_memory(view, record, details);
  add_usage(record, details);
  const auto started = record.first_number({"start_boottime", "real_start_time"});  // the first since v5.5
  if (const auto boot = boot_time(view); boot && started) details.started = (*boot + *started) / ns_per_us;
  const auto signal = record.follow("signal", "signal_struct");
  if (!signal || !signal->address().raw) return details;  // it has exited
  details.threads = number(*signal, "nr_threads");
  details.session_leader = number(*signal, "leader") != 0;
  details.group = id_of_kind(view, *signal, details.process, "PIDTYPE_PGID");
  details.session = id_of_kind(view, *signal, details.process, "PIDTYPE_SID");
  add_terminal(view, *signal, details);
  if (details.process == task.handle) add_process_usage(view, *signal, task.handle, details);
  return details;
}

Result<std::vector<std::string>> read_words(const KernelView& view, const OsModel& model, const Task& task, std::string_view first,
                                            std::string_view end) {
  const Record mm = TRY(Record(view, "task_struct", task.handle).follow("mm", "mm_struct"));
  std::vector<std::string> words;
  if (!mm.address().raw) return words;
  const VirtAddr from = TRY(mm.pointer(first)), to = TRY(mm.pointer(end));
  if (to <= from) return words;
  const AddressSpace space = TRY(model.user_space(task));
  std::string text(std::min(to - from, most_words_bytes), '\0');
  text.resize(TRY(space.read(from, {reinterpret_cast<std::uint8_t*>(text.data()), text.size()})));
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t stop = std::min(text.find('\0', at), text.size());
    words.push_back(text.substr(at, stop - at));
    at = stop + 1;
  }
  return words;
}

}  // namespace kvm::os_linux
