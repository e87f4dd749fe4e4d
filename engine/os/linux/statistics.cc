// Load, swap, the CPUs' times and their private memory.
#include "engine/os/linux/statistics.h"

#include <algorithm>

namespace kvm::os_linux {
namespace {

constexpr double load_scale = 1 << 11;                // FSHIFT of include/linux/sched/loadavg.h
constexpr std::uint64_t ns_per_tick = 10'000'000;     // USER_HZ: what /proc/stat counts in
constexpr std::uint64_t most_swap_devices = 64;       // MAX_SWAPFILES is below 32
constexpr std::uint64_t swap_used = 1;                // SWP_USED
constexpr std::uint64_t off_list = 1u << 30;          // SWAP_USAGE_OFFLIST_BIT, in the counter since v6.13
constexpr std::uint64_t format_mask = 0170000, block_device = 0060000;  // S_IFMT, S_IFBLK
constexpr unsigned most_folders = 64;

// A file's path inside its file system.
std::string path_of(const KernelView& view, Record entry) {
  std::string path;
  for (unsigned depth = 0; depth < most_folders; ++depth) {
    const auto parent = entry.follow("d_parent", "dentry");
    const auto name = entry.pointer("d_name.name");
    if (!parent || !name || parent->address() == entry.address()) break;
    path = "/" + view.text_at(*name).value_or("?") + path;
    entry = *parent;
  }
  return path;
}

void add_name(const KernelView& view, const Record& device, SwapDevice& swap) {
  const auto file = device.follow("swap_file", "file");
  if (!file || !file->address().raw) return;
  const auto entry = file->follow(file->has("f_path.dentry") ? "f_path.dentry" : "__f_path.dentry", "dentry");
  if (!entry) return;
  swap.name = path_of(view, *entry);
  const auto inode = file->follow("f_inode", "inode");
  swap.in_dev = inode && (inode->number("i_mode").value_or(0) & format_mask) == block_device;
  if (swap.in_dev && swap.name.starts_with('/')) swap.name.erase(0, 1);  // devtmpfs is mounted on /dev
}

// CPUs that sleep without ticks count their idle time apart (get_idle_time(), fs/proc/stat.c).
std::uint64_t idle_time(const KernelView& view, VirtAddr per_cpu, std::string_view member, std::uint64_t counted) {
  const auto clock = view.symbols.find("tick_cpu_sched");
  if (!clock) return counted;
  const Record tick(view, "tick_sched", VirtAddr{clock->address.raw + per_cpu.raw});
  const auto slept = tick.number(member);
  return slept && *slept ? *slept : counted;
}

// The CPUs' own copies of static variables lie where these do, at a distance of the CPU's.
struct PerCpuSection {
  VirtAddr first, end;
};
Result<PerCpuSection> per_cpu_section(const KernelView& view) {
  return PerCpuSection{TRY(view.address_of("__per_cpu_start")), TRY(view.address_of("__per_cpu_end"))};
}

class LinuxStatistics final : public Statistics {
 public:
  LinuxStatistics(const KernelView& view, const OsModel& model, const std::vector<CpuSlot>& cpus) : view_(view), model_(model), cpus_(cpus) {}

