// 64-bit MIPS, little-endian; mips64.h has the facts.
#include "arch/mips64.h"

namespace kvm::arch {

extern const Arch mips64el;
constexpr Arch mips64el = mips::row("mips64el", "mips64el", std::endian::little);

}  // namespace kvm::arch
