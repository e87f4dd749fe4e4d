// The facade: an opened dump with its symbols, types and OS model.  Immutable once opened; const methods may be called
// from any thread (tasks, modules, log and lines are computed on first use, under a lock).
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/module_files.h"
#include "engine/os.h"

namespace kvm {

// Ways to bring in what the engine must not depend on.  Null: do without.
struct Providers {
  // DWARF through LLVM: types where there is no BTF, and source lines.
  Result<std::unique_ptr<Types>> (*dwarf_types)(const std::string& path) = nullptr;
  Result<std::unique_ptr<SourceLines>> (*source_lines)(const std::string& path, std::uint64_t slide) = nullptr;
  OpenModuleLines module_lines = nullptr;
  // Asks a debuginfod server for a build id; the path of the file in the client's cache.
  Result<std::string> (*fetch_debug_file)(const std::string& build_id, const Progress& progress) = nullptr;
};

struct OpenOptions {
  std::string dump;
  std::vector<std::string> parts;      // the other files of a split set
  std::string key;                     // file with the private key of an encrypted dump
  std::string vmlinux;                 // empty: look for it
  std::vector<std::string> symbol_dirs;  // --symbols
  std::string arch, os, format;        // empty: find out
  std::optional<std::uint64_t> slide, phys_base;
  bool debug_files = true;             // false: only what is in the dump, for modules too
  bool structures = true;              // false: memory and symbols only; no types are read and no task is looked for
  Providers providers;
  Progress progress;
};

using OpenOs = std::function<Result<std::unique_ptr<OsModel>>(const KernelView&, const Dump&, const KernelMap&)>;

// The pieces of a kernel, put together by hand: for tests and for other front ends.
struct KernelParts {
  std::string path;
  Dump dump;                           // with its memory
  const arch::Arch* arch = nullptr;    // required
  KernelMap map;
  std::unique_ptr<Symbols> symbols;    // null: none
  std::unique_ptr<Types> types;        // null: none
  OpenOs os;                           // null: a model that knows only CPUs
  std::string vmlinux;
  std::vector<std::string> symbol_dirs;
  std::vector<std::string> remarks;
  Providers providers;
  std::string_view system = "Linux", file_word = "vmlinux";  // as in OsKind
};

class Kernel {
 public:
  static Result<Kernel> open(const OpenOptions& options);
  static Result<Kernel> from_parts(KernelParts parts);
  Kernel(Kernel&&) noexcept;
  ~Kernel();

  const std::string& path() const;
  const Dump& dump() const;
  const arch::Arch& arch() const;
  const AddressSpace& space() const;
  // The same as a CPU sees it: some machines' CPUs have memory of their own.
  const AddressSpace& space_on(std::optional<unsigned> cpu) const;
  const KernelMap& map() const;
  const Symbols& symbols() const;      // of the kernel image: the vmlinux's, else the kernel's own; empty when there are none
  const Types& types() const;
  const OsModel& os() const;
  const KernelView& view() const;
  const std::string& vmlinux() const;  // path of the debug file in use; empty: none
  std::string_view system() const;     // for people: "Linux"
  std::string_view file_word() const;  // what people call the debug file: "vmlinux"
  const std::string& build_id() const;  // of the crashed kernel, hex; empty: not known
  std::vector<std::string> remarks() const;         // what is missing and what that costs, one line each
  // Why there is no OS model ("no vmlinux with build id ...", and what to do); empty when there is one.  Without it
  // tasks() holds one entry per CPU.
  const std::string& os_missing() const;

  const Result<std::vector<Task>>& tasks() const;     // panicking task first, then CPUs' tasks, then by tid
  const Result<std::vector<Module>>& modules() const;
  const std::vector<Cpu>& cpus() const;
  Result<RegisterFile> registers(const Task& task) const { return os().registers(task); }
  // In the kernel image and in modules; `module` is empty for the image.
  std::optional<ModuleSymbol> find_symbol(std::string_view name) const;
  std::optional<ModuleSymbol> symbol_at(VirtAddr address) const;
  std::vector<SourceLine> lines_at(VirtAddr address) const;
  // Local path of the file with a module's symbols (debug file, else the module itself); empty: none found.
  std::string module_file(const Module& module) const;

  Result<std::size_t> read(VirtAddr at, MutableBytes out) const { return space().read(at, out); }

 private:
  struct State;
  struct Opening;
  const ModuleFiles* module_files() const;
  explicit Kernel(std::unique_ptr<State> state);
  static Result<Kernel> assemble(std::unique_ptr<State> state, const OpenOs& open_os, const OsKind* kind);
  std::unique_ptr<State> state_;
};

}  // namespace kvm
