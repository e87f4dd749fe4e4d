#include <catch2/catch.hpp>

#include "tests/unit/stub/conversation.h"

using fake::Conversation;
using namespace kvm::rsp;

TEST_CASE("acknowledgements until the client wants none") {
  Conversation c;
  Session& s = c.session();
  CHECK(s.consume("$qC#b4") == "+$QC2a#27");
  CHECK(s.consume("-") == "$QC2a#27");
  CHECK(s.consume("-") == "$QC2a#27");
  CHECK(s.consume("+") == "");
  CHECK(s.consume("$qC#00") == "-");
  CHECK(s.consume("$QStartNoAckMode#b0") == "+$OK#9a");
  CHECK(s.consume("+") == "");
  CHECK(s.consume("$qC#b4") == "$QC2a#27");
  CHECK(s.consume("-") == "");
  CHECK(s.consume("$qC#00") == "");
  CHECK(s.consume("\x03") == "");
}

TEST_CASE("what is not known gets an empty reply") {
  Conversation c;
  c.as_gdb();
  for (auto body : {"vMustReplyEmpty", "", "qCRC:0,10", "qOffsetsX", "Z0,1000,1", "z0,1000,1", "vCont?", "QNonStop:1", "qTStatus", "R00",
                    "_M100,rwx", "QSaveRegisterState", "qXfer:auxv:read::0,1000", "qXfer:memory-map:read::0,1000", "qGetTLSAddr:1,2,3",
                    "jThreadExtendedInfo:{}", "Dx", "\xff\xfe", "qRegisterInfo0", "bs", "bc", "i", "z", "vStopped", "qSupportedX"})
    CHECK(c.ask(body) == "");
}

TEST_CASE("the client is told apart by how it begins") {
  CHECK(Conversation().as_gdb().session().client() == Client::gdb);
  CHECK(Conversation().as_lldb().session().client() == Client::lldb);
  Conversation other;
  other.ask("qSupported:foo+");
  CHECK(other.session().client() == Client::unknown);
  other.ask("QStartNoAckMode");
  CHECK(other.session().client() == Client::unknown);
}

TEST_CASE("features are those of implemented rows, by client") {
  Conversation gdb;
  CHECK(gdb.ask(fake::gdb_hello) ==
        "PacketSize=20000;QStartNoAckMode+;multiprocess+;qXfer:threads:read+;qXfer:features:read+;binary-upload+;qXfer:libraries:read+;"
        "qXfer:osdata:read+");
  CHECK(gdb.ask("qSupported:swbreak+").find("multiprocess") == std::string::npos);
  Conversation lldb;
  lldb.ask("QStartNoAckMode");
  CHECK(lldb.ask("qSupported:multiprocess+") == "PacketSize=20000;QStartNoAckMode+;qXfer:features:read+");
}

TEST_CASE("resuming: an error for gdb, the stop again for everyone else") {
  Conversation gdb, lldb, unknown;
  gdb.as_gdb();
  lldb.as_lldb();
  unknown.ask("qSupported:foo+");
  for (auto body : {"c", "s", "C05", "S05", "c1000", "vCont;c", "vCont;s:p1.2a;c"}) {
    CHECK(gdb.ask(body) == "E.this is a crash dump, it cannot run");
    const auto packets = lldb.ask_all(body);
    REQUIRE(packets.size() == 2);
    CHECK(packets[0] == "O" + hex("this is a crash dump, it cannot run\n"));
    CHECK(packets[1].starts_with("T05thread:2a;name:bash;"));
    CHECK(lldb.ask(body).find("reason:exception;description:") != std::string::npos);
    const auto stop = unknown.ask_all(body);
    REQUIRE(stop.size() == 1);
    CHECK(stop[0].starts_with("T05thread:2a;"));
  }
}

TEST_CASE("errors: two digits, with text only where a client can take it") {
  Conversation gdb, lldb;
  gdb.as_gdb();
  lldb.as_lldb();
  CHECK(gdb.ask("m0,8") == "E0e");
  CHECK(lldb.ask("m0,8") == "E0e");
  CHECK(gdb.ask("M0,1:00") == "E.this dump is read-only");
  CHECK(lldb.ask("M0,1:00") == "E01;" + hex("this dump is read-only"));
  for (auto body : {"P0=00", "G00", "X0,1:a"}) CHECK(gdb.ask(body).starts_with("E."));
  CHECK(Conversation().ask("P0=00") == "E01");
}

TEST_CASE("goodbyes end only what they should") {
  Conversation gdb, lldb;
  gdb.as_gdb();
  lldb.as_lldb();
  CHECK(gdb.ask("D;1") == "OK");
  CHECK(gdb.ask("vKill;1") == "OK");
  CHECK(gdb.ask("vRun;2f62696e2f6c73") == "E01");
  CHECK_FALSE(gdb.session().finished());
  CHECK(gdb.ask("k") == "(none)");
  CHECK(gdb.session().finished());
  CHECK(lldb.ask("k") == "X09");
  CHECK(lldb.session().finished());
  CHECK(lldb.ask("qC") == "(none)");
  Conversation detached;
  CHECK(detached.as_lldb().ask("D") == "OK");
  CHECK(detached.session().finished());
}

TEST_CASE("many requests at once are answered in order, a bounded amount at a time") {
  Conversation c;
  c.as_gdb();
  std::string requests;
  for (int i = 0; i < 2000; ++i) requests += encode("mffff888000000000,2000") + encode("qC");
  std::string all(c.session().consume(requests));
  CHECK(all.size() < std::size_t{2} << 20);
  CHECK(c.session().busy());
  while (c.session().busy()) {
    const std::string more(c.session().consume({}));
    CHECK(more.size() < std::size_t{2} << 20);
    all += more;
  }
  Decoder decoder(0x20000);
  decoder.feed(all);
  int packets = 0;
  while (auto event = decoder.next()) {
    REQUIRE(std::holds_alternative<Packet>(*event));
    CHECK(std::get<Packet>(*event).body.starts_with(packets++ % 2 ? "QCp1.2a" : "00070e"));
  }
  CHECK(packets == 4000);
}

TEST_CASE("a trace sees every body, both ways") {
  const kvm::Kernel kernel = fake::make_kernel();
  const Shared shared(kernel, {});
  std::string log;
  Session session(shared, [&](char direction, std::string_view body) { log += direction + std::string(body) + "|"; });
  session.consume(encode("qC") + encode("nothing") + encode("qRcmd," + hex("bogus")));
  CHECK(log == ">qC|<QC2a|>nothing|<|>qRcmd,626f677573|<O" + hex("No such command: bogus; try `monitor help`.\n") + "|<OK|");
}
