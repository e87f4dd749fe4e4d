// See documents.h.
#include "stub/documents.h"

#include <fmt/format.h>

#include <algorithm>
#include <initializer_list>
#include <set>
#include <utility>

#include "engine/integers.h"
#include "engine/symbols/elf_file.h"
#include "stub/report_text.h"

namespace kvm::rsp {
namespace {

constexpr std::uint64_t elf_section_allocated = 2;  // SHF_ALLOC

using Column = std::pair<std::string_view, std::string>;

std::string item(std::initializer_list<Column> columns) {
  std::string xml = "<item>\n";
  for (const auto& [title, text] : columns) xml += fmt::format("<column name=\"{}\">{}</column>\n", title, xml_text(text));
  return xml + "</item>\n";
}

// Addresses for sections that are no longer in memory.  gdb wants one for every section; 0 would put the section's symbols
// over those of the kernel that are linked low, and anything below the module would be shown as where it starts.  Nothing is
// ever mapped in the last megabytes (Documentation/arch/x86/x86_64/mm.rst), so that modules may share them.
class Nowhere {
 public:
  explicit Nowhere(const arch::Arch& arch) : page_(arch.page_size), next_((arch.pointer_bytes == 8 ? 0 : 1ull << 32) - (2u << 20)) {}
  std::uint64_t place(std::uint64_t size) {
    const std::uint64_t pages = std::min<std::uint64_t>(size / page_ + 1, 64);
    return std::exchange(next_, next_ + pages * page_);
  }

