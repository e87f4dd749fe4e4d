// One thread, one coroutine per client; the clients share the opened dump and nothing else.  A session that has much to
// do says so (Session::busy), and the others get their turn between its slices.
#include "stub/server.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <boost/asio.hpp>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstring>
#include <fstream>
#include <optional>

#include "stub/packet.h"

namespace kvm::rsp {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;
constexpr auto token = asio::as_tuple(asio::use_awaitable);

constexpr std::size_t read_size = 0x10000;

// The transcript: "> body" and "< body" for the first client, "2> body" for the second.
class Transcript {
 public:
  static Result<Transcript> open(const std::string& path) {
    Transcript transcript;
    if (path.empty()) return transcript;
    transcript.out_.open(path, std::ios::trunc);
    if (!transcript.out_) return fail(Errc::io, path + ": cannot be written: " + std::strerror(errno));
    return transcript;
  }

  Trace client(unsigned number) {
    if (!out_.is_open()) return {};
    return [this, prefix = number == 1 ? "" : std::to_string(number)](char direction, std::string_view body) {
      out_ << prefix << direction << ' ' << transcript_text(body) << '\n';
    };
  }
  // So that a transcript is whole up to the last thing a client saw.
  void flush() {
    if (out_.is_open()) out_.flush();
  }

 private:
  std::ofstream out_;
};

struct Server {
  const Shared& shared;
  const ServerOptions& options;
  Transcript transcript;
  asio::io_context io{1};
  unsigned clients = 0;
};

// Reads with `read(buffer)` and writes with `write(text)`, both awaitable, until the client leaves or fails.
template <class Read, class Write>
asio::awaitable<void> converse(Server& server, Read read, Write write) {
  Session session(server.shared, server.transcript.client(++server.clients));
  std::vector<char> input(read_size);
  while (!session.finished()) {
    const std::size_t count = co_await read(input);
    if (count == 0) break;
    std::string_view output = session.consume({input.data(), count});
    for (bool more = true; more;) {
      server.transcript.flush();
      if (!output.empty() && !co_await write(output)) co_return;
      more = session.busy();
      if (!more) break;
      co_await asio::post(server.io, asio::use_awaitable);
      output = session.consume({});
    }
  }
}

template <class Stream>
asio::awaitable<void> serve_stream(Server& server, Stream in, Stream* out) {
  auto read = [&](std::vector<char>& buffer) -> asio::awaitable<std::size_t> {
    auto [failed, count] = co_await in.async_read_some(asio::buffer(buffer), token);
    co_return failed ? 0 : count;
  };
  auto write = [&](std::string_view text) -> asio::awaitable<bool> {
    auto [failed, count] = co_await asio::async_write(out ? *out : in, asio::buffer(text), token);
    co_return !failed;
  };
  co_await converse(server, read, write);
}

template <class Socket>
asio::awaitable<void> serve_client(Server& server, Socket socket) {
  co_await serve_stream<Socket>(server, std::move(socket), nullptr);
  if (server.options.once) server.io.stop();
}

// Running out of descriptors is the clients' doing; wait for some of them to leave.
asio::awaitable<void> pause(Server& server) {
  asio::steady_timer timer(server.io, std::chrono::milliseconds(100));
  co_await timer.async_wait(token);
}

template <class Protocol>
asio::awaitable<void> accept_clients(Server& server, asio::basic_socket_acceptor<Protocol>& acceptor) {
  while (acceptor.is_open()) {
    auto [failed, socket] = co_await acceptor.async_accept(token);
    if (failed == asio::error::operation_aborted) co_return;
    if (failed) {
      co_await pause(server);
      continue;
    }
    if constexpr (std::is_same_v<Protocol, asio::ip::tcp>) {
      error_code ignored;
      socket.set_option(asio::ip::tcp::no_delay(true), ignored);
    }
    asio::co_spawn(server.io, serve_client(server, std::move(socket)), asio::detached);
    if (server.options.once) acceptor.close();
  }
}

Error io_error(const std::string& what, const error_code& error) { return {Errc::io, 0, what + ": " + error.message()}; }

template <class Protocol>
Result<int> run(Server& server, asio::basic_socket_acceptor<Protocol>& acceptor) {
  asio::co_spawn(server.io, accept_clients(server, acceptor), asio::detached);
  server.io.run();
  return 0;
}

struct HostPort { std::string host, port; };

Result<HostPort> split(const std::string& listen) {
  const std::size_t colon = listen.rfind(':');
  if (colon == listen.npos) return fail(Errc::bad_request, "'" + listen + "' is not HOST:PORT or unix:PATH");
  HostPort parts{listen.substr(0, colon), listen.substr(colon + 1)};
  if (parts.host.starts_with('[') && parts.host.ends_with(']')) parts.host = parts.host.substr(1, parts.host.size() - 2);
  if (parts.host.empty()) parts.host = "127.0.0.1";
  std::uint16_t port = 0;  // the resolver would take a larger number modulo 65536
  const char* const end = parts.port.data() + parts.port.size();
  if (const auto [stop, error] = std::from_chars(parts.port.data(), end, port); error != std::errc() || stop != end)
    return fail(Errc::bad_request, "'" + parts.port + "' is not a port: a number from 0 to 65535");
  return parts;
}

Result<asio::ip::tcp::endpoint> endpoint_of(Server& server) {
  const std::string& listen = server.options.listen;
  const HostPort parts = TRY(split(listen));
  error_code error;
  asio::ip::tcp::resolver resolver(server.io);
  const auto found = resolver.resolve(parts.host, parts.port, asio::ip::resolver_base::passive, error);
  if (error) return tl::unexpected(io_error(listen, error));
  const asio::ip::tcp::endpoint endpoint = found.begin()->endpoint();
  // The protocol has no authentication: whoever connects reads the whole memory of the crashed machine.
  if (!endpoint.address().is_loopback() && !server.options.allow_remote)
    return fail(Errc::bad_request, listen + ": not an address of this machine's loopback; serving others must be allowed explicitly (--allow-remote)");
  return endpoint;
}

std::string text_of(const asio::ip::tcp::endpoint& endpoint) {
  const std::string host = endpoint.address().to_string();
  return (endpoint.address().is_v6() ? "[" + host + "]" : host) + ":" + std::to_string(endpoint.port());
}

Result<int> serve_tcp(Server& server) {
  const auto endpoint = TRY(endpoint_of(server));
  asio::ip::tcp::acceptor acceptor(server.io);
  error_code error;
  acceptor.open(endpoint.protocol(), error);
  if (!error) acceptor.set_option(asio::socket_base::reuse_address(true), error);
  if (!error) acceptor.bind(endpoint, error);
  if (!error) acceptor.listen(asio::socket_base::max_listen_connections, error);
  if (error) return tl::unexpected(io_error(text_of(endpoint), error));
  if (server.options.on_listening) server.options.on_listening(text_of(acceptor.local_endpoint(error)));
  return run(server, acceptor);
}

// A socket file that nobody listens on is left over from a killed server and may be replaced; nothing else may.
Result<void> clear_stale(Server& server, const std::string& path) {
  struct stat status;
  if (lstat(path.c_str(), &status) != 0) return {};
  if (!S_ISSOCK(status.st_mode)) return fail(Errc::io, path + ": exists and is not a socket");
  asio::local::stream_protocol::socket probe(server.io);
  error_code error;
  probe.connect({path}, error);
  if (error != asio::error::connection_refused)
    return fail(Errc::io, path + ": " + (error ? error.message() : "another server listens on it"));
  if (unlink(path.c_str()) != 0) return fail(Errc::io, path + ": cannot be replaced: " + std::strerror(errno));
  return {};
}

Result<int> serve_unix(Server& server, const std::string& path) {
  if (path.empty() || path.size() >= sizeof(sockaddr_un::sun_path)) return fail(Errc::bad_request, "unix:" + path + ": path is empty or too long");
  TRY(clear_stale(server, path));
  asio::local::stream_protocol::acceptor acceptor(server.io);
  error_code error;
  acceptor.open(asio::local::stream_protocol(), error);
  // The mode has to be right from the first moment that the file exists.
  const mode_t before = umask(0177);
  if (!error) acceptor.bind({path}, error);
  umask(before);
  if (!error) acceptor.listen(asio::socket_base::max_listen_connections, error);
  if (error) return tl::unexpected(io_error(path, error));
  if (server.options.on_listening) server.options.on_listening(path);
  Result<int> status = run(server, acceptor);
  unlink(path.c_str());
  return status;
}

asio::awaitable<void> serve_pipes(Server& server, asio::posix::stream_descriptor in, asio::posix::stream_descriptor out) {
  co_await serve_stream(server, std::move(in), &out);
  server.io.stop();
}

// gdb's `target remote | command` gives a pipe or a socket pair; Asio also takes regular files, which are always ready.
Result<asio::posix::stream_descriptor> descriptor(Server& server, int number, const char* what) {
  asio::posix::stream_descriptor stream(server.io);
  error_code error;
  const int copy = dup(number);
  if (copy < 0) return fail(Errc::io, std::string(what) + ": " + std::strerror(errno));
  stream.assign(copy, error);
  if (error) return close(copy), tl::unexpected(io_error(what, error));
  return stream;
}

Result<int> serve_stdio(Server& server) {
  auto in = TRY(descriptor(server, STDIN_FILENO, "standard input"));
  auto out = TRY(descriptor(server, STDOUT_FILENO, "standard output"));
  asio::co_spawn(server.io, serve_pipes(server, std::move(in), std::move(out)), asio::detached);
  server.io.run();
  return 0;
}

}  // namespace

Result<int> serve(const Shared& shared, const ServerOptions& options) {
  Server server{shared, options, TRY(Transcript::open(options.trace))};
  std::signal(SIGPIPE, SIG_IGN);  // a client that has gone is an error of the write
  asio::signal_set signals(server.io, SIGTERM);
  // A debugger's Ctrl-C reaches the whole terminal; the server that the debugger started must outlive it.
  if (options.stdio) std::signal(SIGINT, SIG_IGN);
  else signals.add(SIGINT);
  signals.async_wait([&](const error_code& error, int) {
    if (!error) server.io.stop();
  });
  if (options.stdio) return serve_stdio(server);
  if (options.listen.starts_with("unix:")) return serve_unix(server, options.listen.substr(5));
  return serve_tcp(server);
}

}  // namespace kvm::rsp
