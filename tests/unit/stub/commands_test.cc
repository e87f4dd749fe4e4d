// What each group of packets answers.
#include <catch2/catch.hpp>
#include <set>

#include "tests/unit/stub/conversation.h"

using fake::Conversation;
using namespace kvm;
using namespace kvm::rsp;

TEST_CASE("thread ids are unique whatever the dump says") {
  Conversation c;
  c.as_gdb();
  CHECK(c.ask("qfThreadInfo") == "mp1.2a,p1.1,p1.2,p1.7,p1.50000004,p1.2b,p1.50000000,p1.40000000,p1.40000001");
  CHECK(c.ask("qsThreadInfo") == "l");
  CHECK(c.ask("qfThreadInfo").starts_with("mp1.2a,"));
}

TEST_CASE("thread lists come in packets of the agreed size") {
  Conversation c({.more_tasks = 500}, {.packet_size = 0x200});
  c.as_gdb();
  std::set<std::string> ids;
  for (std::string reply = c.ask("qfThreadInfo"); reply != "l"; reply = c.ask("qsThreadInfo")) {
    CHECK(reply.size() <= 0x200);
    for (std::size_t at = 1; at < reply.size();) {
      const std::size_t end = std::min(reply.find(',', at), reply.size());
      ids.insert(reply.substr(at, end - at));
      at = end + 1;
    }
  }
  CHECK(ids.size() == 509);
}

TEST_CASE("the threads document names every thread, safely") {
  Conversation c;
  c.as_gdb();
  const std::string xml = c.read("threads:read:");
  CHECK(xml.find("<thread id=\"p1.2a\" core=\"1\" name=\"bash\">crashed on CPU 1</thread>") != std::string::npos);
  CHECK(xml.find("name=\"&lt;&amp;?]0;x?&quot;}#$*?\">uninterruptible<") != std::string::npos);
  CHECK(xml.find("name=\"thread\">sleeping, process 1</thread>") != std::string::npos);
  CHECK(xml.find("<thread id=\"p1.40000000\" core=\"0\" name=\"swapper/0\">running on CPU 0</thread>") != std::string::npos);
  Conversation plain;
  CHECK(plain.read("threads:read:").find("<thread id=\"2a\"") != std::string::npos);
}

TEST_CASE("fewer threads when that is asked for") {
  auto count = [](ThreadChoice choice) {
    Conversation c({}, {.threads = choice});
    const std::string ids = c.ask("qfThreadInfo");
    return std::count(ids.begin(), ids.end(), ',') + 1;
  };
  CHECK(count(ThreadChoice::all) == 9);
  CHECK(count(ThreadChoice::user) == 7);  // without kthreadd and the idle task that does not run
  CHECK(count(ThreadChoice::cpus) == 2);
}

TEST_CASE("selecting threads") {
  Conversation c;
  c.as_gdb();
  CHECK(c.ask("?") == "T05thread:p1.2a;");
  CHECK(c.ask("qC") == "QCp1.2a");
  for (auto id : {"Hg0", "Hg-1", "Hgp0.0", "Hgp1.-1", "Hgp-1.-1", "Hgp1.0", "Hc-1", "Hc1", "Hgp1"}) CHECK(c.ask(id) == "OK");
  CHECK(c.ask("qC") == "QCp1.2a");
  CHECK(c.ask("Hgp1.2B") == "OK");
  CHECK(c.ask("qC") == "QCp1.2b");
  for (auto id : {"Hg999", "Hgp2.1", "Hgpx.1", "Hg", "Hg-2", "Hg11111111111111111", "Hgp1.", "Hgp.1", "T999", "T"}) CHECK(c.ask(id) == "E01");
  CHECK(c.ask("Hx1") == "");
  CHECK(c.ask("qC") == "QCp1.2b");
  CHECK(c.ask("Tp1.7") == "OK");
  CHECK(c.ask("qThreadExtraInfo,p1.2b") == hex("thread: sleeping, process 1"));
  CHECK(c.ask("qAttached") == "1");
  CHECK(c.ask("qAttached:1") == "1");
  CHECK(c.ask("vAttach;1") == "T05thread:p1.2a;");
  CHECK(c.ask("vAttach;2") == "E01");
}

