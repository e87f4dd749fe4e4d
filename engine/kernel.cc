// Opening a kernel, in order: dump, processor, kernel map, vmlinux, symbols, types, OS model.
#include "engine/kernel.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <mutex>

#include "engine/bare.h"
#include "engine/kernel_file.h"
#include "engine/symbols/btf.h"
#include "engine/symbols/ctf.h"
#include "engine/symbols/debug_files.h"
#include "engine/symbols/elf_file.h"
#include "engine/symbols/elf_symtab.h"

namespace kvm {

struct Kernel::State {
  std::string path;
  Dump dump;
  const arch::Arch* arch = nullptr;
  KernelMap map;
  std::optional<ElfFile> image;  // the vmlinux; symbols and types borrow from it
  std::unique_ptr<Symbols> symbols;
  std::unique_ptr<Types> types;
  std::optional<AddressSpace> space;
  std::optional<KernelView> view;
  std::unique_ptr<OsModel> os;
  std::vector<Cpu> cpus;
  std::map<unsigned, AddressSpace> cpu_spaces;  // of CPUs that have memory of their own
  std::string vmlinux, os_missing;
  std::string_view system, file_word;
  DebugFileQuery query;
  bool debug_files = true;
  std::optional<DebugFiles> files;
  Providers providers;
  std::vector<std::string> remarks;

  // On first use; `lock` guards remarks against the walks that add to them.
  mutable std::mutex lock;
  std::once_flag tasks_once, modules_once, lines_once, module_files_once;
  Result<std::vector<Task>> tasks = fail(Errc::not_found);
  Result<std::vector<Module>> modules = fail(Errc::not_found);
  std::unique_ptr<SourceLines> lines;
  std::optional<ModuleFiles> module_files;

