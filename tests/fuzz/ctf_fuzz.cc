// CTF from untrusted bytes.  An input is a type's name, a member path and the size of a parent, each ended by a NUL, then the parent's
// CTF, if its size is not 0, and the CTF itself.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "engine/symbols/ctf.h"

namespace {

using namespace kvm;

void ask(const Result<std::unique_ptr<Types>>& types, const std::string& type, const std::string& path) {
  if (!types) return;
  for (int i = 0; i < 2; ++i) {  // the second answer is the remembered one
    (void)(*types)->member(type, path);
    (void)(*types)->size_of(type);
    (void)(*types)->enumerator(type);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string parts[3];
  for (std::string& part : parts) {
    while (size != 0 && *data != 0) part += static_cast<char>(*data++), --size;
    if (size != 0) ++data, --size;
  }
  const std::size_t first = std::min<std::size_t>(std::strtoul(parts[2].c_str(), nullptr, 10), size);
  const Bytes parent(data, first), own(data + first, size - first);
  ask(open_ctf(own, 8), parts[0], parts[1]);
  if (first) ask(open_child_ctf(own, parent, 4), parts[0], parts[1]);
  return 0;
}
