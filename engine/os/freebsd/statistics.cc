// What top and swapinfo ask: FreeBSD's own libkvm (lib/libkvm/kvm_getloadavg.c, kvm_getswapinfo.c, kvm_cptime.c, kvm_pcpu.c, kvm_vnet.c)
// says which members they are.
#include "engine/os/freebsd/statistics.h"

#include <algorithm>

#include "engine/os/freebsd/model.h"

namespace kvm::os_freebsd {
namespace {

constexpr unsigned most_cpus = 1 << 16;
constexpr std::size_t most_swap_devices = 64;
constexpr std::uint64_t most_arguments = 1 << 20;

std::uint64_t number(const Record& record, std::string_view member) { return record.number(member).value_or(0); }

}  // namespace

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
