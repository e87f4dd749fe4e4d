// What ps, top and w ask beyond the list of threads: FreeBSD's own libkvm (lib/libkvm/kvm_proc.c, kvm_getloadavg.c, kvm_getswapinfo.c,
// kvm_cptime.c, kvm_pcpu.c, kvm_vnet.c) says which members they are.
#include "engine/os/freebsd/statistics.h"

#include <algorithm>

#include "engine/os/freebsd/model.h"

namespace kvm::os_freebsd {
namespace {

constexpr unsigned most_cpus = 1 << 16;
constexpr std::size_t most_groups = 1024, most_swap_devices = 64, name_bytes = 64;
constexpr std::uint64_t most_arguments = 1 << 20;
constexpr std::uint64_t p_controlt = 0x2, tdi_lock = 0x8;  // sys/sys/proc.h

std::uint64_t number(const Record& record, std::string_view member) { return record.number(member).value_or(0); }
VirtAddr pointer(const Record& record, std::string_view member) { return record.pointer(member).value_or(VirtAddr{}); }

std::string text_behind(const KernelView& view, const Record& record, std::string_view member) {
  const auto at = record.pointer(member);
  return at && at->raw ? view.text_at(*at, name_bytes).value_or("") : "";
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
  if (task.handle.raw) put_thread(view_, task, all);
  return all;
}

// struct loadavg: three numbers of 32 bits, then a long by which they are to be divided (sys/sys/resource.h).
Result<std::array<double, 3>> FreebsdStatistics::load_average() const {
  const VirtAddr at = TRY(view_.address_of("averunnable"));
  const std::uint64_t word = view_.arch.pointer_bytes, scale_at = (12 + word - 1) / word * word;
  const double scale = static_cast<double>(TRY(view_.pointer_at(at + scale_at)).raw);
  if (scale == 0) return fail(Errc::bad_data, at.raw, "the load averages have no scale");
  std::array<double, 3> loads{};
  for (std::size_t i = 0; i < loads.size(); ++i) loads[i] = static_cast<double>(TRY(view_.number_at(at + i * 4, 4))) / scale;
  return loads;
}

Result<std::vector<SwapDevice>> FreebsdStatistics::swap_devices() const {
  const VirtAddr head = TRY(view_.address_of("swtailq"));
  const std::uint64_t unused = read_constant(view_, "dmmax").value_or(0);  // blocks at a device's beginning
  std::vector<SwapDevice> devices;
  auto at = view_.pointer_at(head);
  while (at && at->raw && devices.size() < most_swap_devices) {
    const Record record(view_, "swdevt", *at);
    SwapDevice device;
    const std::uint64_t blocks = TRY(record.number("sw_nblks"));
    device.total = blocks > unused ? blocks - unused : 0;
    device.used = number(record, "sw_used");
    device.flags = static_cast<std::uint32_t>(number(record, "sw_flags"));
    if (const auto vnode = record.follow("sw_vp", "vnode"); vnode && vnode->address().raw)
      if (const auto node = vnode->follow("v_rdev", "cdev"); node && node->address().raw) device.name = node->text("si_name").value_or("");
    device.in_dev = !device.name.empty();
    devices.push_back(std::move(device));
    at = view_.pointer_at(*at + TRY(record.member("sw_list")).offset);
  }
  return devices;
}

Result<VirtAddr> FreebsdStatistics::pcpu(unsigned cpu) const {
  const VirtAddr table = TRY(view_.address_of("cpuid_to_pcpu"));
  const unsigned limit = TRY(cpu_limit());
  if (cpu >= limit) return fail(Errc::not_found, "there is no CPU " + std::to_string(cpu));
  const VirtAddr at = TRY(view_.pointer_at(table + std::uint64_t{cpu} * view_.arch.pointer_bytes));
  return at.raw ? Result<VirtAddr>(at) : fail(Errc::not_found, "there is no CPU " + std::to_string(cpu));
}

// CPUSTATES: user, nice, system, interrupt, idle (sys/sys/resource.h).
Result<CpuTimes> FreebsdStatistics::cpu_times() const {
  CpuTimes times;
  std::uint64_t* const kinds[] = {&times.user, &times.nice, &times.system, &times.interrupt, &times.idle};
  const auto add = [&](VirtAddr array) {
    for (std::size_t i = 0; i < std::size(kinds); ++i) *kinds[i] += view_.pointer_at(array + i * view_.arch.pointer_bytes).value_or(VirtAddr{}).raw;
  };
  if (const auto all = view_.address_of("cp_time")) {
    add(*all);
    return times;
  }
  const Member member = TRY(view_.types.member("pcpu", "pc_cp_time"));
  const unsigned limit = TRY(cpu_limit());
  for (unsigned cpu = 0; cpu < limit; ++cpu)
    if (const auto at = pcpu(cpu)) add(*at + member.offset);
  return times;
}

Result<unsigned> FreebsdStatistics::cpu_limit() const {
  for (const char* symbol : {"mp_maxcpus", "mp_maxid"})
    if (const auto value = read_int(view_, symbol); value && *value >= 0 && *value < most_cpus)
      return static_cast<unsigned>(*value) + (std::string_view(symbol) == "mp_maxid" ? 1 : 0);
  return fail(Errc::not_found, "the kernel tells no number of CPUs");
}

Result<unsigned> FreebsdStatistics::cpu_count() const {
  const auto count = read_int(view_, "mp_ncpus");
  return count && *count >= 0 ? Result<unsigned>(static_cast<unsigned>(*count)) : fail(Errc::not_found, "the kernel tells no number of CPUs");
}

Result<std::optional<CpuArea>> FreebsdStatistics::cpu_area(unsigned cpu) const {
  const auto at = pcpu(cpu);
  if (!at && at.error().code == Errc::not_found && view_.symbols.find("cpuid_to_pcpu")) return std::nullopt;
  if (!at) return tl::unexpected(at.error());
  return CpuArea{*at, TRY(view_.types.size_of("pcpu"))};
}

Result<VirtAddr> FreebsdStatistics::cpu_variable(VirtAddr at, unsigned cpu) const {
  const VirtAddr first = TRY(view_.address_of("__start_set_pcpu")), end = TRY(view_.address_of("__stop_set_pcpu"));
  if (at < first || at >= end) return fail(Errc::not_found, at.raw);
  const VirtAddr offsets = TRY(view_.address_of("dpcpu_off"));
  if (cpu >= most_cpus) return fail(Errc::not_found, at.raw);
  return at + TRY(view_.pointer_at(offsets + std::uint64_t{cpu} * view_.arch.pointer_bytes)).raw;
}

// The parts of all CPUs lie a struct pcpu's size apart.  amd64 counts from CPU 0's struct pcpu, to which __pcpu then points; others
// from 0, and have no such pointer (sys/*/include/pcpu_aux.h, counter.h).
Result<VirtAddr> FreebsdStatistics::cpu_object(VirtAddr at, unsigned cpu) const {
  const std::uint64_t size = TRY(view_.types.size_of("pcpu"));
  const auto symbol = view_.address_of("__pcpu");
  const auto first = symbol ? view_.pointer_at(*symbol) : fail(Errc::not_found);
  const auto record = first && first->raw ? pcpu(0) : fail(Errc::not_found);
  return at + (record && *record == *first ? first->raw : 0) + std::uint64_t{cpu} * size;
}

// The copy that the kernel keeps of short ones (kern.ps_arg_cache_limit, sys/kern/kern_exec.c).
Result<std::vector<std::string>> FreebsdStatistics::arguments(const Task& task) const {
  const VirtAddr at = TRY(Record(view_, "proc", task.process).pointer("p_args"));
  std::vector<std::string> words;
  if (!at.raw && task.kernel_thread) return words;
  if (!at.raw) return fail(Errc::not_in_dump, "the kernel keeps no copy of this process's arguments");
  const Record kept(view_, "pargs", at);
  const std::uint64_t size = std::min(TRY(kept.number("ar_length")), most_arguments);
  const Member member = TRY(kept.member("ar_args"));
  std::string text(size, '\0');
  text.resize(TRY(view_.space.read(at + member.offset, {reinterpret_cast<std::uint8_t*>(text.data()), text.size()})));
  for (std::size_t from = 0; from < text.size();) {
    const std::size_t stop = std::min(text.find('\0', from), text.size());
    words.push_back(text.substr(from, stop - from));
    from = stop + 1;
  }
  return words;
}

Result<VirtAddr> FreebsdStatistics::network_variable(VirtAddr at) const {
  const VirtAddr first = TRY(view_.address_of("__start_set_vnet")), end = TRY(view_.address_of("__stop_set_vnet"));
  if (at < first || at >= end) return fail(Errc::not_found, at.raw);
  const VirtAddr variable = TRY(view_.address_of("vnet0"));
  const VirtAddr stack = TRY(view_.pointer_at(variable));
  return at + TRY(Record(view_, "vnet", stack).number("vnet_data_base"));
}

}  // namespace kvm::os_freebsd
