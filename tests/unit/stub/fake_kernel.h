// A small crashed machine that needs no dump file: 64 KiB of memory at a constant distance, four CPUs' worth of tasks
// with the kinds of trouble that real dumps bring.
#pragma once

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

#include "engine/kernel.h"

namespace fake {

using namespace kvm;

inline constexpr std::uint64_t memory_size = 0x10000;
inline constexpr VirtAddr base{0xffff888000000000};
inline constexpr std::uint64_t excluded_page = 0x3000;     // left out of the dump
inline constexpr std::uint64_t slide = 0x1a000000;
// The linear map has memory_size bytes more than there is RAM, so that a translated address can lack its page.
inline constexpr std::uint64_t mapped_size = 2 * memory_size;

class Memory final : public PhysicalMemory {
 public:
  Memory() : bytes_(memory_size) {
    for (std::size_t i = 0; i < bytes_.size(); ++i) bytes_[i] = static_cast<std::uint8_t>(i * 7 + i / 256);
    std::memcpy(&bytes_[0x5000], "needle in a haystack", 20);
    std::memcpy(&bytes_[0x6100], "#$}*\x03\x00", 6);
  }
  Result<std::size_t> read(PhysAddr at, MutableBytes out) const override {
    if (at.raw >= bytes_.size() || at.raw / 0x1000 == excluded_page / 0x1000) return fail(Errc::not_in_dump, at.raw);
    const std::uint64_t end = at.raw < excluded_page ? excluded_page : bytes_.size();
    const std::size_t count = std::min<std::uint64_t>(end - at.raw, out.size());
    std::copy_n(bytes_.begin() + static_cast<std::ptrdiff_t>(at.raw), count, out.begin());
    return count;
  }
  std::span<const PhysRange> ranges() const override { return {&range_, 1}; }
  std::optional<std::uint64_t> file_offset(PhysAddr at) const override { return at.raw + 0x1000; }

 private:
  std::vector<std::uint8_t> bytes_;
  PhysRange range_{PhysAddr{0}, memory_size};
};

class FakeSymbols final : public Symbols {
 public:
  std::optional<Symbol> find(std::string_view name) const override {
    for (const Symbol& symbol : all_)
      if (symbol.name == name) return symbol;
    return std::nullopt;
  }
  std::optional<Symbol> at(VirtAddr address) const override {
    std::optional<Symbol> best;
    for (const Symbol& symbol : all_)
      if (symbol.address <= address) best = symbol;
    return best;
  }

 private:
  std::vector<Symbol> all_{{"panic", base + 0x1000, 0x40, 'T'}, {"jiffies", base + 0x2000, 8, 'D'}};
};

inline Task task(std::uint64_t tid, std::string comm, char state) {
  Task t;
  t.pid = t.tid = tid;
  t.comm = std::move(comm);
  t.state = state;
  t.cpu = static_cast<unsigned>(tid % 4);
  t.handle = base + 0x8000 + tid;
  return t;
}

struct Options {
  std::string_view arch = "x86_64";  // its registers are known of this one only
  std::size_t more_tasks = 0;
  std::string vmlinux = {};
  std::vector<std::string> symbol_dirs = {};
  std::string build_id = {};
  std::optional<VirtAddr> first = {};  // of the image
};

class FakeOs final : public OsModel {
 public:
  FakeOs(const arch::Arch& arch, std::size_t more_tasks) : arch_(arch), more_tasks_(more_tasks) {}
  std::string_view name() const override { return "linux"; }
  std::string release() const override { return "6.1.0-fake"; }
  Result<std::vector<Task>> tasks(std::vector<std::string>&) const override {
    std::vector<Task> all;
    all.push_back(task(42, "bash", 'R'));
    all.back().crashed = all.back().on_cpu = true;
    all.back().cpu = 1;
    all.push_back(task(1, "systemd", 'S'));
    all.push_back(task(2, "kthreadd", 'S'));
    all.back().kernel_thread = true;
    all.push_back(task(7, std::string("<&\x1b]0;x\x07\"}#$*\xff", 14), 'D'));
    all.push_back(task(7, "twin", 'D'));  // a damaged list can hold a tid twice
    all.push_back(task(~std::uint64_t{0}, "huge", 'S'));
    all.push_back(task(43, "thread", 'S'));
    all.back().pid = 1;
    for (unsigned cpu = 0; cpu < 2; ++cpu) {
      all.push_back(task(0, "swapper/" + std::to_string(cpu), 'R'));
      all.back().cpu = cpu;
      all.back().idle = all.back().kernel_thread = true;
      all.back().on_cpu = cpu == 0;
    }
    for (std::size_t i = 0; i < more_tasks_; ++i) all.push_back(task(1000 + i, "worker/" + std::to_string(i), 'S'));
    return all;
  }
  Result<std::vector<Module>> modules(std::vector<std::string>&) const override {
    std::vector<Module> all(2);
    all[0] = {.name = "dummy_mod", .base = base + 0xa000, .size = 0x2000};
    all[0].sections = {{".text", base + 0xa000}, {".data", base + 0xb000}};
    all[1] = {.name = "other", .base = base + 0xd000, .size = 0x1000};
    return all;
  }
  std::vector<Cpu> cpus() const override { return {{0, true, std::nullopt}, {1, true, std::nullopt}, {2, false, std::nullopt}}; }
  Result<RegisterFile> registers(const Task& t) const override {
    if (t.tid == 2) return fail(Errc::not_in_dump, t.handle.raw);
    RegisterFile registers(arch_);
    registers.set("rip", base.raw + 0x1010 + t.tid % 16);
    registers.set("rsp", base.raw + 0x7000);
    registers.set("rbp", base.raw + 0x7040);
    if (t.on_cpu) registers.set("rax", 0x1122334455667788);
    return registers;
  }
  Result<std::vector<LogLine>> log() const override {
    return std::vector<LogLine>{{1'500'000, 5, "Linux version 6.1.0-fake"}, {2'000'001'000, 0, "evil \x1b[31m line \xff"}};
  }
  std::string panic_message() const override { return "sysrq triggered crash"; }

 private:
  const arch::Arch& arch_;
  std::size_t more_tasks_;
};

inline Kernel make_kernel(const Options& options = {}) {
  KernelParts parts;
  parts.path = "/tmp/vmcore";
  parts.arch = arch::find(options.arch);
  parts.dump.format = "fake";
  parts.dump.arch = parts.arch;
  parts.dump.memory = std::make_unique<Memory>();
  parts.map.mappings = {{base, base + (mapped_size - 1), Linear{PhysAddr{0}}, "direct map"}};
  parts.map.slide = slide;
  parts.map.first = options.first;
  parts.map.mode = "4-level";
  parts.map.source = "the test";
  parts.map.release = "6.1.0-fake";
  parts.map.build_id = options.build_id;
  parts.symbols = std::make_unique<FakeSymbols>();
  parts.vmlinux = options.vmlinux;
  parts.symbol_dirs = options.symbol_dirs;
  parts.os = [more = options.more_tasks](const KernelView& view, const Dump&, const KernelMap&) -> Result<std::unique_ptr<OsModel>> {
    return std::unique_ptr<OsModel>(std::make_unique<FakeOs>(view.arch, more));
  };
  auto kernel = Kernel::from_parts(std::move(parts));
  if (!kernel) throw std::runtime_error(to_string(kernel.error()));
  return std::move(*kernel);
}

}  // namespace fake
