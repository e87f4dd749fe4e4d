// The load, swap devices, the CPUs' times.
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "engine/compat/handle.h"

namespace kvm::compat {
namespace {

int load(kvm_t* kd, double out[], int count) {
  if (count < 0) return complain(kd, "kvm_getloadavg: a negative number of samples"), -1;
  if (kd->alive()) return ::getloadavg(out, count);
  const Statistics* known = statistics(kd, "kvm_getloadavg");
  if (!known) return -1;
  const auto loads = known->load_average();
  if (!loads) return complain(kd, "can't read averunnable: " + to_string(loads.error())), -1;
  count = std::min(count, static_cast<int>(loads->size()));
  std::copy_n(loads->begin(), count, out);
  return count;
}

unsigned pages(std::uint64_t count) { return static_cast<unsigned>(std::min<std::uint64_t>(count, ~0u)); }

// The devices that there is room for, then the total of all; as many as the room allows when there are more.
int swap(kvm_t* kd, struct kvm_swap* out, int room, int flags) {
  const Statistics* known = statistics(kd, "kvm_getswapinfo");
  if (!known) return -1;
  const auto devices = known->swap_devices();
  if (!devices) return complain(kd, "cannot read swapinfo: " + to_string(devices.error())), -1;
  std::uint64_t total = 0, used = 0;
  int count = 0;
  for (const SwapDevice& device : *devices) {
    total += device.total;
    used += device.used;
    if (count++ >= room - 1) continue;
    struct kvm_swap& entry = out[count - 1];
    entry = {};
    const std::string name = (flags & SWIF_DEV_PREFIX && device.in_dev ? "/dev/" : "") + device.name;
    std::copy_n(name.data(), std::min(name.size(), sizeof entry.ksw_devname - 1), entry.ksw_devname);
    entry.ksw_total = pages(device.total);
    entry.ksw_used = pages(device.used);
    entry.ksw_flags = static_cast<int>(device.flags);
  }
  count = std::min(count, room - 1);
  if (count < 0) return count;
  out[count] = {};
  out[count].ksw_total = pages(total);
  out[count].ksw_used = pages(used);
  return count;
}

int cpu_times(kvm_t* kd, long* out) {
  const Statistics* known = statistics(kd, "kvm_getcptime");
  if (!known) return -1;
  const auto times = known->cpu_times();
  if (!times) return complain(kd, "cannot read cp_time array: " + to_string(times.error())), -1;
  out[CP_USER] = static_cast<long>(times->user);
  out[CP_NICE] = static_cast<long>(times->nice);
  out[CP_SYS] = static_cast<long>(times->system);
  out[CP_INTR] = static_cast<long>(times->interrupt);
  out[CP_IDLE] = static_cast<long>(times->idle);
  return 0;
}

}  // namespace
}  // namespace kvm::compat

using namespace kvm::compat;

// Without a handle these forget what libkvm keeps for the process; here a handle keeps its own.
int kvm_getloadavg(kvm_t* kd, double out[], int count) {
  return guarded(kd, -1, [&] { return load(kd, out, count); });
}
int kvm_getswapinfo(kvm_t* kd, struct kvm_swap* out, int room, int flags) {
  return kd ? guarded(kd, -1, [&] { return swap(kd, out, room, flags); }) : 0;
}
int kvm_getcptime(kvm_t* kd, long* out) {
  return kd ? guarded(kd, -1, [&] { return cpu_times(kd, out); }) : 0;
}
