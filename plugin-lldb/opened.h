// The dumps that are open in this process, each with the target that shows it.
#pragma once

#include <lldb/API/LLDB.h>

#include "plugin-lldb/conversation.h"
#include "stub/cli_opening.h"

namespace kvm::plugin {

// Opens the dump, makes a target of it and connects it.  Prints into `result`; on failure nothing is left behind.
Result<void> open(lldb::SBDebugger debugger, const cli::Opening& opening, rsp::ThreadChoice threads, lldb::SBCommandReturnObject& result);

// The kernel shown by the debugger's selected target; null: none of ours.  It lives until close() of its target.
const Kernel* selected(lldb::SBDebugger debugger);

// Ends the conversation of the selected target and deletes it.  False: it is none of ours.
bool close(lldb::SBDebugger debugger);

}  // namespace kvm::plugin
