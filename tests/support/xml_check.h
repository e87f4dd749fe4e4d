// Enough of an XML reader to say whether a document is well formed: elements nest, attributes are quoted and unique,
// nothing unescaped.  Catches what a missing quote or a feature split in two would do to a debugger.
#pragma once

#include <string>
#include <string_view>

namespace kvm::testing {

// Empty when well formed, else what is wrong.
std::string xml_problem(std::string_view document);

}  // namespace kvm::testing
