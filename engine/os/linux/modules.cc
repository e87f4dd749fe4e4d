// Loaded modules and where each of their sections lies.
#include "engine/os/linux/list.h"
#include "engine/os/linux/model.h"

namespace kvm::os_linux {
namespace {

constexpr std::uint64_t most_sections = 4096, memory_kinds = 7;  // enum mod_mem_type

// Since v6.4 a module's memory is an array by purpose, text first; before that two layouts (v4.5), before that plain members.
void read_memory(const Record& module, Module& out) {
  if (module.has("mem")) {
    out.base = module.pointer("mem[0].base").value_or(VirtAddr{});
    for (std::uint64_t i = 0; i < memory_kinds; ++i) out.size += module.number("mem[" + std::to_string(i) + "].size").value_or(0);
    return;
  }
  const bool layouts = module.has("core_layout");
  out.base = module.pointer(layouts ? "core_layout.base" : "module_core").value_or(VirtAddr{});
  for (std::string_view size : {layouts ? "core_layout.size" : "core_size", layouts ? "init_layout.size" : "init_size"})
    out.size += module.number(size).value_or(0) & 0xffff'ffff;
}

// sysfs keeps each section's name and address; the attribute lost its wrapper in v6.14.
void read_sections(const KernelView& view, const Record& module, Module& out) {
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
    if (auto text = view.text_at(*name, 128)) out.sections.push_back({*text, *address});
  }
}

std::string read_build_id(const KernelView& view, const Record& module) {
  auto at = module.address_of("build_id");  // CONFIG_STACKTRACE_BUILD_ID
  std::uint8_t bytes[20];
  if (!at || view.space.read(*at, bytes).value_or(0) != sizeof bytes) return {};
  std::string hex;
  bool any = false;
  for (std::uint8_t byte : bytes) {
    hex += "0123456789abcdef"[byte >> 4];
    hex += "0123456789abcdef"[byte & 15];
    any |= byte != 0;
  }
  return any ? hex : std::string();
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
    read_memory(record, module);
    read_sections(view, record, module);
    module.build_id = read_build_id(view, record);
    modules.push_back(std::move(module));
  });
  if (!why.empty()) remarks.push_back("the list of modules is cut short: " + why);
  return modules;
}

}  // namespace kvm::os_linux