TEST_CASE("registers, in the order of target.xml") {
  Conversation c;
  c.as_gdb();
  const std::string g = c.ask("g");
  CHECK(g.starts_with("8877665544332211" + std::string(16 * 5, 'x') + "407000008088ffff" "007000008088ffff"));
  std::size_t bits = 0;
  const std::string xml = c.read("features:read:target.xml");
  for (std::size_t at = 0; (at = xml.find("bitsize=\"", at)) != xml.npos; at += 9) bits += static_cast<std::size_t>(std::stoi(xml.substr(at + 9)));
  CHECK(g.size() == bits / 4);
  CHECK(c.ask("p10") == "1a1000008088ffff");
  CHECK(c.ask("p1") == "E45");
  CHECK(c.ask("pffffffffffffffff") == "E01");
  CHECK(c.ask("p") == "E01");
  CHECK(c.ask("Hg2") == "OK");
  CHECK(c.ask("g") == std::string(g.size(), 'x'));  // its registers are not in the dump
  CHECK(c.ask("g;thread:2a;") == g);
  CHECK(c.ask("p10;thread:1;") == "111000008088ffff");
  CHECK(c.ask("p10;thread:999;") == "E01");
  CHECK(c.ask("gnonsense") == "E01");
  CHECK(c.read("features:read:other.xml") == "(E01)");
}

TEST_CASE("a pc of 0, where gdb dies of one that is not known") {
  Conversation c({.arch = "mips64el"});
  c.as_gdb();
  const std::string g = c.ask("g");
  constexpr std::size_t pc = 34 * 16;  // behind r0 to r31, lo and hi
  CHECK(g.find_first_not_of('x') == pc);
  CHECK(g.substr(pc, 16) == std::string(16, '0'));
  CHECK(g.find_first_not_of('x', pc + 16) == g.npos);
  CHECK(c.ask("p22") == std::string(16, '0'));
  CHECK(c.ask("p1") == "E45");
}

TEST_CASE("memory: the readable prefix, or why there is none") {
  Conversation c;
  c.as_gdb();
  CHECK(c.ask("mffff888000000000,4") == "00070e15");
  CHECK(c.ask("mFFFF888000002ffe,10").size() == 4);  // the next page was left out
  CHECK(c.ask("mffff888000003000,1") == "E0e");
  CHECK(c.ask("mffff88800000fffe,8").size() == 4);
  CHECK(c.ask("mffff888000010000,8") == "E0e");
  CHECK(c.ask("mffffffffffffffff,8") == "E0e");
  for (auto body : {"m", "m0", "m0,", "m,1", "m0,1,2", "mx,1", "m10000000000000000,1", "mffff888000000000,0"}) CHECK(c.ask(body) == "E01");
  CHECK(c.ask("xffff888000006100,6") == std::string("b#$}*\x03\x00", 7));
  CHECK(c.ask("xffff888000003000,1") == "E0e");
  Conversation lldb;
  lldb.as_lldb();
  CHECK(lldb.ask("x0,0") == "OK");
  CHECK(lldb.ask("xffff888000006100,6") == std::string("#$}*\x03\x00", 6));
}

TEST_CASE("lengths are cut to the packet size") {
  Conversation c({}, {.packet_size = 0x100});
  c.as_gdb();
  CHECK(c.ask("mffff888000000000,ffffffffffffffff").size() == 0x100);
  CHECK(c.ask("xffff888000000000,ffffffffffffffff").size() <= 0x100);
  CHECK(encode(c.ask("xffff888000006100,1000")).size() <= 0x104);
}

TEST_CASE("searching memory") {
  Conversation c;
  c.as_gdb();
  CHECK(c.ask("qSearch:memory:ffff888000000000;10000;needle") == "1,ffff888000005000");
  CHECK(c.ask("qSearch:memory:ffff888000005000;6;needle") == "1,ffff888000005000");
  CHECK(c.ask("qSearch:memory:ffff888000005000;5;needle") == "0");
  CHECK(c.ask("qSearch:memory:ffff888000005001;100;needle") == "0");
  CHECK(c.ask("qSearch:memory:0;ffffffffffffffff;needle") == "1,ffff888000005000");
  CHECK(c.ask("qSearch:memory:ffff888000005001;ffffffffffffffff;needle") == "0");
  CHECK(c.ask("qSearch:memory:0;ffffffffffffffff;#$}*") == "1,ffff888000006100");
  CHECK(c.ask("qSearch:memory:0;0;x") == "0");
  for (auto body : {"qSearch:memory:", "qSearch:memory:0;10", "qSearch:memory:0;10;", "qSearch:memory:x;10;a", "qSearch:memory:0;;a"})
    CHECK(c.ask(body) == "E01");
}

