// Every packet's handler, by the file that holds it.  `args` is what follows the row's prefix.
// Handlers neither make error packets nor know of sockets: they return the body of the reply, or an Error.
#pragma once

#include "stub/session_state.h"

namespace kvm::rsp::handle {

using State = Session::State;
using Args = std::string_view;

// commands_query.cc
Reply supported(State&, Args), start_no_ack(State&, Args), ok(State&, Args), unsupported(State&, Args);
Reply detach(State&, Args), kill(State&, Args), cannot_run(State&, Args), offsets(State&, Args), exec_file(State&, Args);
Reply features(State&, Args), libraries(State&, Args), osdata(State&, Args);

// commands_threads.cc
Reply select_thread(State&, Args), is_alive(State&, Args), current_thread(State&, Args), attached(State&, Args), attach(State&, Args);
Reply first_threads(State&, Args), next_threads(State&, Args), thread_text(State&, Args), thread_list(State&, Args);

// commands_stop.cc
Reply stop_reason(State&, Args), resume(State&, Args), resume_actions(State&, Args), thread_stop(State&, Args), threads_json(State&, Args);

// commands_registers.cc
Reply read_registers(State&, Args), read_register(State&, Args), write(State&, Args);

// commands_memory.cc
Reply read_memory(State&, Args), read_memory_raw(State&, Args), search(State&, Args), memory_region(State&, Args);

// commands_files.cc
Reply file_setfs(State&, Args), file_open(State&, Args), file_pread(State&, Args), file_fstat(State&, Args);
Reply file_close(State&, Args), file_refuse(State&, Args), file_readlink(State&, Args);

// commands_monitor.cc
Reply monitor(State&, Args);

// commands_lldb.cc
Reply thread_suffix(State&, Args), enable_error_strings(State&, Args), host_info(State&, Args), process_info(State&, Args);
Reply version(State&, Args);

}  // namespace kvm::rsp::handle