  // Those of the whole kernel, after others that hide them.
  std::vector<Mapping> mappings_after(std::vector<Mapping> first) const {
    first.insert(first.end(), map.mappings.begin(), map.mappings.end());
    return first;
  }
};

namespace {

// What people look at first comes first: the panicking task, what runs, then by id.
void sort_tasks(std::vector<Task>& tasks) {
  auto rank = [](const Task& t) { return t.crashed ? 0 : t.on_cpu && !t.idle ? 1 : t.idle ? 3 : 2; };
  std::ranges::sort(tasks, {}, [&](const Task& t) { return std::tuple(rank(t), t.tid, t.cpu.value_or(0), t.handle); });
}

// Where a module's sections are the file's business.
void complete_modules(std::vector<Module>& modules, const DebugFiles* files) {
  for (Module& module : modules)
    if (const std::string path = files && module.placing == Module::Placing::from_file ? files->module(module.name, module.build_id) : ""; !path.empty())
      module.sections = place_sections(path, module.base);
}

Result<const arch::Arch*> choose_arch(const OpenOptions& options, const Dump& dump) {
  if (!options.arch.empty()) {
    if (const arch::Arch* arch = arch::find(options.arch)) return arch;
    std::string known;
    for (const arch::Arch* row : arch::arches()) known += (known.empty() ? "" : ", ") + std::string(row->name);
    return fail(Errc::bad_request, "unknown architecture '" + options.arch + "'; known: " + known);
  }
  if (dump.arch) return dump.arch;
  std::string why;
  for (const std::string& remark : dump.remarks) why += "; " + remark;
  return fail(Errc::unsupported, options.dump + ": the dump's machine is not one Inquest knows, or not said in the file (--arch says it)" + why);
}

// Types, best first: BTF in the vmlinux, BTF in the dump's own memory, DWARF, CTF.
std::unique_ptr<Types> find_types(const ElfFile& file, const std::string& path, const Providers& providers, const KernelView& raw,
                                  const OsKind& kind) {
  if (const ElfSection* btf = file.section(".BTF"))
    if (auto types = open_btf(file.contents(*btf), raw.arch.pointer_bytes)) return std::move(*types);
  if (kind.own_types)
    if (auto types = kind.own_types(raw)) return std::move(*types);
  if (providers.dwarf_types)
    if (auto types = providers.dwarf_types(path)) return std::move(*types);
  if (const ElfSection* ctf = file.section(".SUNW_ctf"))
    if (auto types = open_ctf(file.contents(*ctf), raw.arch.pointer_bytes)) return std::move(*types);
  return nullptr;
}

// What the kernel's structures need, from the vmlinux or from the kernel itself; why there is not all of it.
struct Knowledge {
  std::unique_ptr<Symbols> symbols;
  std::unique_ptr<Types> types;
  std::string missing, remark;
};

Result<Knowledge> from_vmlinux(const ElfFile& file, const std::string& path, const Providers& providers, const KernelView& empty,
                               const KernelMap& map, const OsKind& kind, bool structures) {
  Knowledge known;
  known.symbols = TRY(open_elf_symbols(file, map.slide));
  if (!structures) return known;
  known.types = find_types(file, path, providers, {empty.arch, empty.space, *known.symbols, empty.types}, kind);
  if (!known.types && kind.needs_types) known.missing = path + ": has neither BTF nor DWARF, so kernel structures cannot be read";
  else if (!known.types) known.remark = path + ": has no debug information, so only what the kernel exports for debuggers is known of its structures";
  return known;
}

Knowledge from_dump(const KernelView& empty, const KernelMap& map, const OsKind& kind, std::vector<std::string>& remarks, bool structures) {
  Knowledge known;
  auto symbols = kind.own_symbols ? kind.own_symbols(empty, map, remarks) : fail(Errc::unsupported, std::string(kind.title) + " keeps no symbols in memory");
  if (symbols) known.symbols = std::move(*symbols);
  if (!structures) return known;
  const KernelView raw{empty.arch, empty.space, known.symbols ? *known.symbols : empty.symbols, empty.types};
  auto types = kind.own_types ? kind.own_types(raw) : fail(Errc::unsupported, std::string(kind.title) + " keeps no types in memory");
  if (types) known.types = std::move(*types);
  if (!symbols) known.missing = to_string(symbols.error());
  else if (!types) known.missing = "the dump alone gives symbols, but no types: " + to_string(types.error());
  return known;
}

}  // namespace

Kernel::Kernel(std::unique_ptr<State> state) : state_(std::move(state)) {}
Kernel::Kernel(Kernel&&) noexcept = default;
Kernel::~Kernel() = default;

// The OS model on what is known of the kernel: what open() and from_parts() share.
Result<Kernel> Kernel::assemble(std::unique_ptr<State> state, const OpenOs& open_os, const OsKind* kind) {
  State& s = *state;
  if (!s.space) s.space.emplace(*s.dump.memory, s.map.mappings);
  if (!s.symbols) s.symbols = no_symbols();
  if (!s.types) s.types = no_types();
  s.view.emplace(KernelView{*s.arch, *s.space, *s.symbols, *s.types});
  if (s.os_missing.empty() && open_os) {
    auto os = open_os(*s.view, s.dump, s.map);
    if (os) s.os = std::move(*os);
    else s.os_missing = "the kernel's structures are not known: " + to_string(os.error());
  }
  if (!s.os) {
    BareAnswers answers;
    if (kind && kind->pieces) answers.pieces = [&s, kind] { return kind->pieces(*s.view, s.map); };
    if (kind && kind->log_copy) answers.log = [&s, kind] { return kind->log_copy(s.dump, *s.arch); };
    if (kind) answers.panic_in = kind->panic_in;
    s.os = make_bare_model(*s.arch, s.dump, s.map.release, std::move(answers));
  }
  if (auto more = s.os->mappings(); !more.empty()) {
    s.map.mappings = s.mappings_after(std::move(more));
    *s.space = AddressSpace(*s.dump.memory, s.map.mappings);
  }
  s.cpus = s.os->cpus();
  for (const Cpu& cpu : s.cpus)
    if (auto own = s.os->own_memory(cpu)) s.cpu_spaces.emplace(cpu.number, AddressSpace(*s.dump.memory, s.mappings_after({std::move(*own)})));
  if (!s.os_missing.empty()) s.remarks.push_back(s.os_missing + (s.cpus.empty() ? "; CPUs and tasks are not known" : "; only CPUs are shown, not tasks"));
  s.query.release = s.os->release();
  if (s.debug_files) s.files.emplace(s.query);
  return Kernel(std::move(state));
}

// The steps of open(), each on what those before it found out.
struct Kernel::Opening {
  const OpenOptions& options;
  State& s;
  const OsKind* kind = nullptr;
  std::unique_ptr<Symbols> linked;     // of the kernel's file, where it was linked
  std::string unmapped;                // why there is no kernel map; empty: there is one
  std::vector<std::string> rejected;   // files of other builds

