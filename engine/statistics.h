// What ps, top, w and swapinfo ask of a kernel beyond its list of tasks.  An OS model that knows none of it has no Statistics;
// one that knows some says of the rest that it is unsupported.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "engine/result.h"
#include "engine/types.h"

namespace kvm {

struct Task;

using Signals = std::array<std::uint32_t, 4>;  // signal N is bit N - 1

// One thread and its process, in the words of ps(1).  What is not known stays empty.
struct ProcessDetails {
  VirtAddr process, thread;             // the kernel's records: proc and thread, or task_struct
  VirtAddr space, files, executable, wait_channel, saved_registers, stack;
  std::string name, thread_name;        // as the kernel keeps them
  std::string wait_message, lock_name, login, emulation;
  std::optional<std::int64_t> group, session, terminal_group, terminal_session;  // process ids
  std::optional<std::uint64_t> terminal;  // device number
  bool session_leader = false, session_terminal = false;
  std::uint32_t uid = 0, real_uid = 0, saved_uid = 0, real_gid = 0, saved_gid = 0;
  std::vector<std::uint32_t> groups;    // the effective one first
  std::uint64_t virtual_bytes = 0, resident_pages = 0, text_pages = 0, data_pages = 0, stack_pages = 0, swap_pages = 0;
  std::uint64_t started = 0;            // microseconds since 1970; 0: not known
  std::uint64_t user_time = 0, system_time = 0, run_time = 0, child_user_time = 0, child_system_time = 0;  // microseconds
  std::uint64_t minor_faults = 0, major_faults = 0, voluntary_switches = 0, forced_switches = 0;
  std::int64_t nice = 0, priority = 0, base_priority = 0;
  std::uint64_t threads = 0, exit_status = 0;
  std::uint64_t flags = 0;              // FreeBSD's P_*, where the kernel keeps them
  std::int64_t jail = 0;
  std::optional<unsigned> last_cpu;
  Signals pending{}, blocked{}, ignored{}, caught{};
  std::optional<std::int64_t> tracer;   // process id
  // FreeBSD's own: pargs and pwddesc, P2_*, TDF_*, A*, KTRFAC_*, PHOLD()s, fib, PRI_*, Capsicum, seconds since p_swtick.
  VirtAddr kept_arguments, directories;
  std::uint64_t more_flags = 0, thread_flags = 0, accounting_flags = 0, trace_flags = 0, holds = 0, routing_table = 0, priority_class = 0, since_swap = 0;
  std::optional<std::int64_t> user_priority;
  bool capability_mode = false;
};

struct SwapDevice {
  std::string name;                     // "da0p3", "/swapfile"
  bool in_dev = false;                  // a device of /dev, named without it
  std::uint64_t total = 0, used = 0;    // pages
  std::uint32_t flags = 0;
};

// Ticks of all CPUs since the kernel started.
struct CpuTimes {
  std::uint64_t user = 0, nice = 0, system = 0, interrupt = 0, idle = 0;
};

struct CpuArea {
  VirtAddr first;
  std::uint64_t size = 0;
};

class Statistics {
 public:
  virtual ~Statistics() = default;
  virtual Result<ProcessDetails> details(const Task&) const { return unknown("details of processes"); }
  // From the process's own memory, of which most dumps hold little.
  virtual Result<std::vector<std::string>> arguments(const Task&) const { return unknown("arguments of processes"); }
  virtual Result<std::vector<std::string>> environment(const Task&) const { return unknown("environments of processes"); }
  virtual Result<std::array<double, 3>> load_average() const { return unknown("load averages"); }  // over 1, 5 and 15 minutes
  virtual Result<std::vector<SwapDevice>> swap_devices() const { return unknown("swap devices"); }
  virtual Result<CpuTimes> cpu_times() const { return unknown("the CPUs' times"); }
  virtual Result<unsigned> cpu_limit() const { return unknown("numbers of CPUs"); }  // numbers of CPUs are below it
  virtual Result<unsigned> cpu_count() const { return unknown("numbers of CPUs"); }
  // A CPU's private record or area; none: there is no such CPU.
  virtual Result<std::optional<CpuArea>> cpu_area(unsigned) const { return unknown("per-CPU data"); }
  // Where a CPU has its own copy of a static per-CPU variable, whose symbol has the value `at`; not_found when it is none.
  virtual Result<VirtAddr> cpu_variable(VirtAddr at, unsigned cpu) const = 0;
  // The same of what is allocated per CPU at run time, from the kernel's pointer to it.
  virtual Result<VirtAddr> cpu_object(VirtAddr at, unsigned cpu) const = 0;
  // Where the first network stack has its own copy of a variable; not_found when it is none.
  virtual Result<VirtAddr> network_variable(VirtAddr at) const { return fail(Errc::not_found, at.raw); }

 protected:
  static tl::unexpected<Error> unknown(const char* what) { return fail(Errc::unsupported, std::string(what) + " are not known for this system"); }
};

}  // namespace kvm
