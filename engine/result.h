// How functions fail here: they return Result<T>, and callers hand the error up with TRY.
// `not_mapped`, `not_in_dump` and `lost` are three different answers and stay so all the way to the user.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <type_traits>
#include <utility>

namespace kvm {

enum class Errc : std::uint8_t {
  not_mapped,   // the page tables say there is nothing at this address
  not_in_dump,  // the machine had this page, the dump was made without it
  lost,         // the dump should hold it, but the file is cut or incomplete
  bad_data,     // bytes that make no sense
  not_found,    // a name, member or file that does not exist
  unsupported,
  read_only,
  io,
  bad_request,  // the caller's words are off
};

struct Error {
  Errc code;
  std::uint64_t addr = 0;  // where, for memory errors
  std::string note = {};   // empty on hot paths: a fault is a normal answer and must not allocate
};

template <class T>
using Result = tl::expected<T, Error>;

inline tl::unexpected<Error> fail(Errc code, std::uint64_t addr = 0) { return tl::unexpected<Error>(Error{code, addr, {}}); }
inline tl::unexpected<Error> fail(Errc code, std::string note) { return tl::unexpected<Error>(Error{code, 0, std::move(note)}); }
inline tl::unexpected<Error> fail(Errc code, std::uint64_t addr, std::string note) {
  return tl::unexpected<Error>(Error{code, addr, std::move(note)});
}

std::string_view name(Errc code);          // "not mapped"
std::string to_string(const Error& error);  // one line for a person

// tl::expected<void> has no value() to move out of.
template <class T>
T take(Result<T>&& result) {
  if constexpr (!std::is_void_v<T>) return std::move(result).value();
}

// Hands an error up, or yields the value.  Our only macro; never inside a coroutine.
#define TRY(expression)                                                         \
  __extension__({                                                               \
    auto try_result_ = (expression);                                            \
    if (!try_result_) return tl::unexpected(std::move(try_result_).error());    \
    ::kvm::take(std::move(try_result_));                                        \
  })

}  // namespace kvm
