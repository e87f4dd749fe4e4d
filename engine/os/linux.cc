// Linux.  Its parts are in engine/os/linux/; this is the row and the model that ties them together.
#include "engine/os/linux/map.h"
#include "engine/os/linux/model.h"
#include "engine/os/linux/orc.h"
#include "engine/os/linux/pieces.h"
#include "engine/os/linux/statistics.h"
#include "engine/symbols/btf.h"

namespace kvm {
namespace {

class LinuxModel final : public OsModel {
 public:
  LinuxModel(const KernelView& view, const Dump& dump, const KernelMap& map)
      : view_(view), release_(map.release), map_(map), cpus_(os_linux::find_cpus(view, cpu_states(dump.notes, view.arch))) {
    if (release_.empty()) release_ = read_release();
    statistics_ = os_linux::make_statistics(view_, *this, cpus_);
  }

  std::string_view name() const override { return "linux"; }
  std::string release() const override { return release_; }

  Result<std::vector<Task>> tasks(std::vector<std::string>& remarks) const override {
    return os_linux::find_tasks(view_, cpus_, remarks);
  }
  Result<std::vector<Module>> modules(std::vector<std::string>& remarks) const override {
    return os_linux::find_modules(view_, remarks);
  }
  std::vector<Cpu> cpus() const override {
    std::vector<Cpu> cpus;
    for (const auto& cpu : cpus_) cpus.push_back({cpu.number, cpu.online, cpu.registers});
    return cpus;
  }
  std::vector<Mapping> mappings() const override { return os_linux::vmemmap_blocks(view_); }
  std::optional<Mapping> own_memory(const Cpu& cpu) const override;
  Result<RegisterFile> registers(const Task& task) const override;
  Result<AddressSpace> user_space(const Task& task) const override;
  Result<std::vector<LogLine>> log() const override { return os_linux::read_log(view_); }
  std::string panic_message() const override;
  Result<std::unique_ptr<Symbols>> module_symbols(const Module& module) const override {
    return os_linux::read_module_symbols(view_, module).map([](auto&& symbols) -> std::unique_ptr<Symbols> { return std::move(symbols); });
  }
  Result<std::unique_ptr<Types>> module_types(const Module& module) const override;
  const Statistics* statistics() const override { return statistics_.get(); }
  Result<Pieces> pieces() const override {
    Pieces all = TRY(os_linux::collect_pieces(view_, map_));
    os_linux::add_rows_of_cpus(view_, view_.symbols, cpus(), all.pieces.front().unwind);
    return all;
  }

 private:
  std::string read_release() const {
    auto at = view_.address_of("init_uts_ns");
    auto text = at ? Record(view_, "uts_namespace", *at).text("name.release") : fail(Errc::not_found);
    return text.value_or("");
  }

