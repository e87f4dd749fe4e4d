// Writes small CTF of both versions and byte orders, packed and not, alone and with a parent, into a folder: what ctf_fuzz starts from.
#include <filesystem>
#include <fstream>

#include "tests/support/ctf_writer.h"

using namespace kvm::testing;

namespace {

CtfWriter kernel(unsigned version, std::endian order) {
  CtfWriter t(version, order);
  const auto integer = t.integer("int", 4, true), three = t.integer("int bitfield", 4, true, 3), chr = t.integer("char", 1, true);
  const auto either = t.record("", 8, {{"low", integer, 0}, {"high", integer, 32}}, CTF_UNION);
  const auto name = t.array(chr, integer, 20, 20), state = t.to(CTF_TYPEDEF, t.enumeration("", 4, {{"RUNNING", 1}}), "state_t");
  const auto parent = t.to(CTF_POINTER, t.next() + 2);
  t.to(CTF_POINTER, t.function(integer, {integer}));
  t.record("proc", 64, {{"p_pid", integer, 0}, {"p_flag", three, 32}, {"", either, 64}, {"p_comm", name, 128}, {"p_pptr", parent, 320},
                        {"p_state", state, 384}});
  t.record("long_one", 70000, {{"last", t.to(CTF_CONST, integer), 69996 * 8}});
  t.label("label");
  return t;
}

CtfWriter module(unsigned version, std::endian order) {
  CtfWriter t(version, order, true);
  t.parent("kernel", "label");
  t.record("softc", 8, {{"number", 1, 0}, {"own", t.next() + 1, 32}});
  t.to(CTF_FORWARD, 6, "nowhere");
  return t;
}

void write(const std::filesystem::path& path, const std::string& question, const CtfWriter::Buffer& parent, const CtfWriter::Buffer& own) {
  std::ofstream out(path, std::ios::binary);
  const auto put = [&](const auto& bytes) { out.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size())); };
  put(question + '\0' + std::to_string(parent.size()) + '\0');
  put(parent);
  put(own);
}

}  // namespace

int main(int count, char** words) {
  if (count != 2) return 2;
  for (const unsigned version : {2u, 3u})
    for (const auto order : {std::endian::little, std::endian::big})
      for (const bool packed : {false, true}) {
        const std::string name = std::to_string(version) + (order == std::endian::big ? "b" : "l") + (packed ? "z" : "");
        const std::filesystem::path folder = words[1];
        write(folder / name, std::string("proc\0p_comm[3]", 14), {}, kernel(version, order).bytes(packed));
        write(folder / (name + "-module"), std::string("softc\0number", 12), kernel(version, order).bytes(packed), module(version, order).bytes(packed));
      }
}
