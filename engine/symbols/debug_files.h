// Where debug files lie on this machine: by build id, then by release, then by name.
#pragma once

#include <string>
#include <vector>

#include "engine/result.h"

namespace kvm {

struct DebugFileQuery {
  std::string release;                     // "6.1.0-35-cloud-amd64"; may be empty
  std::string build_id;                    // hex; empty: any build is accepted
  std::vector<std::string> symbol_dirs;    // looked at before the system's places
};

// The vmlinux with this build id.  A file of the right name but another build is passed over and named in `rejected`.
// Empty: none.
std::string find_vmlinux(const DebugFileQuery& query, std::vector<std::string>& rejected);

// The file with a module's symbols: debug file first, else the module itself when it is not compressed.
// `-` and `_` are the same in module names.
std::string find_module(const DebugFileQuery& query, const std::string& name);

}  // namespace kvm
