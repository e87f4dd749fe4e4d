// VMCOREINFO's three ways to write a number, and text that nobody should trust.
#include "engine/os/linux/vmcoreinfo.h"

#include <catch2/catch.hpp>

using kvm::os_linux::Vmcoreinfo;

TEST_CASE("values by exact key", "[linux][vmcoreinfo]") {
  const Vmcoreinfo info("OSRELEASE=6.1.0-35-amd64\nBUILD-ID=00ff\nEMPTY=\nSYMBOL(_stext)=ffffffff81000000\nEQUALS=a=b");
  CHECK(info.value("OSRELEASE") == "6.1.0-35-amd64");
  CHECK(info.value("BUILD-ID") == "00ff");
  CHECK(info.value("EMPTY") == "");
  CHECK(info.value("EQUALS") == "a=b");
  CHECK(!info.value("OSRELEAS"));
  CHECK(!info.value("OSRELEASE="));
  CHECK(!info.value("RELEASE"));
  CHECK(!info.value("SYMBOL"));
  CHECK(!info.value(""));
}

TEST_CASE("SYMBOL and KERNELOFFSET are hexadecimal without a prefix", "[linux][vmcoreinfo]") {
  const Vmcoreinfo info("SYMBOL(_stext)=ffffffffa2e00000\nKERNELOFFSET=21e00000\nPREFIXED=0x10\nBAD=12x\nLONG=10000000000000000\n");
  CHECK(info.symbol("_stext") == 0xffffffffa2e00000u);
  CHECK(info.hex("KERNELOFFSET") == 0x21e00000u);
  CHECK(info.hex("PREFIXED") == 0x10u);
  CHECK(!info.hex("BAD"));
  CHECK(!info.hex("LONG"));
  CHECK(!info.symbol("_text"));
}

TEST_CASE("NUMBER is decimal, negative or prefixed hexadecimal", "[linux][vmcoreinfo]") {
  const Vmcoreinfo info(
      "NUMBER(phys_base)=-12582912\nNUMBER(big)=1073741824\nNUMBER(hex)=0xffff800000000000\nNUMBER(zero)=0\n"
      "NUMBER(least)=-9223372036854775808\nNUMBER(most)=18446744073709551615\n"
      "NUMBER(over)=18446744073709551616\nNUMBER(minus)=-\nNUMBER(twice)=--1\nNUMBER(x)=0x\nNUMBER(empty)=\nNUMBER(tail)=1 \n"
      "NUMBER(plus)=+1\nNUMBER(minushex)=-0x1\nLENGTH(mem_section)=2048\nSIZE(page)=64\nOFFSET(page.flags)=0\n");
  CHECK(info.number("NUMBER(phys_base)") == 0xffffffffff400000u);
  CHECK(info.number("NUMBER(big)") == 0x40000000u);
  CHECK(info.number("NUMBER(hex)") == 0xffff800000000000u);
  CHECK(info.number("NUMBER(zero)") == 0u);
  CHECK(info.number("NUMBER(least)") == 0x8000000000000000u);
  CHECK(info.number("NUMBER(most)") == ~0ull);
  CHECK(info.number("LENGTH(mem_section)") == 2048u);
  CHECK(info.number("SIZE(page)") == 64u);
  CHECK(info.number("OFFSET(page.flags)") == 0u);
  for (const char* key : {"over", "minus", "twice", "x", "empty", "tail", "plus", "minushex", "absent"}) {
    INFO(key);
    CHECK(!info.number("NUMBER(" + std::string(key) + ")"));
  }
}

TEST_CASE("hostile text is only text", "[linux][vmcoreinfo]") {
  CHECK(Vmcoreinfo("").empty());
  CHECK(!Vmcoreinfo("").value("A"));
  CHECK(!Vmcoreinfo("\n\n\n").value("A"));
  CHECK(!Vmcoreinfo("A").value("A"));
  CHECK(Vmcoreinfo("A=").value("A") == "");
  CHECK(Vmcoreinfo("=x\n").value("") == "x");
  CHECK(Vmcoreinfo("A=1\nA=2\n").value("A") == "1");
  CHECK(Vmcoreinfo(std::string("A=\0B=1\n", 7)).value("A")->size() == 4);
  CHECK(!Vmcoreinfo(std::string(1 << 20, '=')).value("A"));
  CHECK(!Vmcoreinfo(std::string(1 << 20, '\n')).number("A"));
}

TEST_CASE("all symbols that VMCOREINFO names", "[linux][vmcoreinfo]") {
  const Vmcoreinfo info("OSRELEASE=6.1\nSYMBOL(_stext)=ffffffff81000000\nSYMBOL(broken=12\nSYMBOL(bad)=xyz\nNUMBER(a)=1\nSYMBOL(prb)=0x10");
  CHECK(info.symbols() == std::vector<std::pair<std::string, std::uint64_t>>{{"_stext", 0xffffffff81000000}, {"prb", 0x10}});
}
