// Every recorded conversation, replayed on the fake kernel it was recorded with.
#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "tests/support/transcript.h"
#include "tests/unit/stub/fake_kernel.h"

using namespace kvm;

namespace {

std::string contents(const std::filesystem::path& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

}  // namespace

TEST_CASE("recorded conversations") {
  int count = 0;
  for (const auto& entry : std::filesystem::directory_iterator(TEST_DATA "/golden/rsp")) {
    if (entry.path().extension() != ".txt") continue;
    INFO(entry.path());
    const Kernel kernel = fake::make_kernel();
    const rsp::Shared shared(kernel, {});
    rsp::Session session(shared);
    CHECK(test::replay(session, contents(entry.path())) == "");
    ++count;
  }
  CHECK(count > 0);
}

TEST_CASE("a replay notices differences") {
  const Kernel kernel = fake::make_kernel();
  const rsp::Shared shared(kernel, {});
  auto differs = [&](std::string_view transcript) {
    rsp::Session session(shared);
    return test::replay(session, transcript) != "";
  };
  CHECK_FALSE(differs("# nothing\n\n"));
  CHECK_FALSE(differs("> qC\n< QC2a\n> nonsense\n< \n"));
  CHECK_FALSE(differs("> qC\n<~ QC\n> nonsense\n<\n2> qC\n2< other\n"));
  CHECK(differs("> qC\n< QC2b\n"));
  CHECK(differs("> qC\n"));
  CHECK(differs("> qC\n< QC2a\n< QC2a\n"));
  CHECK(differs("> \\q\n"));
}
