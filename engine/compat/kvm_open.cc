// Opening, in libkvm's order of checks and with its words (lib/libkvm/kvm.c); the work is Kernel::open's.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/param.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <memory>

#include "engine/compat/handle.h"
#include "engine/integers.h"

namespace kvm::compat {
namespace {

constexpr std::string_view dev_null = "/dev/null", dev_mem = "/dev/mem", dev_kmem = "/dev/kmem";
constexpr std::string_view raw_devices[] = {"/dev/fwmem", "/dev/vmm"};  // another machine's memory: FireWire, a bhyve guest

// The processor of this program.
const arch::Arch* host() {
  utsname name{};
  const arch::Arch* arch = uname(&name) == 0 ? arch::find_machine(name.machine) : nullptr;
  return arch && arch->pointer_bytes == sizeof(void*) ? arch : nullptr;
}

// The processor of a kernel file, after libkvm's complaints about files that are none.
const arch::Arch* machine_of(kvm_t* kd, const std::string& path) {
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return complain_errno(kd, path), nullptr;
  std::array<std::uint8_t, 20> start{};  // e_ident, e_type, e_machine
  const ssize_t got = ::read(file, start.data(), start.size());
  ::close(file);
  constexpr std::uint8_t magic[] = {0x7f, 'E', 'L', 'F'};
  if (got < static_cast<ssize_t>(start.size()) || !std::equal(std::begin(magic), std::end(magic), start.begin()))
    return complain(kd, "kernel is not an ELF file"), nullptr;
  const unsigned bits = start[4], encoding = start[5];  // EI_CLASS, EI_DATA
  if (encoding != 1 && encoding != 2) return complain(kd, "unsupported ELF data encoding for kernel"), nullptr;
  const std::endian order = encoding == 1 ? std::endian::little : std::endian::big;
  const auto* arch = arch::find_elf(load<std::uint16_t>(start.data() + 18, order), bits == 1 ? 4 : 8, order);
  if (!arch) complain(kd, "unsupported architecture");
  return arch;
}

// A dump that does not say whose it is has the kernel file's processor.
Result<Kernel> open_kernel(OpenOptions& options, const arch::Arch* machine) {
  auto kernel = Kernel::open(options);
  if (kernel || !machine || kernel.error().code != Errc::unsupported) return kernel;
  OpenOptions named = options;
  named.arch = machine->name;
  if (auto again = Kernel::open(named)) {
    options = named;
    return again;
  }
  return kernel;
}

bool open_dead(kvm_t* kd, const char* exec, const std::string& core) {
  const arch::Arch* machine = nullptr;
  if (exec && !(machine = machine_of(kd, exec))) return false;
  kd->options.dump = core;
  kd->options.vmlinux = exec ? exec : "";
  kd->options.structures = false;
  for (std::string_view device : raw_devices) {
    if (!core.starts_with(device)) continue;
    kd->writable = true;
    kd->options.format = "raw";
    if (machine) kd->options.arch = machine->name;
  }
  auto kernel = open_kernel(kd->options, machine);
  if (!kernel) return complain(kd, to_string(kernel.error())), false;
  if (machine && machine != &kernel->arch())
    return complain(kd, fmt::format("{}: is of {}, the dump of {}", exec, machine->name, kernel->arch().name)), false;
  kd->native = &kernel->arch() == host();
  if (!kd->native && !kd->resolver) return complain(kd, "non-native kernel requires a symbol resolver"), false;
  if (kd->resolver == kvm_own_symbols) kd->resolver = nullptr;
  if (kernel->map().mappings.empty()) {
    const auto remarks = kernel->remarks();
    return complain(kd, core + ": " + (remarks.empty() ? "virtual addresses cannot be translated" : remarks.front())), false;
  }
  kd->kernel.emplace(std::move(*kernel));
  return true;
}

bool open_files(kvm_t* kd, const char* exec, const char* core, int flags) {
  if (exec && std::strlen(exec) >= MAXPATHLEN) return complain(kd, "exec file name too long"), false;
  if (flags & ~O_RDWR) return complain(kd, "bad flags arg"), false;
  const std::string path = core ? core : std::string(dev_mem);
  if ((kd->core = ::open(path.c_str(), flags | O_CLOEXEC)) < 0) return complain_errno(kd, path), false;
  struct stat status {};
  if (::fstat(kd->core, &status) < 0) return complain_errno(kd, path), false;
  if (S_ISREG(status.st_mode) && status.st_size <= 0) {
    errno = EINVAL;
    return complain_errno(kd, "empty file"), false;
  }
  if (S_ISCHR(status.st_mode) && path == dev_null) {
    kd->live = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    return true;
  }
  if (S_ISCHR(status.st_mode) && path == dev_mem) {
    const std::string kmem(dev_kmem);
    kd->live = ::open(kmem.c_str(), flags | O_CLOEXEC);
    return kd->live >= 0 || (complain_errno(kd, kmem), false);
  }
  return open_dead(kd, exec, path);
}

kvm_t* open_handle(const char* exec, const char* core, int flags, char* errors, const char* program, kvm_resolver resolver) {
  auto handle = std::make_unique<__kvm>();
  handle->program = program;
  handle->resolver = resolver;
  if (guarded(handle.get(), false, [&] { return open_files(handle.get(), exec, core, flags); })) return handle.release();
  if (errors) std::copy_n(handle->error, kvm_error_bytes, errors);
  return nullptr;
}

kvm_t* open_or_null(const char* exec, const char* core, int flags, char* errors, const char* program, kvm_resolver resolver) {
  return guarded(nullptr, static_cast<kvm_t*>(nullptr), [&] { return open_handle(exec, core, flags, errors, program, resolver); });
}

}  // namespace
}  // namespace kvm::compat

using namespace kvm::compat;

kvm_t* kvm_open(const char* exec, const char* core, const char*, int flags, const char* program) {
  return open_or_null(exec, core, flags, nullptr, program, nullptr);
}

kvm_t* kvm_openfiles(const char* exec, const char* core, const char*, int flags, char* errors) {
  return open_or_null(exec, core, flags, errors, nullptr, nullptr);
}

kvm_t* kvm_open2(const char* exec, const char* core, int flags, char* errors, int (*resolver)(const char*, kvaddr_t*)) {
  return open_or_null(exec, core, flags, errors, nullptr, resolver);
}

int kvm_close(kvm_t* kd) {
  if (!kd) {
    errno = EINVAL;
    return -1;
  }
  const int result = kd->close();
  delete kd;
  return result;
}

int kvm_native(kvm_t* kd) { return kd->alive() || kd->native; }

kssize_t kvm_kerndisp(kvm_t* kd) { return kd->kernel ? static_cast<kssize_t>(kd->kernel->map().slide) : 0; }

int kvm_own_symbols(const char*, kvaddr_t*) { return -1; }
