"""Run by Debian's own python3: memory as libkdumpfile reads it.

  peer_kdumpfile.py DUMP ADDRESS:LENGTH...      physical; prints a list of [page's address, SHA-256 or null: no such page]
  peer_kdumpfile.py DUMP --virtual ROOT ADDRESS...
                                                the kernel's; prints a list of [address, 64 bytes or null: not to be had].  ROOT is
                                                the root table's physical address, or 0: libkdumpfile shall find it
"""
import hashlib
import json
import sys

import addrxlat
import kdumpfile

PAGE = 4096
context = kdumpfile.kdumpfile(sys.argv[1])
pages = []
if sys.argv[2] == "--virtual":
    if root := int(sys.argv[3], 0):
        context.attr["addrxlat.force.rootpgt.as"] = addrxlat.MACHPHYSADDR
        context.attr["addrxlat.force.rootpgt.addr"] = root
    context.attr["addrxlat.ostype"] = "linux"
    for word in sys.argv[4:]:
        try:
            pages.append([word, context.read(kdumpfile.KDUMP_KVADDR, int(word, 16), 64).hex()])
        except (kdumpfile.exceptions.NoDataException, kdumpfile.exceptions.AddressTranslationException):
            pages.append([word, None])
    sys.argv[2:] = []
for window in sys.argv[2:]:
    start, length = (int(number, 0) for number in window.split(":"))
    for address in range(start, start + length, PAGE):
        try:
            data = context.read(kdumpfile.KDUMP_MACHPHYSADDR, address, PAGE)
            pages.append([address, hashlib.sha256(data).hexdigest()])
        except kdumpfile.exceptions.NoDataException:
            pages.append([address, None])
json.dump(pages, sys.stdout)
