// 64-bit MIPS, big-endian; mips64.h has the facts.
#include "arch/mips64.h"

namespace kvm::arch {

extern const Arch mips64;
constexpr Arch mips64 = mips::row("mips64", "mips64", std::endian::big);

}  // namespace kvm::arch
