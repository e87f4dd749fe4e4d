// Loaded modules and where each of their sections lies.
#include <algorithm>

#include "engine/integers.h"
#include "engine/os/linux/list.h"
#include "engine/os/linux/model.h"

namespace kvm::os_linux {
namespace {

constexpr std::uint64_t most_sections = 4096, memory_kinds = 7;  // enum mod_mem_type

struct Area {
  VirtAddr base;
  std::uint64_t size;
};

// Since v6.4 a module's memory is an array by purpose, text first; before that two layouts (v4.5), before that plain
// members.  Areas that were freed after start-up have no size.
std::vector<Area> read_areas(const Record& module) {
  std::vector<Area> areas;
  auto add = [&](const std::string& base, const std::string& size) {
    areas.push_back({module.pointer(base).value_or(VirtAddr{}), module.number(size).value_or(0) & 0xffff'ffff});
  };
  if (module.has("mem")) {
    for (std::uint64_t i = 0; i < memory_kinds; ++i) {
      const std::string area = "mem[" + std::to_string(i) + "]";
      add(area + ".base", area + ".size");
    }
  } else if (module.has("core_layout")) {
    add("core_layout.base", "core_layout.size");
    add("init_layout.base", "init_layout.size");
  } else {
    add("module_core", "core_size");
    add("module_init", "init_size");
  }
  return areas;
}

// sysfs goes on showing the addresses of freed sections, where another module may lie by now.
bool alive(const std::vector<Area>& areas, VirtAddr address) {
  return std::ranges::any_of(areas, [&](const Area& area) { return address >= area.base && address - area.base < area.size; });
}

// sysfs keeps each section's name and address; the attribute lost its wrapper in v6.14.
void read_sections(const KernelView& view, const Record& module, const std::vector<Area>& areas, Module& out) {
  auto attributes = module.follow("sect_attrs", "module_sect_attrs");
  if (!attributes || !attributes->address().raw) return;
  const bool wrapped = view.types.size_of("module_sect_attr").has_value();
  const std::string type = wrapped ? "module_sect_attr" : "bin_attribute";
  auto array = attributes->address_of("attrs");
  auto stride = view.types.size_of(type);
  const std::uint64_t count = std::min(attributes->number("nsections").value_or(most_sections), most_sections);
  for (std::uint64_t i = 0; array && stride && i < count; ++i) {
    const Record section(view, type, *array + i * *stride);
    auto name = section.pointer(wrapped ? "battr.attr.name" : "attr.name");
    auto address = section.pointer(wrapped ? "address" : "private");
    if (!name || !address || !name->raw) break;
    if (!alive(areas, *address)) continue;
    if (auto text = view.text_at(*name, 128)) out.sections.push_back({*text, *address});
  }
}

std::string hex_of(Bytes bytes) {
  std::string hex;
  for (std::uint8_t byte : bytes) {
    hex += "0123456789abcdef"[byte >> 4];
    hex += "0123456789abcdef"[byte & 15];
  }
  return hex;
}

// The build id's ELF note stays loaded: name size, description size, type 3, "GNU", description.
std::string read_build_id(const KernelView& view, const Module& module) {
  for (const ModuleSection& section : module.sections) {
    if (section.name != ".note.gnu.build-id") continue;
    std::uint8_t note[36];
    if (view.space.read(section.address, note).value_or(0) != sizeof note) return {};
    const bool plausible = load<std::uint32_t>(note, view.arch.endian) == 4 && load<std::uint32_t>(note + 4, view.arch.endian) == 20 &&
                           load<std::uint32_t>(note + 8, view.arch.endian) == 3;
    return plausible ? hex_of(Bytes(note).subspan(16)) : std::string();
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
    Module module;
    module.name = *name;
    const std::vector<Area> areas = read_areas(record);
    module.base = areas.front().base;
    for (const Area& area : areas) module.size += area.size;
    read_sections(view, record, areas, module);
    module.build_id = read_build_id(view, module);
    modules.push_back(std::move(module));
  });
  if (!why.empty()) remarks.push_back("the list of modules is cut short: " + why);
  return modules;
}

}  // namespace kvm::os_linux
