// What each CPU has a copy of.
#include <fmt/format.h>

#include <cstdlib>

#include "engine/compat/handle.h"
#include "engine/integers.h"

namespace kvm::compat {
namespace {

void* const error_mark = reinterpret_cast<void*>(static_cast<std::intptr_t>(-1));

int number(kvm_t* kd, const char* what, Result<unsigned> (Statistics::*ask)() const) {
  const Statistics* known = statistics(kd, what);
  if (!known) return -1;
  const auto answer = (known->*ask)();
  if (!answer) return complain(kd, fmt::format("{}: {}", what, to_string(answer.error()))), -1;
  return static_cast<int>(*answer);
}

// The caller frees it.
void* area(kvm_t* kd, int cpu) {
  constexpr std::uint64_t largest = 64 << 20;
  const Statistics* known = statistics(kd, "kvm_getpcpu");
  if (!known) return error_mark;
  const auto found = cpu < 0 ? std::optional<CpuArea>() : known->cpu_area(static_cast<unsigned>(cpu));
  if (!found) return complain(kd, "unable to read per-CPU data: " + to_string(found.error())), error_mark;
  if (!*found) return nullptr;
  void* copy = (*found)->size <= largest ? std::malloc((*found)->size) : nullptr;
  if (!copy) return complain(kd, "out of memory"), error_mark;
  const auto size = static_cast<ssize_t>((*found)->size);
  if (kvm_read2(kd, (*found)->first.raw, copy, (*found)->size) == size) return copy;
  std::free(copy);
  return complain(kd, "unable to read per-CPU data"), error_mark;
}

int choose_cpu(kvm_t* kd, unsigned cpu) {
  const Statistics* known = statistics(kd, "kvm_dpcpu_setcpu: init failed");
  if (!known) return -1;
  const auto limit = known->cpu_limit();
  if (limit && cpu >= *limit) return complain(kd, fmt::format("kvm_dpcpu_setcpu: CPU {} too big", cpu)), -1;
  const auto there = known->cpu_area(cpu);
  if (!there || !*there) return complain(kd, fmt::format("kvm_dpcpu_setcpu: CPU {} not found", cpu)), -1;
  kd->cpu = cpu;
  return 0;
}

ssize_t read_object(kvm_t* kd, VirtAddr base, void* out, std::size_t size, int cpu) {
  const Statistics* known = statistics(kd, "kvm_read_zpcpu");
  if (!known || cpu < 0) return -1;
  const auto at = known->cpu_object(base, static_cast<unsigned>(cpu));
  if (!at) return complain(kd, "kvm_read_zpcpu: " + to_string(at.error())), -1;
  return kvm_read2(kd, at->raw, out, size);
}

// The sum over the CPUs that there are; 0 when one cannot be read, as in libkvm.
std::uint64_t counter(kvm_t* kd, VirtAddr base) {
  const Statistics* known = statistics(kd, "kvm_counter_u64_fetch");
  const auto limit = known ? known->cpu_limit() : fail(Errc::unsupported);
  std::uint64_t sum = 0;
  for (unsigned cpu = 0; limit && cpu < *limit; ++cpu) {
    const auto there = known->cpu_area(cpu);
    if (there && !*there) continue;
    std::uint8_t raw[8];
    if (read_object(kd, base, raw, sizeof raw, static_cast<int>(cpu)) != sizeof raw) return 0;
    sum += kvm::load<std::uint64_t>(raw, (*kd->structures)->arch().endian);
  }
  return sum;
}

}  // namespace
}  // namespace kvm::compat

using namespace kvm::compat;

int kvm_getmaxcpu(kvm_t* kd) {
  return kd ? guarded(kd, -1, [&] { return number(kd, "kvm_getmaxcpu", &kvm::Statistics::cpu_limit); }) : 0;
}
int kvm_getncpus(kvm_t* kd) {
  return kd ? guarded(kd, -1, [&] { return number(kd, "kvm_getncpus", &kvm::Statistics::cpu_count); }) : 0;
}
void* kvm_getpcpu(kvm_t* kd, int cpu) {
  return kd ? guarded(kd, error_mark, [&] { return area(kd, cpu); }) : nullptr;
}
int kvm_dpcpu_setcpu(kvm_t* kd, unsigned int cpu) {
  return guarded(kd, -1, [&] { return choose_cpu(kd, cpu); });
}
ssize_t kvm_read_zpcpu(kvm_t* kd, unsigned long base, void* out, size_t size, int cpu) {
  return guarded(kd, ssize_t{-1}, [&] { return read_object(kd, {base}, out, size, cpu); });
}
uint64_t kvm_counter_u64_fetch(kvm_t* kd, unsigned long base) {
  return guarded(kd, std::uint64_t{0}, [&] { return counter(kd, {base}); });
}
