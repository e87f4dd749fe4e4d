// One debugger conversation: bytes in, bytes out.  No socket, no clock, no thread.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "engine/kernel.h"

namespace kvm::rsp {

enum class Client : std::uint8_t { unknown, gdb, lldb };
enum class ThreadChoice : std::uint8_t { all, user, cpus };  // which tasks become threads

struct Settings {
  ThreadChoice threads = ThreadChoice::all;
  std::size_t packet_size = 0x20000;  // payload bytes, as told to the client
};

// Documents and thread lists that all sessions on one kernel share; built on first use.
class Shared {
 public:
  Shared(const Kernel& kernel, Settings settings);
  ~Shared();
  const Kernel& kernel() const;
  const Settings& settings() const;
  struct State;
  State& state() const { return *state_; }

 private:
  std::unique_ptr<State> state_;
};

class Session {
 public:
  explicit Session(const Shared& shared);
  ~Session();
  // What to send to the client in answer to these bytes; may be empty.
  std::string consume(std::string_view from_client);
  bool finished() const;  // the client said goodbye: send what consume() gave, then close
  Client client() const;

  struct State;
  State& state() { return *state_; }

 private:
  std::unique_ptr<State> state_;
};

}  // namespace kvm::rsp
