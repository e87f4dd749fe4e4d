// Carries sessions over TCP, a UNIX socket or standard input and output.
#pragma once

#include <functional>
#include <string>

#include "engine/result.h"
#include "stub/session.h"

namespace kvm::rsp {

struct ServerOptions {
  std::string listen = "127.0.0.1:0";  // HOST:PORT ([HOST]:PORT for IPv6, port 0: any free one) or unix:PATH
  bool stdio = false;                  // one client, on standard input and output
  bool once = false;                   // end after the first client has left
  bool allow_remote = false;           // needed for a host that is not this machine: the protocol knows no passwords
  std::string trace;                   // file for the transcript; empty: none
  // Told once, when clients can connect: what to give to gdb's `target remote`.
  std::function<void(const std::string& where)> on_listening;
};

// Serves until SIGINT or SIGTERM (or the first client's end, see above).  The value is the program's exit status, 0.
Result<int> serve(const Shared& shared, const ServerOptions& options);

}  // namespace kvm::rsp
