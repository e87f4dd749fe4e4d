// The model of a machine about which nothing is known but its CPUs: what remains when there is no OS model.
#pragma once

#include <functional>

#include "engine/os.h"

namespace kvm {

// What can be told even so; each may be empty.
struct BareAnswers {
  std::function<Result<Pieces>()> pieces = {};             // what the kernel tells of itself
  std::function<Result<std::vector<LogLine>>()> log = {};  // the dump's own copy
  std::string (*panic_in)(const std::vector<LogLine>& log) = nullptr;
};
std::unique_ptr<OsModel> make_bare_model(const arch::Arch& arch, const Dump& dump, std::string release, BareAnswers answers = {});

// No symbols and no types: every question is answered with not_found.
std::unique_ptr<Symbols> no_symbols();
std::unique_ptr<Types> no_types();

}  // namespace kvm
