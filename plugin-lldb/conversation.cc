// See conversation.h.
#include "plugin-lldb/conversation.h"

#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace kvm::plugin {
namespace {

bool send_all(int socket, std::string_view text) {
  while (!text.empty()) {
    const ssize_t count = send(socket, text.data(), text.size(), MSG_NOSIGNAL);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return false;
    text.remove_prefix(static_cast<std::size_t>(count));
  }
  return true;
}

// Signals are for lldb's own threads.
class BlockSignals {
 public:
  BlockSignals() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~BlockSignals() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

 private:
  sigset_t before_;
};

}  // namespace

Result<std::unique_ptr<Conversation>> Conversation::start(const rsp::Shared& shared) {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) return fail(Errc::io, std::string("socketpair: ") + std::strerror(errno));
  auto conversation = std::unique_ptr<Conversation>(new Conversation(ends[0], ends[1]));
  const BlockSignals while_the_thread_starts;
  conversation->thread_ = std::thread([&shared, self = conversation.get()] { self->answer(shared); });
  return conversation;
}

Conversation::~Conversation() {
  stop();
  close(server_);
  close(client_);  // lldb leaves descriptors that it was given open
}

void Conversation::stop() {
  shutdown(server_, SHUT_RDWR);
  if (thread_.joinable()) thread_.join();
}

void Conversation::answer(const rsp::Shared& shared) const {
  rsp::Session session(shared);
  std::array<char, 0x10000> input;
  while (!session.finished()) {
    const ssize_t count = recv(server_, input.data(), input.size(), 0);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) break;
    bool sent = send_all(server_, session.consume({input.data(), static_cast<std::size_t>(count)}));
    while (sent && session.busy()) sent = send_all(server_, session.consume({}));
    if (!sent) break;
  }
  shutdown(server_, SHUT_RDWR);  // lldb sees the end at once
}

}  // namespace kvm::plugin
