// Where debug files lie on this machine: by build id, then by release, then by name.
#pragma once

#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "engine/symbols.h"

namespace kvm {

struct DebugFileQuery {
  std::string release;                   // "6.1.0-35-cloud-amd64"; may be empty.  From the dump: not trusted
  std::string build_id;                  // of the kernel, hex; empty: any build is accepted
  std::vector<std::string> symbol_dirs;  // looked at before the system's places; a file is taken for itself
  std::string system_root = "/";         // another one for tests
  const DebugPlaces* places = nullptr;   // null: Linux's
  std::string dump_folder;               // empty: nothing is looked for beside the dump
  std::string kernel_folder;             // of the kernel's file: its modules may lie there; empty: they do not
};

// Thread-safe.  Folders of modules are listed once, when the first module is asked for.
class DebugFiles {
 public:
  explicit DebugFiles(DebugFileQuery query);
  ~DebugFiles();

  // The vmlinux with this build id.  A file of the right name but another build is passed over and named in `rejected`.
  // Empty: none.
  std::string vmlinux(std::vector<std::string>& rejected) const;

  // The file with a module's symbols: debug file first, else the module itself when it is not compressed.
  // `-` and `_` are the same in module names, and a name may end in `.ko`.  `build_id` is the module's own, empty: not known.  Empty: none.
  std::string module(std::string_view name, std::string_view build_id) const;

 private:
  using Listing = std::multimap<std::string, std::string, std::less<>>;  // module name to path
  const Listing& listing(const std::string& folder) const;
  std::string beside_kernel(const std::string& wanted, std::string_view build_id) const;
  std::vector<std::string> module_folders(const std::string& root, bool is_system) const;

  DebugFileQuery query_;
  mutable std::mutex mutex_;
  mutable std::map<std::string, Listing> listings_;  // by folder
};

}  // namespace kvm
