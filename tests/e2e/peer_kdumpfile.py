"""Run by Debian's own python3: physical memory as libkdumpfile reads it.  peer_kdumpfile.py DUMP ADDRESS:LENGTH...

Prints a list of [page's address, SHA-256 or null where there is no such page].
"""
import hashlib
import json
import sys

import kdumpfile

PAGE = 4096
context = kdumpfile.kdumpfile(sys.argv[1])
pages = []
for window in sys.argv[2:]:
    start, length = (int(number, 0) for number in window.split(":"))
    for address in range(start, start + length, PAGE):
        try:
            data = context.read(kdumpfile.KDUMP_MACHPHYSADDR, address, PAGE)
            pages.append([address, hashlib.sha256(data).hexdigest()])
        except kdumpfile.exceptions.NoDataException:
            pages.append([address, None])
json.dump(pages, sys.stdout)
