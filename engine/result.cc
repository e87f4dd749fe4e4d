// Errors as text: the one place that words them for a person.
#include "engine/result.h"

#include <fmt/format.h>

namespace kvm {

std::string_view name(Errc code) {
  switch (code) {
    case Errc::not_mapped:
      return "not mapped";
    case Errc::not_in_dump:
      return "not in the dump";
    case Errc::lost:
      return "lost";
    case Errc::bad_data:
      return "bad data";
    case Errc::not_found:
      return "not found";
    case Errc::unsupported:
      return "unsupported";
    case Errc::read_only:
      return "read-only";
    case Errc::io:
      return "input/output error";
    case Errc::bad_request:
      return "bad request";
  }
  return "unknown error";
}

std::string to_string(const Error& error) {
  if (!error.note.empty()) return error.note;
  switch (error.code) {
    case Errc::not_in_dump:
      return fmt::format("{:#x}: not in the dump (the page was excluded when the dump was made)", error.addr);
    case Errc::lost:
      return fmt::format("{:#x}: lost (the dump is incomplete or truncated there)", error.addr);
    case Errc::not_mapped:
    case Errc::bad_data:
    case Errc::read_only:
      return fmt::format("{:#x}: {}", error.addr, name(error.code));
    default:
      return std::string(name(error.code));
  }
}

}  // namespace kvm
