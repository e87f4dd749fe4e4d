// The model of a machine about which nothing is known but its CPUs: what remains when there is no OS model.
#pragma once

#include <functional>

#include "engine/os.h"

namespace kvm {

// `pieces`: what the kernel tells of itself even so; may be empty.
std::unique_ptr<OsModel> make_bare_model(const arch::Arch& arch, const Dump& dump, std::string release,
                                         std::function<Result<Pieces>()> pieces = {});

// No symbols and no types: every question is answered with not_found.
std::unique_ptr<Symbols> no_symbols();
std::unique_ptr<Types> no_types();

}  // namespace kvm