TEST_CASE("regions tell mapped memory from holes") {
  Conversation c;
  c.as_lldb();
  CHECK(c.ask("qMemoryRegionInfo:") == "OK");
  CHECK(c.ask("qMemoryRegionInfo:1234") == "start:0;size:ffff888000000000;");
  CHECK(c.ask("qMemoryRegionInfo:ffff888000000123") == "start:ffff888000000000;size:20000;permissions:rwx;");
  CHECK(c.ask("qMemoryRegionInfo:ffffffffffffffff") == "start:ffff888000020000;size:777ffffe0000;");
  CHECK(c.ask("qMemoryRegionInfo:x").starts_with("E01"));
}

TEST_CASE("the slide, in the form that both clients heed") {
  CHECK(Conversation().ask("qOffsets") == "Text=1a000000;Data=1a000000;Bss=1a000000");
}

TEST_CASE("tables for `info os`") {
  Conversation c;
  c.as_gdb();
  CHECK(c.read("osdata:read:").find("<column name=\"Type\">processes</column>") != std::string::npos);
  CHECK(c.read("osdata:read:types") == c.read("osdata:read:"));
  CHECK(c.read("osdata:read:processes").find("<column name=\"command\">systemd</column>") != std::string::npos);
  CHECK(c.read("osdata:read:processes").find("<column name=\"pid\">43</column>") == std::string::npos);
  CHECK(c.read("osdata:read:threads").find("<column name=\"tid\">43</column>") != std::string::npos);
  CHECK(c.read("osdata:read:cpus").find("<column name=\"task\">bash</column>") != std::string::npos);
  CHECK(c.read("osdata:read:modules").find("<column name=\"name\">dummy_mod</column>") != std::string::npos);
  CHECK(c.read("osdata:read:passwords") == "(E01)");
}

TEST_CASE("documents are the same however they are cut") {
  Conversation c;
  c.as_gdb();
  for (const std::string object : {"features:read:target.xml", "threads:read:", "osdata:read:processes"}) {
    const std::string whole = c.read(object, 0x10000);
    for (std::size_t step : {1, 2, 7, 100, 4096}) CHECK(c.read(object, step) == whole);
    CHECK(c.ask("qXfer:" + object + ":ffffffffffffffff,ffffffffffffffff") == "l");
    CHECK(c.ask("qXfer:" + object + ":0,0") == "m");
    CHECK(c.ask("qXfer:" + object + ":0") == "E01");
  }
}

TEST_CASE("monitor prints the reports") {
  Conversation c;
  c.as_gdb();
  const auto packets = c.ask_all("qRcmd," + hex("symbol panic+0x10"));
  REQUIRE(packets.size() == 2);
  CHECK(unhex(packets[0].substr(1))->find("panic+0x10") != std::string::npos);
  CHECK(packets[1] == "OK");
  CHECK(c.ask("qRcmd,zz") == "E01");
  CHECK(unhex(c.ask_all("qRcmd,")[0].substr(1))->find("translate ADDRESS...") != std::string::npos);
  Conversation lldb;
  lldb.as_lldb();
  CHECK(unhex(lldb.ask_all("qRcmd," + hex("modules"))[0].substr(1))->find("dummy_mod") != std::string::npos);
  CHECK(lldb.ask("vCont?") == "vCont;c;C;s;S");
}

TEST_CASE("lldb's documents") {
  Conversation c({.build_id = "c0ffee"});
  c.as_lldb();
  const std::string triple = "triple:" + hex("x86_64-unknown-none") + ";ptrsize:8;endian:little;";
  CHECK(c.ask("qHostInfo") == triple + "default_packet_timeout:60;");
  CHECK(c.ask("qProcessInfo") == "pid:10000000;" + triple + "ostype:none;main-binary-uuid:c0ffee;main-binary-slide:1a000000;");
  const std::string stop = c.ask("?");
  CHECK(stop.starts_with("T05thread:2a;name:bash;10:1a1000008088ffff;06:407000008088ffff;07:007000008088ffff;reason:exception;"));
  CHECK(stop.find(";threads:2a,1,2,7,50000004,2b,50000000,40000000,40000001;thread-pcs:ffff88800000101a,ffff888000001011,0,") != stop.npos);
  CHECK(c.ask("qThreadStopInfo1").starts_with("T00thread:1;name:systemd;10:"));
  CHECK(c.ask("qThreadStopInfo7").find(";hexname:" + hex("<&\\x1b]0;x\\x07\"}#$*\\xff") + ";") != std::string::npos);
  CHECK(c.ask("qThreadStopInfo999").starts_with("E01"));
  const std::string json = c.ask("jThreadsInfo");
  CHECK(json.starts_with(R"([{"tid":42,"name":"bash","reason":"exception","description":"sysrq triggered crash","registers":{"0":"8877665544332211",)"));
  CHECK(json.find(R"({"tid":2,"name":"kthreadd","reason":"none","registers":{}})") != json.npos);
}
