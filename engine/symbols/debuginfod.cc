// elfutils' client does the work: servers from DEBUGINFOD_URLS, cache, timeouts (debuginfod_find_debuginfo(3)).
// The only file that knows the library; without it nothing is ever found.  It is loaded when it is first needed: with the
// thirty libraries behind it (HTTP, TLS, Kerberos) it would take half of the time that `inquest ps` takes.
#include "engine/symbols/debuginfod.h"

#ifdef INQUEST_DEBUGINFOD
#include <dlfcn.h>
#include <elfutils/debuginfod.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>
#include <type_traits>
#endif

namespace kvm {

#ifdef INQUEST_DEBUGINFOD
namespace {

struct Library {
  decltype(&debuginfod_begin) begin = nullptr;
  decltype(&debuginfod_end) end = nullptr;
  decltype(&debuginfod_find_debuginfo) find_debuginfo = nullptr;
  decltype(&debuginfod_set_progressfn) set_progressfn = nullptr;
  decltype(&debuginfod_set_user_data) set_user_data = nullptr;
  decltype(&debuginfod_get_user_data) get_user_data = nullptr;
};

// Null when it is not installed.
const Library* library() {
  static const std::optional<Library> loaded = []() -> std::optional<Library> {
    void* handle = dlopen(DEBUGINFOD_SONAME, RTLD_LAZY | RTLD_LOCAL);  // stays for good: its libraries keep state
    if (!handle) return std::nullopt;
    Library found;
    bool whole = true;
    const auto load = [&](auto& function, const char* name) {
      function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(handle, name));
      whole = whole && function;
    };
    load(found.begin, "debuginfod_begin");
    load(found.end, "debuginfod_end");
    load(found.find_debuginfo, "debuginfod_find_debuginfo");
    load(found.set_progressfn, "debuginfod_set_progressfn");
    load(found.set_user_data, "debuginfod_set_user_data");
    load(found.get_user_data, "debuginfod_get_user_data");
    return whole ? std::optional(found) : std::nullopt;
  }();
  return loaded ? &*loaded : nullptr;
}

// `total` is 0 or less until the server has told the size; a non-zero answer would cancel the download.
int report(debuginfod_client* client, long done, long total) {
  const auto& progress = *static_cast<const Progress*>(library()->get_user_data(client));
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

  const Library* const use = library();
  if (!use) return fail(Errc::not_found, "debuginfod: the client library (" DEBUGINFOD_SONAME ") is not installed");
  const std::unique_ptr<debuginfod_client, decltype(&debuginfod_end)> client(use->begin(), use->end);
  if (!client) return fail(Errc::io, "debuginfod: the client library cannot start");
  if (progress) {
    use->set_user_data(client.get(), const_cast<Progress*>(&progress));
    use->set_progressfn(client.get(), report);
  }
  char* path = nullptr;
  // A length of 0 means that the id is a hexadecimal string.
  const int descriptor = use->find_debuginfo(client.get(), reinterpret_cast<const unsigned char*>(build_id.c_str()), 0, &path);
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
