// Mistakes that other stubs have made, one test each.
#include <catch2/catch.hpp>

#include "tests/unit/stub/conversation.h"

using fake::Conversation;
using namespace kvm::rsp;

TEST_CASE("a length larger than the reply buffer") {
  for (std::size_t packet_size : {0x40, 0x1000, 0x20000}) {
    Conversation c({}, {.packet_size = packet_size});
    c.as_gdb();
    for (auto body : {"mffff888000000000,ffffffffffffffff", "mffff888000000000,7fffffff", "xffff888000000000,ffffffff",
                      "xffff888000000000,8000000000000000"})
      CHECK(c.ask(body).size() <= packet_size);
  }
}

TEST_CASE("offset plus length that overflows") {
  Conversation c;
  c.as_gdb();
  CHECK(c.ask("qXfer:features:read:target.xml:ffffffffffffff00,1000") == "l");
  CHECK(c.ask("qXfer:features:read:target.xml:1,ffffffffffffffff").starts_with("l?xml"));
  CHECK(c.ask("mffffffffffffff00,1000") == "E0e");
  CHECK(c.ask("qSearch:memory:ffffffffffffff00;ffffffffffffffff;a") == "0");
}

TEST_CASE("an offset past the end is the end") { CHECK(Conversation().ask("qXfer:threads:read::ffffffff,1000") == "l"); }

TEST_CASE("documents never exceed the packet size, escapes included") {
  Conversation c({.more_tasks = 3000}, {.packet_size = 0x100});
  c.as_gdb();
  for (std::size_t offset = 0; offset < 2000; offset += 100) {
    const std::string piece = encode(c.ask("qXfer:threads:read::" + std::to_string(offset) + ",fffff"));
    CHECK(piece.size() <= 0x104);
  }
}

TEST_CASE("names from the dump are escaped for every format") {
  Conversation gdb, lldb;
  const std::string xml = gdb.as_gdb().read("threads:read:") + gdb.read("osdata:read:threads");
  for (char c : xml) CHECK((c == '\n' || static_cast<unsigned char>(c) >= 0x20));
  const std::string json = lldb.as_lldb().ask("jThreadsInfo");
  for (char c : json) CHECK((static_cast<unsigned char>(c) >= 0x20 && static_cast<unsigned char>(c) < 0x7f));
  // On the wire nothing but the frame may be a bare `#` or `$`.
  const std::string bytes(lldb.session().consume(encode("jThreadsInfo")));
  CHECK(bytes.find('#') == bytes.size() - 3);
  CHECK(bytes.find('$', 1) == bytes.npos);
}

TEST_CASE("a packet without end, escapes without end") {
  Conversation c({}, {.packet_size = 0x1000});
  c.ask("QStartNoAckMode");
  Session& s = c.session();
  CHECK(s.consume("$") == "");
  for (int i = 0; i < 100; ++i) {
    CHECK(s.consume(std::string(0x10000, '}')) == "");
    CHECK(s.consume(std::string(0x10000, 'm')) == "");
  }
  CHECK(s.consume("#00") == "");
  CHECK(c.ask("qC") == "QC2a");
}

TEST_CASE("bad run lengths") {
  Conversation c;
  Session& s = c.session();
  for (auto bytes : {"$*#2a", "$q*\x1f#9a", "$q*\x7f#1a", "$*~#a8", "$q*#9b"}) CHECK(s.consume(bytes) == "-");
  CHECK(c.ask("qC") == "QC2a");
}

TEST_CASE("no host file is ever opened") {
  Conversation c({.vmlinux = "/etc/hostname"});
  c.as_gdb();
  for (std::string path : {"/etc/passwd", "../../../../etc/passwd", "/etc/../etc/hostname", "/proc/self/mem", "", "/", "just probing",
                           "/etc/hostname/", "etc/hostname"})
    CHECK(c.ask("vFile:open:" + hex(path) + ",0,0") == "F-1,2");
  for (auto flags : {"1", "2", "200", "201", "8", "ffffffffffffffff"})
    CHECK(c.ask("vFile:open:" + hex("/etc/hostname") + "," + flags + ",1ff") == "F-1,d");
  CHECK(c.ask("vFile:pwrite:0,0,x") == "F-1,d");
  CHECK(c.ask("vFile:unlink:" + hex("/etc/hostname")) == "F-1,d");
  CHECK(c.ask("vFile:readlink:" + hex("/etc/hostname")) == "F-1,16");
  for (auto body : {"vFile:open:zz,0,0", "vFile:open:", "vFile:open:00", "vFile:open:00,0", "vFile:pread:0", "vFile:pread:0,1,2,3"})
    CHECK(c.ask(body) == "F-1,16");
  for (auto body : {"vFile:pread:0,1,0", "vFile:pread:ffffffffffffffff,1,0", "vFile:fstat:7", "vFile:close:0", "vFile:close:-1"})
    CHECK(c.ask(body) == "F-1,9");
}

TEST_CASE("nothing on the host is started or ended") {
  Conversation c;
  c.as_gdb();
  for (auto body : {"vRun;2f62696e2f7368", "vRun", "vAttach;1234"}) CHECK(c.ask(body) == "E01");
  CHECK(c.ask("R00") == "");
  CHECK(c.ask_all("qRcmd," + hex("!touch /tmp/x"))[0].starts_with("O" + hex("No such command")));
}

TEST_CASE("sessions share no selection") {
  const kvm::Kernel kernel = fake::make_kernel();
  const Shared shared(kernel, {});
  Session one(shared), two(shared);
  one.consume(encode("Hg7"));
  CHECK(one.consume(encode("qC")) == "+" + encode("QC7"));
  CHECK(two.consume(encode("qC")) == "+" + encode("QC2a"));
}

TEST_CASE("a search of all memory gives others their turn") {
  Conversation c({.more_tasks = 0});
  c.as_gdb();
  Session& s = c.session();
  std::string out(s.consume(encode("qSearch:memory:0;ffffffffffffffff;not there at all") + encode("qC")));
  for (int i = 0; i < 1000 && s.busy(); ++i) out += s.consume({});
  CHECK(out == encode("0") + encode("QCp1.2a"));
}

TEST_CASE("a client that goes in the middle of anything") {
  const kvm::Kernel kernel = fake::make_kernel();
  const Shared shared(kernel, {});
  const std::string bytes = encode(fake::gdb_hello) + encode("qXfer:threads:read::0,1000") + encode("qSearch:memory:0;ffffffff;a}b#") + "+-\x03" +
                            encode("vFile:open:" + hex("x") + ",0,0");
  for (std::size_t size = 0; size <= bytes.size(); ++size) {
    Session session(shared);
    session.consume(std::string_view(bytes).substr(0, size));
  }
}

TEST_CASE("numbers of every size") {
  Conversation c;
  c.as_gdb();
  for (auto id : {"Hg-1", "Hgp-1.-1", "HgP1.1", "Hgp1.ffffffffffffffff", "Hgp1.10000000000000000", "Hgp.", "Hgp", "Hg.", "HgFFFFFFFF", "T-1", "Tp0.0"})
    CHECK_FALSE(c.ask(id).empty());
  CHECK(c.ask("Hgp1.2A") == "OK");
  CHECK(c.ask("Hgp1.ffffffffffffffff") == "E01");
  CHECK(c.ask("Hg10000000000000000") == "E01");
}
