// FreeBSD.  Its parts are in engine/os/freebsd/; this is the row.
#include "engine/os/freebsd/map.h"

namespace kvm {

extern const OsKind freebsd_os;
const OsKind freebsd_os{
    .name = "freebsd",
    .probe = os_freebsd::is_freebsd,
    .map = os_freebsd::map_kernel,
    .open = [](const KernelView&, const Dump&, const KernelMap&) -> Result<std::unique_ptr<OsModel>> {
      return fail(Errc::unsupported, "FreeBSD's processes are not read yet");
    },
};

}  // namespace kvm
