// What ps asks of a process and a thread: kvm_proclist() in lib/libkvm/kvm_proc.c and fill_kinfo_proc_only(), fill_kinfo_thread() in
// sys/kern/kern_proc.c say which members they are.
#include <algorithm>

#include "engine/os/freebsd/model.h"
#include "engine/os/freebsd/statistics.h"

namespace kvm::os_freebsd {
namespace {

constexpr unsigned most_cpus = 1 << 16;
constexpr std::size_t most_groups = 1024, name_bytes = 64;
constexpr std::uint64_t p_controlt = 0x2, p_traced = 0x800, tdi_lock = 0x8;  // sys/sys/proc.h
constexpr std::uint64_t in_capability_mode = 0x1;                             // CRED_FLAG_CAPMODE, sys/sys/ucred.h

std::uint64_t number(const Record& record, std::string_view member) { return record.number(member).value_or(0); }
VirtAddr pointer(const Record& record, std::string_view member) { return record.pointer(member).value_or(VirtAddr{}); }

std::string text_behind(const KernelView& view, const Record& record, std::string_view member) {
  const auto at = record.pointer(member);
  return at && at->raw ? view.text_at(*at, name_bytes).value_or("") : "";
}

// sigset_t: four words (sys/sys/_sigset.h).
Signals signals(const KernelView& view, const Record& record, std::string_view member) {
  Signals all{};
  const auto at = record.address_of(member);
  for (std::size_t i = 0; at && i < all.size(); ++i) all[i] = static_cast<std::uint32_t>(view.number_at(*at + i * 4, 4).value_or(0));
  return all;
}

// The group was the first of cr_groups until it got a member of its own (15.0).
void put_credentials(const KernelView& view, const Record& process, ProcessDetails& to) {
  const auto cred = process.follow("p_ucred", "ucred");
  if (!cred || !cred->address().raw) return;
  to.uid = static_cast<std::uint32_t>(number(*cred, "cr_uid"));
  to.real_uid = static_cast<std::uint32_t>(number(*cred, "cr_ruid"));
  to.saved_uid = static_cast<std::uint32_t>(number(*cred, "cr_svuid"));
  to.real_gid = static_cast<std::uint32_t>(number(*cred, "cr_rgid"));
  to.saved_gid = static_cast<std::uint32_t>(number(*cred, "cr_svgid"));
  to.capability_mode = number(*cred, "cr_flags") & in_capability_mode;
  if (const auto own = cred->number("cr_gid")) to.groups.push_back(static_cast<std::uint32_t>(*own));
  const VirtAddr groups = pointer(*cred, "cr_groups");
  const std::uint64_t count = std::min<std::uint64_t>(number(*cred, "cr_ngroups"), most_groups);
  for (std::uint64_t i = 0; groups.raw && i < count; ++i)
    if (const auto group = view.number_at(groups + i * 4, 4)) to.groups.push_back(static_cast<std::uint32_t>(*group));
  if (const auto prison = cred->follow("cr_prison", "prison"); prison && prison->address().raw) to.jail = static_cast<std::int64_t>(number(*prison, "pr_id"));
}

std::optional<std::int64_t> id_behind(const Record& record, std::string_view member, std::string_view type, std::string_view id) {
  const auto to = record.follow(member, type);
  const auto value = to && to->address().raw ? to->number(id) : fail(Errc::not_found);
  return value ? std::optional(static_cast<std::int64_t>(*value)) : std::nullopt;
}

void put_session(const Record& process, ProcessDetails& to) {
  const auto group = process.follow("p_pgrp", "pgrp");
  if (!group || !group->address().raw) return;
  if (const auto id = group->number("pg_id")) to.group = static_cast<std::int64_t>(*id);
  const auto session = group->follow("pg_session", "session");
  if (!session || !session->address().raw) return;
  if (const auto id = session->number("s_sid")) to.session = static_cast<std::int64_t>(*id);
  to.login = session->text("s_login").value_or("");
  to.session_terminal = pointer(*session, "s_ttyvp").raw != 0;
  to.session_leader = pointer(*session, "s_leader") == process.address();
  const auto terminal = session->follow("s_ttyp", "tty");
  if (!(to.flags & p_controlt) || !terminal || !terminal->address().raw) return;
  to.terminal_group = id_behind(*terminal, "t_pgrp", "pgrp", "pg_id");
  to.terminal_session = id_behind(*terminal, "t_session", "session", "s_sid");
  // A device's number is that of its node in devfs (dev2udev(), sys/fs/devfs/devfs_vnops.c); struct cdev begins its cdev_priv.
  if (const auto inode = id_behind(*terminal, "t_dev", "cdev_priv", "cdp_inode")) to.terminal = static_cast<std::uint64_t>(*inode);
}

void put_memory(const Record& process, ProcessDetails& to) {
  const auto space = process.follow("p_vmspace", "vmspace");
  if (!space || !space->address().raw) return;
  to.space = space->address();
  to.virtual_bytes = number(*space, "vm_map.size");
  to.resident_pages = number(*space, "vm_pmap.pm_stats.resident_count");
  to.swap_pages = number(*space, "vm_swrss");
  to.text_pages = number(*space, "vm_tsize");
  to.data_pages = number(*space, "vm_dsize");
  to.stack_pages = number(*space, "vm_ssize");
}

// boottimebin is seconds and a fraction in 2^64ths (struct bintime); p_start counts from there.
std::uint64_t started(const KernelView& view, const Record& process) {
  const auto boot = view.address_of("boottimebin");
  const auto seconds = boot ? view.number_at(*boot, view.arch.pointer_bytes == 8 ? 8 : 4) : fail(Errc::not_found);
  const auto stats = process.follow("p_stats", "pstats");
  const auto since = stats && stats->address().raw ? stats->number("p_start.tv_sec") : fail(Errc::not_found);
  if (!seconds || !since) return 0;
  return (*seconds + *since) * 1'000'000 + number(*stats, "p_start.tv_usec");
}

void put_times(const KernelView& view, const Record& process, ProcessDetails& to) {
  to.started = started(view, process);
  to.user_time = number(process, "p_rux.rux_uu");
  to.system_time = number(process, "p_rux.rux_su");
  to.child_user_time = number(process, "p_crux.rux_uu");
  to.child_system_time = number(process, "p_crux.rux_su");
  const std::uint64_t ticks = number(process, "p_rux.rux_runtime"), frequency = read_constant(view, "cpu_tick_frequency", 8).value_or(0);
  if (frequency) to.run_time = ticks / frequency * 1'000'000 + ticks % frequency * 1'000'000 / frequency;
  to.minor_faults = number(process, "p_ru.ru_minflt");
  to.major_faults = number(process, "p_ru.ru_majflt");
  to.voluntary_switches = number(process, "p_ru.ru_nvcsw");
  to.forced_switches = number(process, "p_ru.ru_nivcsw");
}

// ticks counts up, and wraps.
std::uint64_t seconds_since(const KernelView& view, const Record& process, std::string_view tick) {
  const auto now = read_int(view, "ticks");
  const auto then = process.number(tick);
  const std::uint64_t rate = read_constant(view, "hz").value_or(0);
  if (!now || !then || !rate) return 0;
  return static_cast<std::uint32_t>(*now - static_cast<std::int64_t>(*then)) / rate;
}

void put_signals(const KernelView& view, const Record& process, ProcessDetails& to) {
  to.pending = signals(view, process, "p_sigqueue.sq_signals");
  const auto acts = process.follow("p_sigacts", "sigacts");
  if (!acts || !acts->address().raw) return;
  to.ignored = signals(view, *acts, "ps_sigignore");
  to.caught = signals(view, *acts, "ps_sigcatch");
}

// What only FreeBSD's ps shows.
void put_flags(const KernelView& view, const Record& process, ProcessDetails& to) {
  to.more_flags = number(process, "p_flag2");
  to.accounting_flags = number(process, "p_acflag");
  to.holds = number(process, "p_lock");
  to.trace_flags = number(process, "p_traceflag");
  to.routing_table = number(process, "p_fibnum");
  to.kept_arguments = pointer(process, "p_args");
  to.directories = pointer(process, "p_pd");
  to.since_swap = seconds_since(view, process, "p_swtick");
  if (to.flags & p_traced) to.tracer = id_behind(process, "p_pptr", "proc", "p_pid");
}

void put_thread(const KernelView& view, const Task& task, ProcessDetails& to) {
  const Record thread(view, "thread", task.handle);
  to.thread = task.handle;
  to.saved_registers = pointer(thread, "td_pcb");
  to.stack = pointer(thread, "td_kstack");
  to.wait_channel = pointer(thread, "td_wchan");
  to.wait_message = text_behind(view, thread, "td_wmesg");
  if (number(thread, "td_inhibitors") & tdi_lock) to.lock_name = text_behind(view, thread, "td_lockname");
  to.priority = static_cast<std::int64_t>(number(thread, "td_priority"));
  to.base_priority = static_cast<std::int64_t>(number(thread, "td_base_pri"));
  to.priority_class = number(thread, "td_pri_class");
  if (const auto user = thread.number("td_user_pri")) to.user_priority = static_cast<std::int64_t>(*user);
  to.thread_flags = number(thread, "td_flags");
  to.blocked = signals(view, thread, "td_sigmask");
  const Signals own = signals(view, thread, "td_sigqueue.sq_signals");
  for (std::size_t i = 0; i < own.size(); ++i) to.pending[i] |= own[i];
  if (const auto last = thread.number("td_lastcpu"); last && *last < most_cpus) to.last_cpu = static_cast<unsigned>(*last);
}

}  // namespace

Result<ProcessDetails> FreebsdStatistics::details(const Task& task) const {
  const Record process(view_, "proc", task.process);
  TRY(view_.types.size_of("proc"));
  ProcessDetails all;
  all.process = task.process;
  all.name = task.comm;
  all.thread_name = task.thread_name;
  all.flags = number(process, "p_flag");
  all.threads = number(process, "p_numthreads");
  all.nice = static_cast<std::int64_t>(number(process, "p_nice"));
  all.exit_status = (number(process, "p_xexit") & 0xff) << 8 | (number(process, "p_xsig") & 0x7f);
  all.files = pointer(process, "p_fd");
  all.executable = pointer(process, "p_textvp");
  if (const auto system = process.follow("p_sysent", "sysentvec"); system && system->address().raw) all.emulation = text_behind(view_, *system, "sv_name");
  put_credentials(view_, process, all);
  put_session(process, all);
  put_memory(process, all);
  put_times(view_, process, all);
  put_signals(view_, process, all);
  put_flags(view_, process, all);
  if (task.handle.raw) put_thread(view_, task, all);
  return all;
}

}  // namespace kvm::os_freebsd
