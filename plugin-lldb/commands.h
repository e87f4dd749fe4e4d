// The command `inquest` of lldb.
#pragma once

#include <lldb/API/LLDB.h>

namespace kvm::plugin {

// False when lldb does not take it.  Loading the plugin again changes nothing.
bool add_commands(lldb::SBDebugger debugger);

}  // namespace kvm::plugin
