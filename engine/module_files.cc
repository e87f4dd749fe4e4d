// One entry per module; each opens its own file under its own once_flag.
#include "engine/module_files.h"

#include <mutex>

#include "engine/symbols/elf_file.h"
#include "engine/symbols/elf_symtab.h"

namespace kvm {

struct ModuleFiles::Entry {
  std::once_flag path_once, symbols_once, lines_once;
  std::string path;
  std::optional<ElfFile> file;
  std::unique_ptr<Symbols> symbols;
  std::unique_ptr<SourceLines> lines;
};

namespace {

std::vector<std::pair<std::string, VirtAddr>> sections_of(const Module& module) {
  std::vector<std::pair<std::string, VirtAddr>> sections;
  for (const ModuleSection& section : module.sections) sections.emplace_back(section.name, section.address);
  return sections;
}

// Nothing of another part of the module's memory is nearest to an address, whatever lies between.
bool same_area(const Module& module, VirtAddr a, VirtAddr b) {
  for (const ModuleArea& area : module.areas)
    if (a >= area.base && a - area.base < area.size) return b >= area.base && b - area.base < area.size;
  return true;
}

}  // namespace

// FreeBSD's linker (link_elf_load_file() in sys/kern/link_elf_obj.c) and its boot loader (stand/common/load_elf_obj.c) place what has
// contents or reserves memory, in the order of the section table.
std::vector<ModuleSection> place_sections(const std::string& path, VirtAddr base) {
  constexpr std::uint32_t progbits = 1, nobits = 8, init_array = 14, fini_array = 15, x86_64_unwind = 0x7000'0001;
  std::vector<ModuleSection> sections;
  const auto file = ElfFile::open(path);
  if (!file) return sections;
  std::uint64_t next = base.raw;
  for (const ElfSection& section : file->sections()) {
    if (!(section.flags & elf::shf_alloc) || section.size == 0) continue;
    if (file->type() != elf::et_rel) {
      sections.push_back({section.name, base + section.addr});
      continue;
    }
    const std::uint32_t type = section.type;
    if (type != progbits && type != nobits && type != init_array && type != fini_array && type != x86_64_unwind) continue;
    if (section.align > 1 && (section.align & (section.align - 1)) == 0) next = (next + section.align - 1) & ~(section.align - 1);
    sections.push_back({section.name, {next}});
    next += section.size;
  }
  return sections;
}

ModuleFiles::ModuleFiles(const std::vector<Module>& modules, const DebugFiles* files, const OsModel& os, OpenModuleLines open_lines)
    : modules_(modules), files_(files), os_(os), open_lines_(open_lines) {
  for (std::size_t i = 0; i < modules.size(); ++i) entries_.push_back(std::make_unique<Entry>());
}
ModuleFiles::~ModuleFiles() = default;

ModuleFiles::Entry& ModuleFiles::entry(std::size_t index) const {
  Entry& e = *entries_[index];
  std::call_once(e.path_once, [&] {
    if (files_) e.path = files_->module(modules_[index].name, modules_[index].build_id);
  });
  return e;
}

ModuleFiles::Entry& ModuleFiles::opened(std::size_t index) const {
  Entry& e = entry(index);
  std::call_once(e.symbols_once, [&] {
    if (auto file = e.path.empty() ? fail(Errc::not_found) : ElfFile::open(e.path)) {
      e.file = std::move(*file);
      if (auto symbols = open_module_symbols(*e.file, sections_of(modules_[index]))) e.symbols = std::move(*symbols);
    }
    if (e.symbols) return;
    if (auto symbols = os_.module_symbols(modules_[index])) e.symbols = std::move(*symbols);
  });
  return e;
}

std::string ModuleFiles::path(const Module& module) const { return entry(static_cast<std::size_t>(&module - modules_.data())).path; }

const Module* ModuleFiles::containing(VirtAddr address) const {
  for (const Module& module : modules_)
    if (module.contains(address)) return &module;
  return nullptr;
}

std::optional<ModuleSymbol> ModuleFiles::find(std::string_view name) const {
  for (std::size_t i = 0; i < modules_.size(); ++i)
    if (const Entry& e = opened(i); e.symbols)
      if (auto symbol = e.symbols->find(name)) return ModuleSymbol{*symbol, modules_[i].name};
  return std::nullopt;
}

std::optional<ModuleSymbol> ModuleFiles::at(VirtAddr address) const {
  const Module* module = containing(address);
  if (!module) return std::nullopt;
  const Entry& e = opened(static_cast<std::size_t>(module - modules_.data()));
  auto symbol = e.symbols ? e.symbols->at(address) : std::nullopt;
  return symbol && same_area(*module, address, symbol->address) ? std::optional(ModuleSymbol{*symbol, module->name}) : std::nullopt;
}

std::vector<SourceLine> ModuleFiles::lines_at(VirtAddr address) const {
  const Module* module = containing(address);
  if (!module || !open_lines_) return {};
  Entry& e = entry(static_cast<std::size_t>(module - modules_.data()));
  std::call_once(e.lines_once, [&] {
    auto lines = e.path.empty() ? fail(Errc::not_found) : open_lines_(e.path, sections_of(*module));
    if (lines) e.lines = std::move(*lines);
  });
  return e.lines ? e.lines->at(address) : std::vector<SourceLine>{};
}

}  // namespace kvm
