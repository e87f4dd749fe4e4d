// The protocol machine: acknowledgements, dispatch, errors.  What packets mean is in commands_*.cc.
#include "stub/session.h"

#include "stub/session_state.h"

namespace kvm::rsp {
namespace {

// After this much output, consume() lets the caller send it before more requests are answered: a client may put
// thousands of requests for large replies into one write.
constexpr std::size_t output_limit = std::size_t{1} << 20;

void send_reply(Session::State& s, const Reply& reply) {
  if (!s.silent) s.send(reply ? *reply : to_packet(reply.error(), s));
}

void run_packet(Session::State& s, const std::string& body) {
  if (s.trace) s.trace('>', body);
  const bool acks = s.acks;  // the answer to QStartNoAckMode itself is still acknowledged
  if (acks) s.out += '+';
  const std::size_t start = s.out.size();
  s.silent = false;
  const Command* command = find_command(body);
  send_reply(s, command ? command->run(s, std::string_view(body).substr(command->prefix.size())) : Reply());
  s.greeted = true;
  if (acks) s.last.assign(s.out, start);
}

struct Handle {
  Session::State& s;
  void operator()(const Packet& packet) const {
    // A client that waited too long sends its packet again; two answers to it would put all that follow one off.
    if (s.acks && packet.body == s.unacknowledged) return;
    if (s.acks) s.unacknowledged = packet.body;
    run_packet(s, packet.body);
  }
  void operator()(Ack) const { s.unacknowledged.reset(); }
  void operator()(Nack) const { if (s.acks) s.out += s.last; }
  void operator()(Interrupt) const {}  // nothing ever runs, so there is nothing to interrupt
  void operator()(const Corrupt&) const { if (s.acks) s.out += '-'; }
};

void run_work(Session::State& s) {
  std::optional<Reply> reply = s.work();
  if (!reply) return;
  s.work = nullptr;
  s.silent = false;
  send_reply(s, *reply);
  if (s.acks) s.last = s.out;
}

}  // namespace

Shared::Shared(const Kernel& kernel, Settings settings) : state_(std::make_unique<State>(kernel, settings)) {}
Shared::~Shared() = default;
const Kernel& Shared::kernel() const { return state_->kernel; }
const Settings& Shared::settings() const { return state_->settings; }

Session::State::State(const Shared& shared_, Trace trace_)
    : shared(shared_.state()), trace(std::move(trace_)), decoder(shared.settings.packet_size) {}

const RegisterFile& Session::State::registers(std::size_t index) {
  if (cached_thread_ != index) {
    cached_registers_ = registers_of(kernel(), threads()[index]);
    cached_thread_ = index;
  }
  return *cached_registers_;
}

void Session::State::send(std::string_view body) {
  if (trace) trace('<', body);
  append_packet(out, body);
}

Session::Session(const Shared& shared, Trace trace) : state_(std::make_unique<State>(shared, std::move(trace))) {}
Session::~Session() = default;
bool Session::finished() const { return state_->finished; }
bool Session::busy() const { return !state_->finished && (state_->work || !state_->decoder.empty()); }
Client Session::client() const { return state_->client; }

std::string_view Session::consume(std::string_view from_client) {
  State& s = *state_;
  s.decoder.feed(from_client);
  s.out.clear();
  if (s.work) run_work(s);
  while (!s.work && !s.finished && s.out.size() < output_limit) {
    const std::optional<Event> event = s.decoder.next();
    if (!event) break;
    std::visit(Handle{s}, *event);
  }
  return s.out;  // which keeps its memory: fetching pages anew for each large reply would cost more than the reply
}

// Two digits are all that every client takes for an error: lldb 19 reads any other "E..." in reply to a memory request
// as the memory's contents.  gdb prints the text of "E.text" for resumption and register writes (gdb manual, "Standard
// Replies").
std::string to_packet(const Error& error, const Session::State& session) {
  std::string_view code = "E01";
  switch (error.code) {
    case Errc::unsupported: return "";
    case Errc::not_mapped:
    case Errc::not_in_dump:
    case Errc::lost: code = "E0e"; break;  // EFAULT
    case Errc::not_found: code = "E45"; break;
    case Errc::read_only:
      if (session.dialect().error_text) return "E." + error.note;
      break;
    case Errc::bad_data: case Errc::io: case Errc::bad_request: break;
  }
  const bool with_text = session.error_strings && !error.note.empty();
  return std::string(code) + (with_text ? ";" + hex(error.note) : "");
}

}  // namespace kvm::rsp
