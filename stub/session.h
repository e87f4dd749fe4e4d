// One debugger conversation: bytes in, bytes out.  No socket, no clock, no thread.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "engine/kernel.h"

namespace kvm::rsp {

enum class Client : std::uint8_t { unknown, gdb, lldb };
enum class ThreadChoice : std::uint8_t { all, user, cpus };  // which tasks become threads

// A file made of what is in the dump.
struct MadeFile {
  File file;
  std::string path;  // where it also lies on this machine; empty: nowhere
};
using MakeFile = std::function<Result<MadeFile>(const Kernel&)>;

struct Settings {
  ThreadChoice threads = ThreadChoice::all;
  std::size_t packet_size = 0x20000;  // payload bytes, as told to the client
  MakeFile image;   // served as the kernel's file when there is no vmlinux; null: none
  bool image_only = false;  // no client has a vmlinux; lldb need not look for one
  MakeFile unwind;  // served beside a vmlinux: frames that it does not describe; null: none
  // Keeps bytes in a file of this machine and tells its path, empty when it cannot; null: keep nothing.
  std::function<std::string(const std::string& name, Bytes)> keep;
  // The client's working folder, when it runs on this machine: it then opens files itself.  Empty: not known.
  std::string client_folder;
};

// Documents and thread lists that all sessions on one kernel share; built on first use, under a lock.
class Shared {
 public:
  // The kernel outlives the object.
  Shared(const Kernel& kernel, Settings settings);
  ~Shared();
  const Kernel& kernel() const;
  const Settings& settings() const;
  struct State;
  State& state() const { return *state_; }

 private:
  std::unique_ptr<State> state_;
};

// Told every packet body as it passes: '>' from the client, '<' from the stub.
using Trace = std::function<void(char direction, std::string_view body)>;

class Session {
 public:
  explicit Session(const Shared& shared, Trace trace = {});
  ~Session();
  // What to send to the client in answer to these bytes; may be empty.  Valid until the next call.
  std::string_view consume(std::string_view from_client);
  // Work is left (a long search, many requests at once): send what consume() gave, let others have a turn, and call
  // consume({}) again before reading more from the client.
  bool busy() const;
  bool finished() const;  // the client said goodbye: send what consume() gave, then close
  Client client() const;

  struct State;
  State& state() { return *state_; }

 private:
  std::unique_ptr<State> state_;
};

}  // namespace kvm::rsp
