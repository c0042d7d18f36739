"""A PMTiles file of five tiles that cover the world twice [github.com/protomaps/PMTiles, version 3], of pictures or of shapes."""

from __future__ import annotations

import struct
import zlib
from enum import IntEnum

_HEADER = struct.Struct("<7sB 11Q 6B 4i B 2i")
_UNCOMPRESSED = 1
_WORLD_E7 = (-1_800_000_000, -850_000_000, 1_800_000_000, 850_000_000)


class TileType(IntEnum):
    """What tiles are."""

    VECTOR = 1
    PNG = 2


def pmtiles(tile: bytes, kind: TileType) -> bytes:
    """Return a file that has TILE for 0/0/0 and for the four of the next zoom."""
    one_entry, from_id, times = 1, 0, 5
    directory = b"".join(map(_varint, (one_entry, from_id, times, len(tile), 1)))
    metadata = b"{}"
    at_metadata = _HEADER.size + len(directory)
    at_tile = at_metadata + len(metadata)
    header = _HEADER.pack(
        b"PMTiles", 3, _HEADER.size, len(directory), at_metadata, len(metadata), at_tile, 0, at_tile, len(tile), times, 1, 1,
        1, _UNCOMPRESSED, _UNCOMPRESSED, kind, 0, 1, *_WORLD_E7, 0, 0, 0,
    )  # fmt: skip
    return header + directory + metadata + tile


def picture(red: int, green: int, blue: int) -> bytes:
    """Return a PNG of 256 by 256 pixels, all of one colour [www.w3.org/TR/png, section 5]."""
    rows = (b"\0" + bytes((red, green, blue)) * 256) * 256
    head = struct.pack(">2I5B", 256, 256, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )


def earth() -> bytes:
    """Return a vector tile that is all land: one square in the layer `earth` [mapbox vector tile specification 2.1, section 4]."""
    side = 4096
    # MoveTo 0,0; three times LineTo; ClosePath. Numbers are in zigzag.
    geometry = (9, 0, 0, 26, 2 * side, 0, 0, 2 * side, 2 * side - 1, 0, 15)
    feature = _number(3, 3) + _bytes(4, b"".join(map(_varint, geometry)))
    layer = _bytes(1, b"earth") + _bytes(2, feature) + _number(5, side) + _number(15, 2)
    return _bytes(3, layer)


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, data: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    made = bytearray()
    while value > 127:
        made.append(value & 127 | 128)
        value >>= 7
    return bytes([*made, value])
