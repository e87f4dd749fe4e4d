"""Rewrites an uncompressed kdump with snappy or zstd pages.

Debian builds makedumpfile without these two, other distributions with them.  Everything but the page descriptors and the
pages stays as makedumpfile wrote it; the compressors are the real libraries.  The format: makedumpfile's IMPLEMENTATION,
"disk_dump_header" and "page_desc_t".
"""

import ctypes
import mmap
import struct

# Bits of the header's status and of a descriptor's flags.
SNAPPY, ZSTD = 0x4, 0x20

HEADER_STATUS = 424  # after 8 of signature, 4 of version, 6 * 65 of utsname, 6 of padding and 16 of time
DESCRIPTOR = struct.Struct("<qIIQ")  # offset, size, flags, page_flags


def load_snappy():
  library = ctypes.CDLL("libsnappy.so.1")

  def compress(page):
    room = ctypes.c_size_t(len(page) * 2)
    output = ctypes.create_string_buffer(room.value)
    if library.snappy_compress(page, ctypes.c_size_t(len(page)), output, ctypes.byref(room)):
      raise RuntimeError("snappy_compress failed")
    return output.raw[:room.value]
  return compress


def load_zstd():
  library = ctypes.CDLL("libzstd.so.1")
  library.ZSTD_compress.restype = ctypes.c_size_t

  def compress(page):
    room = len(page) * 2
    output = ctypes.create_string_buffer(room)
    size = library.ZSTD_compress(output, ctypes.c_size_t(room), page, ctypes.c_size_t(len(page)), 1)
    if size > room:
      raise RuntimeError("ZSTD_compress failed")
    return output.raw[:size]
  return compress


def recompress(source, target, method):
  compress = {SNAPPY: load_snappy, ZSTD: load_zstd}[method]()
  with open(source, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as old, open(target, "wb") as new:
    status, block, sub_header_blocks, bitmap_blocks = struct.unpack_from("<IiiI", old, HEADER_STATUS)
    # The second half of the bitmaps has one bit for every page that is in the dump.
    bitmap = (1 + sub_header_blocks) * block
    bitmap_end = bitmap + bitmap_blocks * block
    pages = bin(int.from_bytes(old[bitmap + bitmap_blocks * block // 2:bitmap_end], "little")).count("1")

    head = bytearray(old[:bitmap_end])
    struct.pack_into("<I", head, HEADER_STATUS, status | method)
    new.write(head)
    descriptors = []
    new.seek(bitmap_end + pages * DESCRIPTOR.size)
    placed = {}  # old offset to new place: all zero pages share one
    for index in range(pages):
      offset, size, flags, page_flags = DESCRIPTOR.unpack_from(old, bitmap_end + index * DESCRIPTOR.size)
      if flags:
        raise RuntimeError(f"{source} is compressed")
      if offset not in placed:
        page = old[offset:offset + size]
        small = compress(page)
        # As makedumpfile: a page that does not shrink is stored as it is.
        data, how = (small, method) if len(small) < len(page) else (page, 0)
        placed[offset] = (new.tell(), len(data), how)
        new.write(data)
      descriptors.append(DESCRIPTOR.pack(*placed[offset], page_flags))
    new.seek(bitmap_end)
    new.write(b"".join(descriptors))
