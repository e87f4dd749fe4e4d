// Names to addresses.  As libkvm: the resolver or the kernel's symbols first; what is missing then is looked for among the
// variables that every network stack, and that every CPU, has a copy of.
#include <fmt/format.h>

#include <string>

#include "engine/compat/handle.h"

namespace kvm::compat {
namespace {

struct Found {
  unsigned char type;
  VirtAddr value;
};

// The letters of nm(1), as a.out's numbers.
unsigned char type_of(const Symbol& symbol) {
  const char kind = symbol.kind;
  const bool global = kind >= 'A' && kind <= 'Z';
  const char lower = global ? static_cast<char>(kind - 'A' + 'a') : kind;
  const unsigned char base = lower == 't' ? N_TEXT : lower == 'b' ? N_BSS : lower == 'a' ? N_ABS : N_DATA;
  return global ? base | N_EXT : base;
}

// `_name` also finds `name`: once, C compilers put an underscore before every name.
std::optional<Found> own_symbol(kvm_t* kd, std::string_view name) {
  auto symbol = kd->kernel->symbols().find(name);
  if (!symbol && name.starts_with('_')) symbol = kd->kernel->symbols().find(name.substr(1));
  if (!symbol) return std::nullopt;
  return Found{type_of(*symbol), symbol->address};
}

std::optional<Found> plain(kvm_t* kd, const std::string& name) {
  if (!kd->resolver) return own_symbol(kd, name);
  kvaddr_t value = 0;
  if (kd->resolver(name.c_str(), &value) != 0) return std::nullopt;
  return Found{N_DATA | N_EXT, {value}};
}

// A variable with a copy per network stack or CPU is an ordinary symbol with a prefix; its value is moved to the copy.
std::optional<Found> prefixed(kvm_t* kd, std::string_view prefix, std::string_view name) {
  if (name.starts_with('_')) name.remove_prefix(1);
  return plain(kd, std::string(prefix).append(name));
}

std::optional<Found> per_cpu(kvm_t* kd, const Statistics& known, std::string_view name) {
  constexpr std::string_view prefix = "pcpu_entry_";
  auto found = prefixed(kd, prefix, name);
  // Where per-CPU variables go by their own names, the prefix asks for a CPU's copy.
  const bool asked = !found && name.starts_with(prefix);
  if (asked) found = plain(kd, std::string(name.substr(prefix.size())));
  if (!found) return std::nullopt;
  const auto copy = known.cpu_variable(found->value, kd->cpu);
  if (!copy && asked) return std::nullopt;
  return Found{found->type, copy.value_or(found->value)};
}

std::optional<Found> copied(kvm_t* kd, const Statistics& known, std::string_view name) {
  if (auto found = prefixed(kd, "vnet_entry_", name)) return Found{found->type, known.network_variable(found->value).value_or(found->value)};
  return per_cpu(kd, known, name);
}

// Quiet: a name that is nowhere is no error.
const Statistics* copies(kvm_t* kd) {
  char kept[kvm_error_bytes];
  std::copy_n(kd->error, kvm_error_bytes, kept);
  const char* program = std::exchange(kd->program, nullptr);
  const Statistics* known = statistics(kd, "kvm_nlist");
  kd->program = program;
  std::copy_n(kept, kvm_error_bytes, kd->error);
  return known;
}

bool has_name(const struct kvm_nlist& entry) { return entry.n_name && *entry.n_name; }

int look_up(kvm_t* kd, struct kvm_nlist* list) {
  int missing = 0;
  for (auto* entry = list; has_name(*entry); ++entry) {
    const auto found = kd->alive() ? std::nullopt : plain(kd, entry->n_name);
    entry->n_type = found ? found->type : N_UNDF;
    entry->n_value = found ? found->value.raw : 0;
    missing += entry->n_type == N_UNDF;
  }
  const Statistics* known = missing && !kd->alive() ? copies(kd) : nullptr;
  for (auto* entry = list; known && has_name(*entry); ++entry) {
    if (entry->n_type != N_UNDF) continue;
    const auto found = copied(kd, *known, entry->n_name);
    if (!found || found->type == N_UNDF) continue;
    entry->n_type = found->type;
    entry->n_value = found->value.raw;
    --missing;
  }
  return missing;
}

}  // namespace
}  // namespace kvm::compat

using namespace kvm::compat;

int kvm_nlist2(kvm_t* kd, struct kvm_nlist* list) {
  return guarded(kd, -1, [&] { return look_up(kd, list); });
}

int kvm_nlist(kvm_t* kd, struct nlist* list) {
  return guarded(kd, -1, [&] {
    if (!kvm_native(kd)) {
      complain(kd, "kvm_nlist of non-native vmcore");
      return -1;
    }
    std::vector<struct kvm_nlist> wide;
    for (const struct nlist* entry = list; entry->n_name && *entry->n_name; ++entry) wide.push_back({entry->n_name, 0, 0});
    wide.push_back({nullptr, 0, 0});
    const int missing = look_up(kd, wide.data());
    for (std::size_t i = 0; i + 1 < wide.size(); ++i) {
      list[i].n_type = wide[i].n_type;
      list[i].n_other = 0;
      list[i].n_desc = 0;
      list[i].n_value = wide[i].n_value;
    }
    return missing;
  });
}
