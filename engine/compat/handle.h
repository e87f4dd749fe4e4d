// What a kvm_t is, and how its functions fail.  Nothing of this is visible to programs: they see kvm.h.
#pragma once

#include <exception>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "engine/compat/kvm.h"
#include "engine/kernel.h"

// _POSIX2_LINE_MAX, on which callers of kvm_openfiles() rely.
inline constexpr std::size_t kvm_error_bytes = 2048;

using kvm_resolver = int (*)(const char*, kvaddr_t*);

struct __kvm {
  const char* program = nullptr;     // kvm_open(): who prints hard errors; the caller keeps the text
  char error[kvm_error_bytes] = {};
  int core = -1, live = -1;          // descriptors of the dump, and of /dev/kmem or /dev/null
  bool writable = false;             // the dump is a machine's raw memory
  kvm_resolver resolver = nullptr;   // null: the kernel's own symbols
  bool native = true;
  kvm::OpenOptions options;
  std::optional<kvm::Kernel> kernel;  // memory and symbols; none on a live handle
  std::optional<kvm::Result<kvm::Kernel>> structures;  // the same dump with types and OS model, opened when first needed

  unsigned cpu = 0;                  // of kvm_dpcpu_setcpu()
  std::vector<kinfo_proc> processes;  // what was handed out lives until the next call
  std::map<std::pair<pid_t, std::int32_t>, kvm::Task> tasks;  // of `processes`
  std::vector<std::string> words;
  std::vector<char*> pointers;

  __kvm() = default;
  __kvm(const __kvm&) = delete;
  ~__kvm() { close(); }
  int close();  // 0, or -1 with errno; closes once

  bool alive() const { return live >= 0; }
};

namespace kvm::compat {

// A hard error: printed when the handle came from kvm_open() with a name, else kept for kvm_geterr().
void complain(kvm_t* kd, const std::string& text);
// The same with strerror(errno) after a colon.
void complain_errno(kvm_t* kd, const std::string& what);
// A soft error, of the kind that a debugger meets by the thousand: never printed.
void note(kvm_t* kd, const std::string& text);

// The kernel's structures, or null after a complaint that begins with `what`.
const Kernel* structures(kvm_t* kd, const char* what);
const Statistics* statistics(kvm_t* kd, const char* what);

// No exception of the library's (memory that ran out) crosses into C.
template <class Value, class Body>
Value guarded(kvm_t* kd, Value failed, Body body) noexcept {
  try {
    return body();
  } catch (const std::exception&) {
    if (kd) {
      constexpr char text[] = "out of memory";
      std::copy(text, text + sizeof text, kd->error);
    }
    return failed;
  }
}

}  // namespace kvm::compat
