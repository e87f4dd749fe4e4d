// Reading and writing kernel memory.  libkvm's rule: a page without translation fails the whole call, even behind pages that
// were read; a file that ends makes it short.  Kernel::read() keeps the good part and says why.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "engine/compat/handle.h"

namespace kvm::compat {
namespace {

// The position is set first: that is what tells a bad address on a device.
bool seek(kvm_t* kd, kvaddr_t at) {
  errno = 0;
  if (::lseek(kd->live, static_cast<off_t>(at), SEEK_SET) != -1 || errno == 0) return true;
  note(kd, fmt::format("invalid address ({:#x})", at));
  return false;
}

ssize_t read_live(kvm_t* kd, kvaddr_t at, void* out, std::size_t size) {
  if (!seek(kd, at)) return -1;
  const ssize_t got = ::read(kd->live, out, size);
  if (got < 0) {
    const std::string why = std::strerror(errno);
    return note(kd, "kvm_read: " + why), -1;
  }
  if (static_cast<std::size_t>(got) < size) complain(kd, "short read");
  return got;
}

// The page that holds `at`, or null after a note.
std::optional<Extent> page_of(kvm_t* kd, VirtAddr at) {
  auto extent = kd->kernel->space().extent_at(at);
  if (extent && extent->phys) return *extent;
  note(kd, extent ? fmt::format("invalid address ({:#x})", at.raw) : fmt::format("invalid address ({:#x}): {}", at.raw, to_string(extent.error())));
  return std::nullopt;
}

// Power's kernels do not run where they were linked, and libkvm takes their link-time addresses too: those below the direct map
// (kvm_minidump_powerpc64_hpt.c and kvm_minidump_powerpc64_radix.c in lib/libkvm).
VirtAddr run_time(kvm_t* kd, VirtAddr at) {
  const auto moved = kd->kernel->dump().slide;
  const bool below = moved && std::ranges::all_of(kd->kernel->map().mappings, [at](const Mapping& mapping) { return at < mapping.first; });
  return below ? at + *moved : at;
}

ssize_t read_dead(kvm_t* kd, VirtAddr address, MutableBytes out) {
  const PhysicalMemory& memory = *kd->kernel->dump().memory;
  std::size_t done = 0;
  while (done < out.size()) {
    const VirtAddr at = address + done;
    const auto page = page_of(kd, at);
    if (!page) return -1;
    const std::uint64_t room = std::min<std::uint64_t>(page->last - at, out.size() - done - 1) + 1;
    const auto got = memory.read(page->at(at), out.subspan(done, room));
    if (!got && got.error().code == Errc::not_in_dump) {
      note(kd, fmt::format("invalid address ({:#x}): physical address {:#x} not in the dump", at.raw, page->at(at).raw));
      return -1;
    }
    if (!got || *got == 0) {
      note(kd, fmt::format("kvm_read: {:#x}: {}", at.raw, got ? "the file ends" : name(got.error().code)));
      break;
    }
    done += *got;
  }
  return static_cast<ssize_t>(done);
}

ssize_t write_live(kvm_t* kd, kvaddr_t at, const void* bytes, std::size_t size) {
  if (!seek(kd, at)) return -1;
  const ssize_t got = ::write(kd->live, bytes, size);
  if (got < 0) {
    const std::string why = std::strerror(errno);
    return note(kd, "kvm_write: " + why), -1;
  }
  if (static_cast<std::size_t>(got) < size) complain(kd, "short write");
  return got;
}

ssize_t write_raw(kvm_t* kd, VirtAddr address, Bytes bytes) {
  std::size_t done = 0;
  while (done < bytes.size()) {
    const VirtAddr at = address + done;
    const auto page = page_of(kd, at);
    if (!page) return -1;
    const auto place = kd->kernel->dump().memory->file_offset(page->at(at));
    const std::uint64_t room = std::min<std::uint64_t>(page->last - at, bytes.size() - done - 1) + 1;
    const ssize_t got = place ? ::pwrite(kd->core, bytes.data() + done, room, static_cast<off_t>(*place)) : 0;
    if (got < 0) complain_errno(kd, "kvm_write");
    if (got <= 0) break;
    done += static_cast<std::size_t>(got);
  }
  return static_cast<ssize_t>(done);
}

}  // namespace
}  // namespace kvm::compat

using namespace kvm::compat;

ssize_t kvm_read(kvm_t* kd, unsigned long address, void* out, size_t size) { return kvm_read2(kd, address, out, size); }

ssize_t kvm_read2(kvm_t* kd, kvaddr_t address, void* out, size_t size) {
  return guarded(kd, ssize_t{-1}, [&] {
    return kd->alive() ? read_live(kd, address, out, size) : read_dead(kd, run_time(kd, {address}), {static_cast<std::uint8_t*>(out), size});
  });
}

ssize_t kvm_write(kvm_t* kd, unsigned long address, const void* bytes, size_t size) {
  return guarded(kd, ssize_t{-1}, [&]() -> ssize_t {
    if (kd->alive()) return write_live(kd, address, bytes, size);
    if (kd->writable) return write_raw(kd, {address}, {static_cast<const std::uint8_t*>(bytes), size});
    complain(kd, "kvm_write not implemented for dead kernels");
    return -1;
  });
}
