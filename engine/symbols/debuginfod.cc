// elfutils' client does the work: servers from DEBUGINFOD_URLS, cache, timeouts (debuginfod_find_debuginfo(3)).
// The only file that knows the library; without it nothing is ever found.
#include "engine/symbols/debuginfod.h"

#ifdef INQUEST_DEBUGINFOD
#include <elfutils/debuginfod.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>
#endif

namespace kvm {

#ifdef INQUEST_DEBUGINFOD
namespace {

struct Closer {
  void operator()(debuginfod_client* client) const { debuginfod_end(client); }
};

// `total` is 0 or less until the server has told the size; a non-zero answer would cancel the download.
int report(debuginfod_client* client, long done, long total) {
  const auto& progress = *static_cast<const Progress*>(debuginfod_get_user_data(client));
  progress("debug file", done > 0 ? static_cast<std::uint64_t>(done) : 0, total > 0 ? static_cast<std::uint64_t>(total) : 0);
  return 0;
}

}  // namespace

Result<std::string> fetch_debug_file(const std::string& build_id, const Progress& progress) {
  const char* urls = std::getenv("DEBUGINFOD_URLS");
  if (!urls || !*urls) return fail(Errc::not_found, "debuginfod: DEBUGINFOD_URLS is not set");
  // The client makes a folder of it in its cache; it comes from a dump.
  if (build_id.empty() || build_id.size() > 128 || build_id.find_first_not_of("0123456789abcdef") != build_id.npos)
    return fail(Errc::bad_request, "debuginfod: not a build id: " + build_id);

  const std::unique_ptr<debuginfod_client, Closer> client(debuginfod_begin());
  if (!client) return fail(Errc::io, "debuginfod: the client library cannot start");
  if (progress) {
    debuginfod_set_user_data(client.get(), const_cast<Progress*>(&progress));
    debuginfod_set_progressfn(client.get(), report);
  }
  char* path = nullptr;
  // A length of 0 means that the id is a hexadecimal string.
  const int descriptor = debuginfod_find_debuginfo(client.get(), reinterpret_cast<const unsigned char*>(build_id.c_str()), 0, &path);
  const std::unique_ptr<char, void (*)(void*)> owned(path, std::free);
  if (descriptor < 0) {
    const Errc code = descriptor == -ENOENT || descriptor == -ENOSYS ? Errc::not_found : Errc::io;
    return fail(code, "debuginfod: " + build_id + ": " + std::strerror(-descriptor));
  }
  ::close(descriptor);
  return std::string(path);
}

#else

Result<std::string> fetch_debug_file(const std::string&, const Progress&) {
  return fail(Errc::not_found, "debuginfod: built without it");
}

#endif

}  // namespace kvm
