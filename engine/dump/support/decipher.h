// Encrypted FreeBSD dumps as files that can be read anywhere: both ciphers can start at any of their blocks.  The only user of
// OpenSSL's libcrypto.
#pragma once

#include "engine/dump/support/kernel_dump_header.h"

namespace kvm {

// `private_key` names a file with an RSA key (PEM).  A key that does not fit is an error.
Result<File> deciphered(File file, const DumpKey& key, const std::string& private_key);

}  // namespace kvm
