// Hello, goodbye, and the questions about what is loaded where.
#include <fmt/format.h>

#include "stub/documents.h"
#include "stub/handlers.h"

namespace kvm::rsp {
namespace {

// Calls f(word) for each word between semicolons.
template <class F>
void each_feature(std::string_view list, F f) {
  while (!list.empty()) {
    const std::size_t end = std::min(list.find(';'), list.size());
    f(list.substr(0, end));
    list.remove_prefix(std::min(end + 1, list.size()));
  }
}

// gdb's first packet is qSupported and tells of breakpoints and vCont; lldb 19 starts with QStartNoAckMode.
Client guess_client(std::string_view features) {
  Client client = Client::unknown;
  each_feature(features, [&](std::string_view word) {
    if (word == "swbreak+" || word == "hwbreak+" || word == "vContSupported+") client = Client::gdb;
  });
  return client;
}

bool offered(const Session::State& s, const Command& row) {
  if (row.feature.empty() || (row.users != Users::both && row.users != s.dialect().users)) return false;
  if (row.feature == "multiprocess+") return s.multiprocess;
  if (row.feature == "qXfer:exec-file:read+") return s.shared.has_kernel_file();
  return row.feature != "binary-upload+" || s.dialect().binary_upload;
}

}  // namespace

Reply piece(const Session::State& s, std::string_view document, std::string_view args) {
  const auto range = parse_hex_pair(args);
  if (!range) return fail(Errc::bad_request);
  if (range->first >= document.size()) return "l";
  const std::string_view rest = document.substr(range->first);
  const std::size_t limit = s.shared.settings.packet_size - 1;
  std::string_view part = rest.substr(0, std::min<std::uint64_t>(range->second, limit));
  part = part.substr(0, fitting(part, limit));
  return std::string(part.size() == rest.size() ? "l" : "m").append(part);
}

namespace handle {

Reply supported(State& s, Args args) {
  if (args.starts_with(':')) args.remove_prefix(1);
  if (s.client == Client::unknown) s.client = guess_client(args);
  s.multiprocess = false;
  each_feature(args, [&](std::string_view word) { s.multiprocess |= word == "multiprocess+" && s.dialect().multiprocess; });
  std::string reply = fmt::format("PacketSize={:x}", s.shared.settings.packet_size);
  for (const Command& row : commands())
    if (offered(s, row)) (reply += ';') += row.feature;
  return reply;
}

Reply start_no_ack(State& s, Args) {
  if (!s.greeted) s.client = Client::lldb;
  s.acks = false;
  return "OK";
}

Reply ok(State&, Args) { return "OK"; }
Reply unsupported(State&, Args) { return fail(Errc::unsupported); }

Reply detach(State& s, Args) {
  s.finished = s.dialect().detach_ends;
  return "OK";
}

Reply kill(State& s, Args) {
  s.finished = true;
  s.silent = !s.dialect().kill_reply;
  return "X09";
}

// An empty reply would make gdb try `R` and then take later replies for the wrong ones.
Reply cannot_run(State&, Args) { return fail(Errc::bad_request, "this is a crash dump, nothing can be started"); }

// KASLR.  Without a vmlinux of ours lldb may have an image or a vmlinux of its own; see process_info().  The form with three
// sections is the only one that lldb heeds.  gdb would then move .text, .data and .bss but not .rodata or .init.text; told where
// the first segment is, it moves all sections (gdb's remote_target::get_offsets).  An image made of the dump begins with the same
// segment, but lies there already, so that the answer is right for it too.
Reply offsets(State& s, Args) {
  if (s.dialect().slide_by_id && s.kernel().vmlinux().empty() && !s.kernel().build_id().empty()) return fail(Errc::unsupported);
  const std::uint64_t slide = s.kernel().map().slide;
  std::optional<std::uint64_t> segment;
  if (const auto linked = s.shared.image_segment()) segment = *linked + slide;
  if (const auto first = segment ? std::nullopt : s.kernel().map().first) segment = first->raw;
  if (const auto text = segment ? std::nullopt : s.kernel().symbols().find("_text")) segment = text->address.raw;
  return segment && s.dialect().segment_offset ? fmt::format("TextSeg={:x}", *segment) : fmt::format("Text={0:x};Data={0:x};Bss={0:x}", slide);
}

Reply features(State& s, Args args) {
  constexpr std::string_view annex = "target.xml:";
  if (!args.starts_with(annex)) return fail(Errc::bad_request);
  return piece(s, s.shared.target.get([&] { return target_xml(s.kernel().arch()); }), args.substr(annex.size()));
}

// qXfer:exec-file:read:PID:OFFSET,LENGTH
Reply exec_file(State& s, Args args) {
  const std::size_t colon = args.find(':');
  if (colon == args.npos) return fail(Errc::bad_request);
  const std::string path = s.shared.kernel_file();
  if (path.empty()) return fail(Errc::unsupported);
  return piece(s, path, args.substr(colon + 1));
}

Reply libraries(State& s, Args args) {
  return piece(s, s.shared.libraries.get([&] { return libraries_xml(s.shared); }), args);
}

// qXfer:osdata:read:TABLE:OFFSET,LENGTH
Reply osdata(State& s, Args args) {
  const std::size_t colon = args.find(':');
  if (colon == args.npos) return fail(Errc::bad_request);
  const OsTable* table = find_os_table(args.substr(0, colon));
  if (!table) return fail(Errc::bad_request, "no such table");
  Document& document = s.shared.os_tables[static_cast<std::size_t>(table - os_tables().data())];
  return piece(s, document.get([&] { return os_table_xml(s.shared, *table); }), args.substr(colon + 1));
}

}  // namespace handle
}  // namespace kvm::rsp
