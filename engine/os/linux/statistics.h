// What ps, top and swapinfo want to know of Linux.
#pragma once

#include "engine/os/linux/model.h"

namespace kvm::os_linux {

// All three outlive the result.
std::unique_ptr<Statistics> make_statistics(const KernelView& view, const OsModel& model, const std::vector<CpuSlot>& cpus);

Result<ProcessDetails> read_details(const KernelView& view, const Task& task);
// The strings between two addresses that `mm_struct` names; none for a kernel thread.
Result<std::vector<std::string>> read_words(const KernelView& view, const OsModel& model, const Task& task, std::string_view first,
                                            std::string_view end);
Result<std::vector<SwapDevice>> read_swap(const KernelView& view);
Result<CpuTimes> read_cpu_times(const KernelView& view, const std::vector<CpuSlot>& cpus);

}  // namespace kvm::os_linux