  Result<ProcessDetails> details(const Task& task) const override { return read_details(view_, task); }
  Result<std::vector<std::string>> arguments(const Task& task) const override { return read_words(view_, model_, task, "arg_start", "arg_end"); }
  Result<std::vector<std::string>> environment(const Task& task) const override { return read_words(view_, model_, task, "env_start", "env_end"); }
  Result<std::array<double, 3>> load_average() const override {
    const VirtAddr at = TRY(view_.address_of("avenrun"));
    std::array<double, 3> loads{};
    for (std::size_t i = 0; i < loads.size(); ++i) loads[i] = double(TRY(view_.pointer_at(at + i * view_.arch.pointer_bytes)).raw) / load_scale;
    return loads;
  }
  Result<std::vector<SwapDevice>> swap_devices() const override { return read_swap(view_); }
  Result<CpuTimes> cpu_times() const override { return read_cpu_times(view_, cpus_); }
  Result<unsigned> cpu_limit() const override {
    unsigned limit = 0;
    for (const CpuSlot& cpu : cpus_) limit = std::max(limit, cpu.number + 1);
    return limit;
  }
  Result<unsigned> cpu_count() const override { return static_cast<unsigned>(cpus_.size()); }
  Result<std::optional<CpuArea>> cpu_area(unsigned cpu) const override {
    const CpuSlot* slot = slot_of(cpu);
    if (!slot) return std::nullopt;
    const PerCpuSection section = TRY(per_cpu_section(view_));
    return CpuArea{section.first + slot->per_cpu.raw, section.end - section.first};
  }
  Result<VirtAddr> cpu_variable(VirtAddr at, unsigned cpu) const override {
    const PerCpuSection section = TRY(per_cpu_section(view_));
    if (at < section.first || at >= section.end) return fail(Errc::not_found, at.raw);
    return cpu_object(at, cpu);
  }
  Result<VirtAddr> cpu_object(VirtAddr at, unsigned cpu) const override {
    const CpuSlot* slot = slot_of(cpu);
    if (!slot) return fail(Errc::not_found, "there is no CPU " + std::to_string(cpu));
    return at + slot->per_cpu.raw;
  }

 private:
  const CpuSlot* slot_of(unsigned cpu) const {
    const auto slot = std::ranges::find(cpus_, cpu, &CpuSlot::number);
    return slot == cpus_.end() ? nullptr : &*slot;
  }

  const KernelView& view_;
  const OsModel& model_;
  const std::vector<CpuSlot>& cpus_;
};

}  // namespace

Result<std::vector<SwapDevice>> read_swap(const KernelView& view) {
  std::vector<SwapDevice> devices;
  const auto table = view.address_of("swap_info"), count = view.address_of("nr_swapfiles");
  if (!table && view.symbols.find("init_task")) return devices;  // a kernel without swap
  const VirtAddr first = TRY(table);
  const std::uint64_t slots = std::min(count ? view.number_at(*count, 4).value_or(0) : most_swap_devices, most_swap_devices);
  for (std::uint64_t i = 0; i < slots; ++i) {
    const auto at = view.pointer_at(first + i * view.arch.pointer_bytes);
    if (!at || !at->raw) continue;
    const Record device(view, "swap_info_struct", *at);
    if (!(device.number("flags").value_or(0) & swap_used)) continue;
    SwapDevice swap;
    swap.total = TRY(device.number("pages"));
    swap.used = TRY(device.first_number({"inuse_pages.counter", "inuse_pages"}));
    if (swap.used > swap.total) swap.used &= ~off_list;
    add_name(view, device, swap);
    devices.push_back(std::move(swap));
  }
  return devices;
}

Result<CpuTimes> read_cpu_times(const KernelView& view, const std::vector<CpuSlot>& cpus) {
  const VirtAddr symbol = TRY(view.address_of("kernel_cpustat"));
  const Member counters = TRY(view.types.member("kernel_cpustat", "cpustat"));
  CpuTimes times;
  for (const CpuSlot& cpu : cpus) {
    const auto counter = [&](const char* kind) {
      const auto index = view.types.enumerator(kind);
      const VirtAddr at = VirtAddr{symbol.raw + cpu.per_cpu.raw} + counters.offset;
      return index ? view.number_at(at + static_cast<std::uint64_t>(*index) * 8, 8).value_or(0) : 0;
    };
    times.user += counter("CPUTIME_USER");
    times.nice += counter("CPUTIME_NICE");
    times.system += counter("CPUTIME_SYSTEM");
    times.interrupt += counter("CPUTIME_IRQ") + counter("CPUTIME_SOFTIRQ");
    times.idle += idle_time(view, cpu.per_cpu, "idle_sleeptime", counter("CPUTIME_IDLE")) +
                  idle_time(view, cpu.per_cpu, "iowait_sleeptime", counter("CPUTIME_IOWAIT"));
  }
  for (std::uint64_t* time : {&times.user, &times.nice, &times.system, &times.interrupt, &times.idle}) *time /= ns_per_tick;
  return times;
}

std::unique_ptr<Statistics> make_statistics(const KernelView& view, const OsModel& model, const std::vector<CpuSlot>& cpus) {
  return std::make_unique<LinuxStatistics>(view, model, cpus);
}

}  // namespace kvm::os_linux
