// Debug files from a debuginfod server, through elfutils' client library (its cache, its DEBUGINFOD_URLS).
#pragma once

#include <string>

#include "engine/symbols.h"

namespace kvm {

// Path of the downloaded file; not_found when DEBUGINFOD_URLS is unset or no server has it.
Result<std::string> fetch_debug_file(const std::string& build_id, const Progress& progress);

}  // namespace kvm