  Result<void> open_dump();
  Result<void> open_named_file();
  Result<void> choose_system();
  void take(const OsKind& system);
  void map_kernel();
  Result<void> find_file();
  Result<void> use_companion();
  Result<void> check_file();
  Result<void> learn();
};

Result<void> Kernel::Opening::open_dump() {
  const arch::Arch* forced = options.arch.empty() ? nullptr : arch::find(options.arch);
  s.dump = TRY(kvm::open_dump(options.dump, options.format, {forced, options.parts, options.key}));
  if (!s.dump.arch && !options.vmlinux.empty()) take_arch(TRY(ElfFile::open(options.vmlinux)), s.dump);
  s.arch = TRY(choose_arch(options, s.dump));
  s.remarks = s.dump.remarks;
  std::error_code ignored;
  if (!s.path.empty()) s.query.dump_folder = std::filesystem::weakly_canonical(s.path, ignored).parent_path().string();
  return {};
}

// A file that the user named helps to find the kernel in memory.
Result<void> Kernel::Opening::open_named_file() {
  if (options.vmlinux.empty()) return {};
  s.vmlinux = options.vmlinux;
  s.image = TRY(open_kernel_file(s.vmlinux, {}, *s.arch));
  TRY(use_companion());
  linked = TRY(open_elf_symbols(*s.image, 0));
  return {};
}

Result<void> Kernel::Opening::use_companion() {
  const std::string companion = debug_companion(*s.image, s.query);
  if (companion.empty()) return {};
  s.image = TRY(open_kernel_file(companion, s.map.build_id, *s.arch));
  s.vmlinux = companion;
  return {};
}

Result<void> Kernel::Opening::choose_system() {
  for (const OsKind* row : os_kinds()) {
    const bool wanted = options.os.empty() ? row->probe({s.dump, *s.arch, linked.get(), {}, {}}) : row->name == options.os;
    if (wanted && !kind) take(*row);
  }
  if (!kind && !options.os.empty()) return fail(Errc::bad_request, "unknown operating system '" + options.os + "'");
  if (!kind) return fail(Errc::unsupported, options.dump + ": no operating system that Inquest knows runs on " + std::string(s.arch->name));
  return {};
}

void Kernel::Opening::take(const OsKind& system) {
  kind = &system;
  s.system = system.title;
  s.file_word = system.file_word;
  s.query.places = system.places;
}

void Kernel::Opening::map_kernel() {
  const OsInput input{s.dump, *s.arch, linked.get(), options.slide, options.phys_base};
  auto map = kind->map(input);
  // A file that names no system, without a kernel of the likeliest one.
  const bool open_question = options.os.empty() && options.vmlinux.empty() && s.dump.system.empty();
  for (const OsKind* row : os_kinds())
    if (!map && row != kind && open_question)
      if (auto other = row->map(input)) {
        map = std::move(other);
        take(*row);
      }
  if (map) s.map = std::move(*map);
  unmapped = map ? "" : "virtual addresses cannot be translated: " + to_string(map.error());
}

Result<void> Kernel::Opening::find_file() {
  const std::string build_id = s.map.build_id;
  s.query.release = s.map.release.empty() ? s.dump.release : s.map.release;
  s.query.build_id = build_id;
  if (s.image && unmapped.empty()) TRY(open_kernel_file(s.vmlinux, build_id, *s.arch));
  if (s.image || !options.debug_files) return {};
  s.vmlinux = DebugFiles(s.query).vmlinux(rejected);
  if (s.vmlinux.empty() && !build_id.empty() && options.providers.fetch_debug_file)
    s.vmlinux = options.providers.fetch_debug_file(build_id, options.progress).value_or("");
  if (s.vmlinux.empty()) return {};
  s.image = TRY(open_kernel_file(s.vmlinux, build_id, *s.arch));
  TRY(use_companion());
  if (unmapped.empty() && !s.map.needs_symbols) return {};
  linked = TRY(open_elf_symbols(*s.image, 0));
  if (auto again = kind->map({s.dump, *s.arch, linked.get(), options.slide, options.phys_base})) {
    s.map = std::move(*again);
    unmapped.clear();
  }
  return {};
}

// Where the dump does not tell its kernel's build id, its memory may.
Result<void> Kernel::Opening::check_file() {
  if (!unmapped.empty()) s.remarks.push_back(unmapped);
  s.space.emplace(*s.dump.memory, s.map.mappings);
  if (const std::string why = s.image && s.map.build_id.empty() ? contradiction(*s.image, *s.space, s.map.slide) : ""; !why.empty()) {
    if (!options.vmlinux.empty()) return fail(Errc::bad_data, why);
    s.remarks.push_back(why);
    s.image.reset();
    s.vmlinux.clear();
  }
  add_tree_of(s.vmlinux, s.query);
  if (kind->places && !s.vmlinux.empty()) s.query.kernel_folder = std::filesystem::path(s.vmlinux).parent_path().string();
  if (s.map.build_id.empty() && s.image) s.map.build_id = s.image->build_id();
  return {};
}

// Symbols and types.
Result<void> Kernel::Opening::learn() {
  const auto no_names = no_symbols();
  const auto no_structures = no_types();
  const KernelView empty{*s.arch, *s.space, *no_names, *no_structures};
  Knowledge known = s.image ? TRY(from_vmlinux(*s.image, s.vmlinux, s.providers, empty, s.map, *kind, options.structures))
                            : from_dump(empty, s.map, *kind, s.remarks, options.structures);
  s.symbols = std::move(known.symbols);
  s.types = std::move(known.types);
  s.os_missing = std::move(known.missing);
  if (!known.remark.empty()) s.remarks.push_back(std::move(known.remark));
  if (!s.image && options.debug_files) {
    const std::string why = missing_kernel_file(s.map, *kind, rejected);
    if (s.os_missing.empty()) s.remarks.push_back(why + "; symbols and types are the kernel's own, from the dump: there are no source lines, arguments and local variables");
    else s.os_missing = why + "; " + s.os_missing;
  }
  if (s.map.mappings.empty() && s.os_missing.empty()) s.os_missing = "virtual addresses cannot be translated";
  return {};
}

Result<Kernel> Kernel::open(const OpenOptions& options) {
  auto state = std::make_unique<State>();
  state->path = options.dump;
  state->providers = options.providers;
  state->query.symbol_dirs = options.symbol_dirs;
  state->debug_files = options.debug_files;
  Opening opening{.options = options, .s = *state};
  TRY(opening.open_dump());
  TRY(opening.open_named_file());
  TRY(opening.choose_system());
  opening.map_kernel();
  TRY(opening.find_file());
  TRY(opening.check_file());
  TRY(opening.learn());
  return assemble(std::move(state), options.structures ? OpenOs(opening.kind->open) : OpenOs(), opening.kind);
}

Result<Kernel> Kernel::from_parts(KernelParts parts) {
  auto state = std::make_unique<State>();
  state->path = std::move(parts.path);
  state->dump = std::move(parts.dump);
  state->arch = parts.arch;
  state->map = std::move(parts.map);
  state->symbols = std::move(parts.symbols);
  state->types = std::move(parts.types);
  state->vmlinux = std::move(parts.vmlinux);
  state->system = parts.system;
  state->file_word = parts.file_word;
  state->query.symbol_dirs = std::move(parts.symbol_dirs);
  state->remarks = std::move(parts.remarks);
  state->providers = parts.providers;
  return assemble(std::move(state), parts.os, nullptr);
}

const std::string& Kernel::path() const { return state_->path; }
const Dump& Kernel::dump() const { return state_->dump; }
const arch::Arch& Kernel::arch() const { return *state_->arch; }
const AddressSpace& Kernel::space() const { return *state_->space; }
const AddressSpace& Kernel::space_on(std::optional<unsigned> cpu) const {
  const auto found = cpu ? state_->cpu_spaces.find(*cpu) : state_->cpu_spaces.end();
  return found == state_->cpu_spaces.end() ? space() : found->second;
}
const KernelMap& Kernel::map() const { return state_->map; }
const Symbols& Kernel::symbols() const { return *state_->symbols; }
const Types& Kernel::types() const { return *state_->types; }
const OsModel& Kernel::os() const { return *state_->os; }
const KernelView& Kernel::view() const { return *state_->view; }
const std::string& Kernel::vmlinux() const { return state_->vmlinux; }
std::string_view Kernel::system() const { return state_->system; }
std::string_view Kernel::file_word() const { return state_->file_word; }
const std::string& Kernel::build_id() const { return state_->map.build_id; }
const std::string& Kernel::os_missing() const { return state_->os_missing; }
const std::vector<Cpu>& Kernel::cpus() const { return state_->cpus; }

std::vector<std::string> Kernel::remarks() const {
  std::scoped_lock hold(state_->lock);
  return state_->remarks;
}

const Result<std::vector<Task>>& Kernel::tasks() const {
  std::call_once(state_->tasks_once, [this] {
    std::vector<std::string> remarks;
    state_->tasks = state_->os->tasks(remarks);
    if (state_->tasks) sort_tasks(*state_->tasks);
    std::scoped_lock hold(state_->lock);
    state_->remarks.insert(state_->remarks.end(), remarks.begin(), remarks.end());
  });
  return state_->tasks;
}

const Result<std::vector<Module>>& Kernel::modules() const {
  std::call_once(state_->modules_once, [this] {
    std::vector<std::string> remarks;
    state_->modules = state_->os->modules(remarks);
    if (state_->modules) complete_modules(*state_->modules, state_->files ? &*state_->files : nullptr);
    std::scoped_lock hold(state_->lock);
    state_->remarks.insert(state_->remarks.end(), remarks.begin(), remarks.end());
  });
  return state_->modules;
}

const ModuleFiles* Kernel::module_files() const {
  std::call_once(state_->module_files_once, [this] {
    if (modules()) state_->module_files.emplace(*modules(), state_->files ? &*state_->files : nullptr, *state_->os, state_->providers.module_lines);
  });
  return state_->module_files ? &*state_->module_files : nullptr;
}

std::optional<ModuleSymbol> Kernel::find_symbol(std::string_view name) const {
  if (auto symbol = symbols().find(name)) return ModuleSymbol{*symbol, {}};
  return module_files() ? module_files()->find(name) : std::nullopt;
}

// In a module no symbol of the image means anything, and kernels' own symbols reach as far as to the next one.
std::optional<ModuleSymbol> Kernel::symbol_at(VirtAddr address) const {
  if (module_files() && module_files()->containing(address)) return module_files()->at(address);
  const auto symbol = symbols().at(address);
  return symbol ? std::optional(ModuleSymbol{*symbol, {}}) : std::nullopt;
}

std::vector<SourceLine> Kernel::lines_at(VirtAddr address) const {
  std::call_once(state_->lines_once, [this] {
    if (!state_->providers.source_lines || state_->vmlinux.empty()) return;
    if (auto lines = state_->providers.source_lines(state_->vmlinux, state_->map.slide)) state_->lines = std::move(*lines);
  });
  if (module_files() && module_files()->containing(address)) return module_files()->lines_at(address);
  return state_->lines ? state_->lines->at(address) : std::vector<SourceLine>{};
}

std::string Kernel::module_file(const Module& module) const { return module_files() ? module_files()->path(module) : std::string(); }

}  // namespace kvm
