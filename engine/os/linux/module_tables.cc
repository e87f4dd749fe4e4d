// What the kernel keeps of a module's symbols: for its own backtraces, the useful part of the ELF symbol table
// (kernel/module/kallsyms.c, add_kallsyms()).
#include "engine/os/linux/pieces.h"

#include <algorithm>

#include "engine/integers.h"

namespace kvm::os_linux {
namespace {

constexpr std::uint64_t most_symbols = 1 << 20, most_text = 64 << 20, longest_name = 512;

}  // namespace

// Since v4.5 the tables are in a struct mod_kallsyms, before that in struct module itself.
Result<std::unique_ptr<Kallsyms>> read_module_symbols(const KernelView& view, const Module& module) {
  const Record record(view, "module", module.handle);
  const Record tables = record.has("kallsyms") ? TRY(record.follow("kallsyms", "mod_kallsyms")) : record;
  const VirtAddr symtab = TRY(tables.pointer("symtab")), strtab = TRY(tables.pointer("strtab"));
  const std::uint64_t count = std::min(TRY(tables.number("num_symtab")) & 0xffff'ffff, most_symbols);
  if (!symtab.raw || !count) return fail(Errc::not_found, module.name + ": the kernel keeps none of its symbols");
  const ImageMemory memory{view.arch, view.space};

  ModuleKallsyms found{view.arch.endian, view.arch.pointer_bytes, {}, {}, {}};
  const std::size_t bytes = view.arch.pointer_bytes == 4 ? 16 : 24;
  found.symtab = read_table(memory, symtab, count * bytes);
  std::uint64_t last_name = 0;  // nobody says how long the names are
  for (std::uint64_t i = 0; i < count; ++i)
    last_name = std::max<std::uint64_t>(last_name, load<std::uint32_t>(found.symtab.bytes.data() + i * bytes, view.arch.endian));
  found.strtab = read_table(memory, strtab, std::min(last_name + longest_name, most_text));
  if (auto kinds = tables.pointer("typetab"); kinds && kinds->raw) found.kinds = read_table(memory, *kinds, count);
  return Kallsyms::open(found);
}

}  // namespace kvm::os_linux