 private:
  std::uint64_t page_, next_;
};

// One element per allocated section in the file's order, even for empty ones: gdb pairs them off by position.
std::string library_xml(Shared::State& shared, const Module& module, const std::string& path) {
  Nowhere nowhere(shared.kernel.arch());
  const auto file = ElfFile::open(path);
  if (!file || module.sections.empty()) return {};
  std::string xml = fmt::format("<library name=\"{}\">", xml_text(shared.file_offered(path)));
  // A linked file moves as a whole; gdb adds what we say to where its sections are linked.
  if (const auto segment = file->type() == elf::et_rel ? std::nullopt : first_segment(file->file()))
    return xml + fmt::format("<segment address=\"{:#x}\"/></library>\n", module.base.raw + *segment);
  for (const ElfSection& section : file->sections()) {
    if (!(section.flags & elf_section_allocated)) continue;
    const auto placed = std::ranges::find(module.sections, section.name, &ModuleSection::name);
    const bool known = placed != module.sections.end() && placed->address.raw != 0;
    xml += fmt::format("<section address=\"{:#x}\"/>", known ? placed->address.raw : nowhere.place(section.size));
  }
  return xml + "</library>\n";
}

// It is linked where it belongs, so its one segment is not moved.
std::string unwind_xml(Shared::State& shared) {
  const std::string name = shared.unwind_file();
  const File* file = name.empty() ? nullptr : shared.file(std::string(Shared::State::unwind_name));
  const auto segment = file ? first_segment(*file) : std::nullopt;
  if (!segment) return {};
  return fmt::format("<library name=\"{}\"><segment address=\"{:#x}\"/></library>\n", xml_text(name), *segment);
}

std::string type_rows(Shared::State&) {
  std::string xml;
  for (const OsTable& table : os_tables().subspan(1))
    xml += item({{"Type", std::string(table.name)}, {"Description", std::string(table.description)}});
  return xml;
}

std::string process_rows(Shared::State& shared) {
  std::string xml;
  const auto& tasks = shared.kernel.tasks();
  if (!tasks) return xml;
  std::set<std::uint64_t> seen;
  for (const Task& task : *tasks) {
    // A process is its leader, or where threads have numbers of their own the first of them.
    if (task.process.raw ? !seen.insert(task.pid).second : task.pid != task.tid || task.idle) continue;
    xml += item({{"pid", std::to_string(task.pid)}, {"user", std::to_string(task.uid)}, {"command", task.comm},
                 {"cores", task.cpu ? std::to_string(*task.cpu) : ""}});
  }
  return xml;
}

std::string thread_rows(Shared::State& shared) {
  std::string xml;
  for (const Thread& thread : shared.threads) {
    if (!thread.task) continue;
    xml += item({{"pid", std::to_string(thread.task->pid)}, {"command", thread.task->shown_name()}, {"tid", std::to_string(thread.task->tid)},
                 {"core", thread.task->cpu ? std::to_string(*thread.task->cpu) : ""}, {"state", state_of(thread)}});
  }
  return xml;
}

std::string cpu_rows(Shared::State& shared) {
  std::string xml;
  for (const Cpu& cpu : shared.kernel.cpus()) {
    const auto running = std::ranges::find_if(shared.threads, [&](const Thread& thread) {
      return thread.task && thread.task->on_cpu && thread.task->cpu == cpu.number;
    });
    xml += item({{"processor", std::to_string(cpu.number)}, {"online", cpu.online ? "yes" : "no"},
                 {"registers", cpu.registers ? "yes" : "no"},
                 {"task", running == shared.threads.end() ? "" : name_of(*running)}});
  }
  return xml;
}

std::string module_rows(Shared::State& shared) {
  std::string xml;
  const auto& modules = shared.kernel.modules();
  if (!modules) return xml;
  for (const Module& module : *modules) {
    const auto file = shared.module_files().find(module.name);
    xml += item({{"name", module.name}, {"base", address_text(module.base.raw)}, {"size", std::to_string(module.size)},
                 {"file", file == shared.module_files().end() ? "" : file->second}});
  }
  return xml;
}

constexpr OsTable tables[] = {
    {"types", "Listing of the tables", type_rows},
    {"processes", "Listing of all processes", process_rows},
    {"threads", "Listing of all threads", thread_rows},
    {"cpus", "Listing of all CPUs", cpu_rows},
    {"modules", "Listing of all kernel modules", module_rows},
};

static_assert(std::size(tables) == std::tuple_size_v<decltype(Shared::State::os_tables)>);

}  // namespace

std::string libraries_xml(Shared::State& shared) {
  std::string xml = "<library-list>\n" + unwind_xml(shared);
  if (const auto& modules = shared.kernel.modules()) {
    for (const Module& module : *modules)
      if (const auto file = shared.module_files().find(module.name); file != shared.module_files().end())
        xml += library_xml(shared, module, file->second);
  }
  return xml + "</library-list>\n";
}

// System V ABI, "Program Header": the table's place in the ELF header, then p_type and p_vaddr of each entry.
std::optional<std::uint64_t> first_segment(const File& file) {
  const Bytes ident = file.view(0, 6);  // its bytes 4 and 5 are the class and the byte order
  if (ident.size() != 6) return std::nullopt;
  const bool wide = ident[4] == 2;
  const std::endian order = ident[5] == 2 ? std::endian::big : std::endian::little;
  auto number = [&](std::uint64_t offset, std::size_t bytes) -> std::uint64_t {
    const Bytes field = file.view(offset, bytes);
    return field.size() == bytes ? load_unsigned(field, order) : 0;
  };
  const std::size_t word = wide ? 8 : 4;
  const std::uint64_t table = number(wide ? 32 : 28, word), entry = number(wide ? 54 : 42, 2), count = number(wide ? 56 : 44, 2);
  constexpr std::uint64_t loadable = 1;  // PT_LOAD
  for (std::uint64_t i = 0; i < count; ++i)
    if (const std::uint64_t at = table + i * entry; number(at, 4) == loadable) return number(at + (wide ? 16 : 8), word);
  return std::nullopt;
}

std::span<const OsTable> os_tables() { return tables; }

const OsTable* find_os_table(std::string_view name) {
  if (name.empty()) return &tables[0];
  const auto* found = std::ranges::find(tables, name, &OsTable::name);
  return found == std::end(tables) ? nullptr : found;
}

std::string os_table_xml(Shared::State& shared, const OsTable& table) {
  return fmt::format("<?xml version=\"1.0\"?>\n<!DOCTYPE osdata SYSTEM \"osdata.dtd\">\n<osdata type=\"{}\">\n{}</osdata>\n", table.name,
                     table.rows(shared));
}

}  // namespace kvm::rsp
