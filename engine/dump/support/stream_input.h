// What a stream's decoder takes from its file, a piece at a time.
#pragma once

#include <array>

#include "engine/file.h"

namespace kvm {

class StreamInput {
 public:
  explicit StreamInput(File file) : file_(std::move(file)) {}

  // The bytes from `at` on, as many as come at once; none at the end.  Good until the next call.
  Bytes from(std::uint64_t at) {
    if (const Bytes view = file_.view(at, buffer_.size()); !view.empty()) return view;
    return {buffer_.data(), file_.read(at, buffer_)};
  }

 private:
  File file_;
  std::array<std::uint8_t, 64 << 10> buffer_;
};

}  // namespace kvm
