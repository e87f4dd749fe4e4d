// The symbols of loaded modules, from their debug files, else from what the kernel keeps of them.  Each is opened when first
// asked for, at most once.  Thread-safe.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engine/os.h"
#include "engine/symbols.h"
#include "engine/symbols/debug_files.h"

namespace kvm {

// Source lines of a module whose sections lie at the given addresses.
using OpenModuleLines = Result<std::unique_ptr<SourceLines>> (*)(const std::string& path,
                                                                 std::span<const std::pair<std::string, VirtAddr>> sections);

struct ModuleSymbol {
  Symbol symbol;
  std::string_view module;
};

// Where a module's sections lie, when the kernel does not list them: one behind the other from `base` for a relocatable file, else
// where they are linked, counted from there.
std::vector<ModuleSection> place_sections(const std::string& path, VirtAddr base);

class ModuleFiles {
 public:
  // `modules`, `files` and `os` outlive this.  `files` and `open_lines` may be null.
  ModuleFiles(const std::vector<Module>& modules, const DebugFiles* files, const OsModel& os, OpenModuleLines open_lines);
  ~ModuleFiles();

  std::string path(const Module& module) const;  // empty: no file found
  std::optional<ModuleSymbol> find(std::string_view name) const;
  std::optional<ModuleSymbol> at(VirtAddr address) const;
  std::vector<SourceLine> lines_at(VirtAddr address) const;
  // The module whose memory or section contains the address; null: none.
  const Module* containing(VirtAddr address) const;

 private:
  struct Entry;
  Entry& entry(std::size_t index) const;
  Entry& opened(std::size_t index) const;

  const std::vector<Module>& modules_;
  const DebugFiles* files_;
  const OsModel& os_;
  OpenModuleLines open_lines_;
  mutable std::vector<std::unique_ptr<Entry>> entries_;
};

}  // namespace kvm
