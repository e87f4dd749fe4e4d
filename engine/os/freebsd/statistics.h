// FreeBSD's answers to ps, top, w and swapinfo.
#pragma once

#include "engine/os.h"
#include "engine/statistics.h"

namespace kvm::os_freebsd {

class FreebsdStatistics final : public Statistics {
 public:
  explicit FreebsdStatistics(const KernelView& view) : view_(view) {}

  Result<ProcessDetails> details(const Task& task) const override;
  Result<std::vector<std::string>> arguments(const Task& task) const override;
  Result<std::array<double, 3>> load_average() const override;
  Result<std::vector<SwapDevice>> swap_devices() const override;
  Result<CpuTimes> cpu_times() const override;
  Result<unsigned> cpu_limit() const override;
  Result<unsigned> cpu_count() const override;
  Result<std::optional<CpuArea>> cpu_area(unsigned cpu) const override;
  Result<VirtAddr> cpu_variable(VirtAddr at, unsigned cpu) const override;
  Result<VirtAddr> cpu_object(VirtAddr at, unsigned cpu) const override;
  Result<VirtAddr> network_variable(VirtAddr at) const override;

 private:
  Result<VirtAddr> pcpu(unsigned cpu) const;

  const KernelView& view_;
};

}  // namespace kvm::os_freebsd
