// A file that appears whole or not at all: it is written without a name, or under a temporary one, and named at the end.
#pragma once

#include <string>
#include <vector>

#include "engine/result.h"
#include "engine/types.h"

namespace kvm {

class OutputFile {
 public:
  // Refuses what is no regular file, and to replace one of `inputs`, whatever name it goes by.
  static Result<OutputFile> create(const std::string& path, const std::vector<std::string>& inputs);
  OutputFile(OutputFile&& other) noexcept;
  OutputFile& operator=(OutputFile&&) = delete;
  ~OutputFile();  // without commit() nothing is left

  Result<void> write(std::uint64_t offset, Bytes bytes);
  // Gives the file its size and its name; what was never written is a hole of zeros.
  Result<void> commit(std::uint64_t size);

 private:
  OutputFile(std::string path, int descriptor, std::string temporary)
      : path_(std::move(path)), temporary_(std::move(temporary)), descriptor_(descriptor) {}
  tl::unexpected<Error> failed() const;

  std::string path_, temporary_;  // empty: it has no name yet
  int descriptor_;
};

}  // namespace kvm