  const KernelView& view_;
  std::string release_;
  KernelMap map_;
  std::vector<os_linux::CpuSlot> cpus_;
  std::unique_ptr<Statistics> statistics_;
};

Result<std::unique_ptr<Types>> LinuxModel::module_types(const Module& module) const {
  std::vector<std::string> ignored;
  auto all = os_linux::read_module_btf(view_, ignored);
  const auto own = all.find(module.handle.raw);
  if (own == all.end()) return fail(Errc::not_found, module.name + ": the kernel keeps no BTF of it");
  return open_split_btf(std::move(own->second), TRY(os_linux::read_kernel_btf(view_, view_.symbols)), view_.arch.pointer_bytes);
}

// Dumps hold absolute memory; each CPU's first 8 KiB are elsewhere in it (z/Architecture Principles of Operation, chapter 3,
// "Prefixing").  The other half of the swap, by which the CPU has absolute 0 in that place, is left out: by the addresses there
// people mean what is there.
std::optional<Mapping> LinuxModel::own_memory(const Cpu& cpu) const {
  const arch::LinuxLayout& layout = *view_.arch.linux_layout;
  if (!layout.first_shared) return std::nullopt;
  std::uint64_t at = cpu.registers ? cpu.registers->get(layout.own_register).value_or(0) : 0;
  if (const auto pointers = view_.address_of(layout.own_symbol); !at && pointers)
    if (const auto own = view_.pointer_at(*pointers + std::uint64_t{cpu.number} * view_.arch.pointer_bytes); own && own->raw)
      at = view_.space.translate(*own).value_or(PhysAddr{}).raw;
  if (!at) return std::nullopt;
  return Mapping{{0}, {layout.first_shared - 1}, Linear{{at}}, "prefix area of CPU " + std::to_string(cpu.number)};
}

// A process's root table, found through the direct map; the modes and the upper half's root are the kernel's.
Result<AddressSpace> LinuxModel::user_space(const Task& task) const {
  const Record mm = TRY(Record(view_, "task_struct", task.handle).follow("mm", "mm_struct"));
  if (!mm.address().raw) return fail(Errc::not_found, task.comm + " has no user memory (a kernel thread, or it has exited)");
  const VirtAddr pgd = TRY(mm.pointer("pgd"));
  for (const Mapping& mapping : view_.space.mappings())
    if (const auto* kernel_table = std::get_if<PageTable>(&mapping.how)) {
      PageTable table = *kernel_table;
      table.low = TRY(view_.space.translate(pgd));
      if (table.mode->halves != arch::Halves::two_roots) table.high = table.low;
      // Processes may have fewer or more levels than the kernel (s390).
      for (const arch::PagingMode& mode : view_.arch.paging)
        if (PageTable other = table; mode.root.mask && (other.mode = &mode, fits_root(view_.space.memory(), other))) table = other;
      return AddressSpace(view_.space.memory(), {{{0}, {~std::uint64_t{0}}, table, "page tables of pid " + std::to_string(task.pid)}});
    }
  return fail(Errc::unsupported, "the kernel's page tables are not known");
}

// A task on a CPU has the CPU's registers.  When that CPU left none, its saved frame is stale and not shown.
Result<RegisterFile> LinuxModel::registers(const Task& task) const {
  for (const auto& cpu : cpus_) {
    if (!task.on_cpu || task.cpu != cpu.number) continue;
    if (cpu.registers) return *cpu.registers;
    return fail(Errc::not_found, "CPU " + std::to_string(cpu.number) + " left no registers in the dump");
  }
  return os_linux::saved_registers(view_, task.handle);
}

std::string LinuxModel::panic_message() const {
  auto lines = log();
  if (!lines) return {};
  // The panic itself, else the oops that came before a dump by other means.
  for (std::string_view what : {"Kernel panic - not syncing", "BUG: ", "Oops: ", "general protection fault"})
    for (auto line = lines->rbegin(); line != lines->rend(); ++line)
      if (line->text.starts_with(what)) return line->text;
  return {};
}

}  // namespace

extern const OsKind linux_os;
const OsKind linux_os{
    .name = "linux",
    .title = "Linux",
    .file_word = "vmlinux",
    .probe = [](const OsInput& input) { return input.arch.linux_layout != nullptr; },
    .map = os_linux::map_kernel,
    .own_symbols = [](const KernelView& view, const KernelMap& map, std::vector<std::string>& remarks) -> Result<std::unique_ptr<Symbols>> {
      return TRY(os_linux::read_kernel_symbols(view, map, remarks, remarks));
    },
    .own_types = [](const KernelView& view) -> Result<std::unique_ptr<Types>> {
      return open_btf(TRY(os_linux::read_kernel_btf(view, view.symbols)), view.arch.pointer_bytes);
    },
    .pieces = os_linux::collect_pieces,
    .open = [](const KernelView& view, const Dump& dump, const KernelMap& map) -> Result<std::unique_ptr<OsModel>> {
      TRY(view.address_of("init_task"));
      TRY(view.types.size_of("task_struct"));
      return std::make_unique<LinuxModel>(view, dump, map);
    },
};

}  // namespace kvm
