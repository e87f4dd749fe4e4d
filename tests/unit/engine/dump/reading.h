// Shorthand for tests that open dumps and read pages.
#pragma once

#include <catch2/catch.hpp>

#include "engine/dump.h"
#include "tests/support/dump_writer.h"

namespace kvm::testing {

inline Dump opened(Buffer bytes, const std::string& format = {}) {
  auto dump = open_dump(File::from_bytes(std::move(bytes), "made.dump"), format, {});
  INFO((dump ? std::string("opened") : to_string(dump.error())));
  REQUIRE(dump);
  return std::move(*dump);
}

inline std::string refusal(Buffer bytes, const std::string& format = {}) {
  const auto dump = open_dump(File::from_bytes(std::move(bytes), "made.dump"), format, {});
  REQUIRE_FALSE(dump);
  return to_string(dump.error());
}

// Bytes at an address, as many as there are; the error's name when there are none.
inline Buffer bytes_at(const Dump& dump, std::uint64_t address, std::size_t size = 4096) {
  Buffer out(size);
  const auto got = dump.memory->read({address}, out);
  REQUIRE(got);
  out.resize(*got);
  return out;
}

inline Errc error_at(const Dump& dump, std::uint64_t address, std::size_t size = 8) {
  Buffer out(size);
  const auto got = dump.memory->read({address}, out);
  REQUIRE_FALSE(got);
  CHECK(got.error().addr == address);
  CHECK(got.error().note.empty());  // a fault must not allocate
  return got.error().code;
}

inline bool has_remark(const Dump& dump, const std::string& part) {
  for (const std::string& remark : dump.remarks)
    if (remark.find(part) != std::string::npos) return true;
  return false;
}

inline Buffer join(const Buffer& a, const Buffer& b) {
  Buffer both = a;
  both.insert(both.end(), b.begin(), b.end());
  return both;
}

inline Buffer cut(Buffer bytes, std::size_t size) {
  bytes.resize(size);
  return bytes;
}

}  // namespace kvm::testing
