#include "stub/report.h"

#include <catch2/catch.hpp>

#include "stub/json.h"
#include "stub/report_text.h"
#include "tests/unit/stub/fake_kernel.h"

using namespace kvm;
using namespace kvm::rsp;

namespace {

std::string text(std::string_view report, std::vector<std::string> words = {}) {
  const Kernel kernel = fake::make_kernel();
  const auto result = find_report(report)->text(kernel, words);
  return result ? *result : "error: " + to_string(result.error());
}

std::string json_of(std::string_view report, std::vector<std::string> words = {}) {
  const Kernel kernel = fake::make_kernel();
  const auto result = find_report(report)->json(kernel, words);
  return result ? json::serialize(*result) : "error: " + to_string(result.error());
}

}  // namespace

TEST_CASE("text from a crashed machine is made safe") {
  CHECK(printable("caf\xc3\xa9 \x1b[31m\x7f\xff\xc2\x9b") == "caf\xc3\xa9 \\x1b[31m\\x7f\\xff\\xc2\\x9b");
  CHECK(utf8("ok \xff\xc3\xa9\xc3(\xed\xa0\x80\xf4\x90\x80\x80") ==
        "ok \xef\xbf\xbd\xc3\xa9\xef\xbf\xbd(" "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
  CHECK(utf8("\xf0\x9f\x92\xa5") == "\xf0\x9f\x92\xa5");
  CHECK(xml_text("<a b=\"c\" & 'd'>\x01\xff\xef\xbf\xbf") == "&lt;a b=&quot;c&quot; &amp; &apos;d&apos;&gt;???");
  CHECK(json_text("a\"\\\n\x01\xff") == "\"a\\\"\\\\\\n\\u0001\xef\xbf\xbd\"");
}

TEST_CASE("tables are aligned and have no trailing space") {
  Table table{{"N", Table::Align::right}, {"NAME"}, {"X"}};
  table.row({"1", "caf\xc3\xa9", "a"});
  table.row({"100", "", "b"});
  CHECK(table.text() == "  N  NAME  X\n  1  caf\xc3\xa9  a\n100  -     b\n");
}

TEST_CASE("ps") {
  CHECK(text("ps").starts_with("                 PID                   TID  PPID  ST  CPU  TASK                COMM\n"
                               "                  42                    42     0  R     1  0xffff88800000802a  bash\n"));
  CHECK(text("ps").find("<&\\x1b]0;x\\x07\"}#$*\\xff\n") != std::string::npos);
  CHECK(json_of("ps").starts_with(R"([{"pid":42,"tid":42,"ppid":0,"state":"R","cpu":1,"comm":"bash","task":"0xffff88800000802a"},)"));
}

TEST_CASE("modules and log") {
  CHECK(text("modules") == "BASE                SIZE  NAME\n0xffff88800000a000  8192  dummy_mod\n0xffff88800000d000  4096  other\n");
  CHECK(json_of("modules") == R"([{"name":"dummy_mod","base":"0xffff88800000a000","size":8192},{"name":"other","base":"0xffff88800000d000","size":4096}])");
  CHECK(text("log") == "[    0.001500] Linux version 6.1.0-fake\n[    2.000001] evil \\x1b[31m line \\xff\n");
  CHECK(json_of("log").starts_with(R"([{"nanoseconds":1500000,"level":5,"text":"Linux version 6.1.0-fake"},)"));
}

TEST_CASE("info") {
  CHECK(json_of("info") ==
        R"({"dump":"/tmp/vmcore","format":"fake","arch":"x86_64","system":"Linux","release":"6.1.0-fake","build_id":null,"paging":"4-level","slide":"0x1a000000",)"
        R"("phys_base":"0x0","source":"the test","cpus":3,"cpus_online":2,"tasks":9,"modules":2,"panic":"sysrq triggered crash",)"
        R"("panic_task":{"pid":42,"tid":42,"cpu":1,"comm":"bash","task":"0xffff88800000802a"},"vmlinux":null,"remarks":[]})");
  CHECK(text("info").find("panic task:  bash (pid 42, CPU 1)\n") != std::string::npos);
}

TEST_CASE("symbols by name, by address, with an offset, in modules") {
  CHECK(json_of("symbol", {"panic"}) ==
        R"([{"name":"panic","address":"0xffff888000001000","size":64,"module":null,"kind":"T","offset":0,"source":[]}])");
  CHECK(json_of("symbol", {"panic+0x10", "0xffff888000001010", "ffff888000001010"}) ==
        "[" + json_of("symbol", {"panic+10"}).substr(1, json_of("symbol", {"panic+10"}).size() - 2) + "," +
            json_of("symbol", {"panic+10"}).substr(1, json_of("symbol", {"panic+10"}).size() - 2) + "," +
            json_of("symbol", {"panic+10"}).substr(1));
  CHECK(json_of("symbol", {"0xffff88800000a010"}) ==
        R"([{"name":null,"address":"0xffff88800000a010","size":null,"module":"dummy_mod","kind":null,"offset":null,"source":[]}])");
  CHECK(text("symbol", {"0xffff88800000a010"}).find("dummy_mod+0x10 [dummy_mod]") != std::string::npos);
  CHECK(text("symbol", {"nosuch"}) == "error: 'nosuch' is neither an address nor a known symbol (there is no vmlinux to look in)");
  CHECK(text("symbol", {}).starts_with("error: "));
  for (auto word : {"", "+", "panic+", "+10", "panic+g", "0x", "0x10000000000000000"}) CHECK(text("symbol", {word}).starts_with("error: "));
}

TEST_CASE("translate says which of the three kinds of trouble it is") {
  CHECK(json_of("translate", {"panic", "0x10", "0xffff888000003008"}) ==
        R"([{"address":"0xffff888000001000","steps":[],"physical":"0x1000","file_offset":"0x2000","status":"present"},)"
        R"({"address":"0x10","steps":[],"physical":null,"file_offset":null,"status":"not mapped"},)"
        R"({"address":"0xffff888000003008","steps":[],"physical":"0x3008","file_offset":"0x4008","status":"not in the dump"}])");
  CHECK(text("translate", {"panic"}).starts_with("VIRTUAL    0xffff888000001000  panic\nBY         direct map\n"));
}

TEST_CASE("hex dump") {
  std::uint8_t bytes[18];
  for (std::uint8_t i = 0; i < 18; ++i) bytes[i] = static_cast<std::uint8_t>('A' + i);
  bytes[1] = 0;
  CHECK(hex_dump(0x1000, bytes) ==
        "0x0000000000001000:  41 00 43 44 45 46 47 48  49 4a 4b 4c 4d 4e 4f 50  |A.CDEFGHIJKLMNOP|\n"
        "0x0000000000001010:  51 52                                             |QR|\n");
}
