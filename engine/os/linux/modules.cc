// Loaded modules and where each of their sections lies.
#include <algorithm>

#include "engine/integers.h"
#include "engine/os/linux/list.h"
#include "engine/os/linux/model.h"

namespace kvm::os_linux {
namespace {

constexpr std::uint64_t most_modules = 1 << 14, most_sections = 4096, memory_kinds = 7;  // enum mod_mem_type

// Since v6.4 a module's memory is an array by purpose, text first; before that two layouts (v4.5), before that plain
// members.  Areas that were freed after start-up have no size.
enum MemoryKind : std::uint8_t { mod_text, mod_data, mod_rodata, mod_ro_after_init, mod_init_text, mod_init_data, mod_init_rodata };

// The older kernels' areas begin with their code, then comes what is only read.
struct LayoutMembers {
  std::string base, size, text_size, read_only_size;
};

void add_layout(const Record& module, const LayoutMembers& names, std::vector<ModuleArea>& areas) {
  const VirtAddr base = module.pointer(names.base).value_or(VirtAddr{});
  const auto number = [&](const std::string& name) { return module.number(name).value_or(0) & 0xffff'ffff; };
  const std::uint64_t size = number(names.size), text = std::min(number(names.text_size), size);
  const std::uint64_t read_only = std::clamp(number(names.read_only_size), text, size);
  areas.push_back({base, text, true, false});
  areas.push_back({base + text, read_only - text, false, false});
  areas.push_back({base + read_only, size - read_only, false, true});
}

std::vector<ModuleArea> read_areas(const Record& module) {
  std::vector<ModuleArea> areas;
  if (module.has("mem")) {
    for (std::uint64_t i = 0; i < memory_kinds; ++i) {
      const std::string area = "mem[" + std::to_string(i) + "]";
      areas.push_back({module.pointer(area + ".base").value_or(VirtAddr{}), module.number(area + ".size").value_or(0) & 0xffff'ffff,
                       i == mod_text || i == mod_init_text, i == mod_data || i == mod_ro_after_init || i == mod_init_data});
    }
  } else if (module.has("core_layout")) {
    for (const std::string layout : {"core_layout", "init_layout"})
      add_layout(module, {layout + ".base", layout + ".size", layout + ".text_size", layout + ".ro_size"}, areas);
  } else {
    add_layout(module, {"module_core", "core_size", "core_text_size", "core_ro_size"}, areas);
    add_layout(module, {"module_init", "init_size", "init_text_size", "init_ro_size"}, areas);
  }
  return areas;
}

// Since v6.14 only the group's array of pointers says how many attributes there are: it ends with a null.
std::uint64_t count_sections(const KernelView& view, const Record& attributes) {
  if (auto count = attributes.number("nsections")) return std::min(*count, most_sections);
  auto pointers = attributes.first_number({"grp.bin_attrs", "grp.bin_attrs_new"});
  std::uint64_t count = 0;
  while (pointers && count < most_sections && view.pointer_at(VirtAddr{*pointers} + count * view.arch.pointer_bytes).value_or(VirtAddr{}).raw) ++count;
  return count;
}

// sysfs keeps each section's name and address; the attribute lost its wrapper in v6.14.  It goes on showing the addresses of
// freed sections, where another module may lie by now.
void read_sections(const KernelView& view, const Record& module, Module& out) {
  auto attributes = module.follow("sect_attrs", "module_sect_attrs");
  if (!attributes || !attributes->address().raw) return;
  const bool wrapped = view.types.size_of("module_sect_attr").has_value();
  const std::string type = wrapped ? "module_sect_attr" : "bin_attribute";
  auto array = attributes->address_of("attrs");
  auto stride = view.types.size_of(type);
  const std::uint64_t count = array && stride ? count_sections(view, *attributes) : 0;
  for (std::uint64_t i = 0; i < count; ++i) {
    const Record section(view, type, *array + i * *stride);
    auto name = wrapped ? section.first_number({"battr.attr.name", "name"}) : section.number("attr.name");  // v5.8
    auto address = section.pointer(wrapped ? "address" : "private");
    if (!name || !address || !*name) break;
    if (!out.contains(*address)) continue;
    if (auto text = view.text_at({*name}, 128)) out.sections.push_back({*text, *address});
  }
}

// The build id's ELF note stays loaded: name size, description size, type 3, "GNU", description.
std::string read_build_id(const KernelView& view, const Module& module) {
  for (const ModuleSection& section : module.sections) {
    if (section.name != ".note.gnu.build-id") continue;
    std::uint8_t note[36];
    if (view.space.read(section.address, note).value_or(0) != sizeof note) return {};
    const bool plausible = load<std::uint32_t>(note, view.arch.endian) == 4 && load<std::uint32_t>(note + 4, view.arch.endian) == 20 &&
                           load<std::uint32_t>(note + 8, view.arch.endian) == 3;
    return plausible ? hex_digits(Bytes(note).subspan(16)) : std::string();
  }
  return {};
}

}  // namespace

Result<std::vector<Module>> find_modules(const KernelView& view, std::vector<std::string>& remarks) {
  const VirtAddr head = TRY(view.address_of("modules"));
  const Member list = TRY(view.types.member("module", "list"));
  const auto unformed = view.types.enumerator("MODULE_STATE_UNFORMED");
  std::vector<Module> modules;
  const std::string why = walk_list(view, head, list.offset, [&](VirtAddr at) {
    const Record record(view, "module", at);
    auto name = record.text("name");
    auto state = record.number("state");
    if (!name || (unformed && state && static_cast<std::int64_t>(*state) == *unformed)) return;
    if (modules.size() == most_modules) return;
    Module module;
    module.handle = at;
    module.name = *name;
    module.areas = read_areas(record);
    module.base = module.areas.front().base;
    for (const ModuleArea& area : module.areas) module.size += area.size;
    read_sections(view, record, module);
    module.build_id = read_build_id(view, module);
    modules.push_back(std::move(module));
  });
  if (!why.empty()) remarks.push_back("the list of modules is cut short: " + why);
  return modules;
}

}  // namespace kvm::os_linux
