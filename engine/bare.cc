// CPUs as threads, and nothing else.
#include "engine/bare.h"

#include "engine/cpu_notes.h"

namespace kvm {
namespace {

class BareModel final : public OsModel {
 public:
  BareModel(const arch::Arch& arch, const Dump& dump, std::string release, BareAnswers answers) : release_(std::move(release)), answers_(std::move(answers)) {
    unsigned number = 0;
    for (CpuState& state : cpu_states(dump.notes, arch)) cpus_.push_back({number++, true, std::move(state.registers)});
  }
  std::string_view name() const override { return "bare"; }
  std::string release() const override { return release_; }
  Result<std::vector<Task>> tasks(std::vector<std::string>&) const override {
    std::vector<Task> tasks;
    for (const Cpu& cpu : cpus_) {
      Task task;
      task.pid = 1, task.tid = cpu.number + 1;
      task.comm = "CPU " + std::to_string(cpu.number);
      task.state = 'R';
      task.cpu = cpu.number;
      task.on_cpu = true;
      tasks.push_back(std::move(task));
    }
    return tasks;
  }
  Result<std::vector<Module>> modules(std::vector<std::string>&) const override { return std::vector<Module>{}; }
  std::vector<Cpu> cpus() const override { return cpus_; }
  Result<RegisterFile> registers(const Task& task) const override {
    for (const Cpu& cpu : cpus_)
      if (cpu.registers && task.cpu == cpu.number) return *cpu.registers;
    return fail(Errc::not_found, "no such CPU");
  }
  Result<std::vector<LogLine>> log() const override {
    return answers_.log ? answers_.log() : fail(Errc::not_found, "the log needs the kernel's symbols and types");
  }
  std::string panic_message() const override {
    const auto lines = answers_.panic_in ? log() : fail(Errc::not_found);
    return lines ? answers_.panic_in(*lines) : std::string();
  }
  Result<Pieces> pieces() const override { return answers_.pieces ? answers_.pieces() : OsModel::pieces(); }

 private:
  std::string release_;
  BareAnswers answers_;
  std::vector<Cpu> cpus_;
};

class NoSymbols final : public Symbols {
  std::optional<Symbol> find(std::string_view) const override { return std::nullopt; }
  std::optional<Symbol> at(VirtAddr) const override { return std::nullopt; }
};

class NoTypes final : public Types {
  Result<Member> member(std::string_view, std::string_view) const override { return fail(Errc::not_found); }
  Result<std::uint64_t> size_of(std::string_view) const override { return fail(Errc::not_found); }
  std::optional<std::int64_t> enumerator(std::string_view) const override { return std::nullopt; }
};

}  // namespace

std::unique_ptr<OsModel> make_bare_model(const arch::Arch& arch, const Dump& dump, std::string release, BareAnswers answers) {
  return std::make_unique<BareModel>(arch, dump, std::move(release), std::move(answers));
}
std::unique_ptr<Symbols> no_symbols() { return std::make_unique<NoSymbols>(); }
std::unique_ptr<Types> no_types() { return std::make_unique<NoTypes>(); }

}  // namespace kvm
