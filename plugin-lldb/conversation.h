// A debugger's conversation about one dump, over a socket pair: lldb talks at one end as to any server, a thread answers at
// the other.
#pragma once

#include <thread>

#include "stub/session.h"

namespace kvm::plugin {

class Conversation {
 public:
  // `shared` outlives the object.
  static Result<std::unique_ptr<Conversation>> start(const rsp::Shared& shared);
  ~Conversation();  // stops; lldb must have left its end
  int client_end() const { return client_; }  // the descriptor that lldb is to use
  // Ends the conversation whatever lldb is doing, and waits for the thread.
  void stop();

 private:
  Conversation(int server, int client) : server_(server), client_(client) {}
  void answer(const rsp::Shared& shared) const;

  int server_, client_;
  std::thread thread_;
};

}  // namespace kvm::plugin
