"""Run by Debian's own python3: memory as libkdumpfile reads it.

  peer_kdumpfile.py DUMP ADDRESS:LENGTH...      physical; prints a list of [page's address, SHA-256 or null: no such page]
  peer_kdumpfile.py DUMP --virtual ADDRESS...   the kernel's; prints a list of [address, 64 bytes or null: not to be had]
"""
import hashlib
import json
import sys

import kdumpfile

PAGE = 4096
context = kdumpfile.kdumpfile(sys.argv[1])
pages = []
if sys.argv[2] == "--virtual":
    context.attr["addrxlat.ostype"] = "linux"
    for word in sys.argv[3:]:
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
