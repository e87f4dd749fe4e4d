// What lldb calls when a user says `plugin load`: adds the command `inquest` to the debugger that loads it.
#include <lldb/API/LLDB.h>

#include "plugin-lldb/commands.h"

namespace lldb {

// Looked up by name; declared in no header of lldb's.
bool PluginInitialize(SBDebugger debugger);
bool PluginInitialize(SBDebugger debugger) { return kvm::plugin::add_commands(debugger); }

}  // namespace lldb
