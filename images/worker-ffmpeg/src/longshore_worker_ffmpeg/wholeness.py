"""Whether a file is as long as its own headers say. Reads a few bytes at most places, and none of the pictures.

ffmpeg decodes what is there and may take the end of the file for the end of the video, above all in fragmented mp4
and in transport streams. Formats that say nothing of their length are left to what ffmpeg tells.
https://developer.apple.com/documentation/quicktime-file-format/atoms and https://www.rfc-editor.org/rfc/rfc8794
"""

import os
from pathlib import Path
from typing import BinaryIO, Final

_MP4_STARTS: Final = {b"ftyp", b"styp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pdin"}
# Others at the end may be garbage that a recorder left, whose size means nothing.
_MP4_ESSENTIAL: Final = {b"moov", b"moof", b"mdat"}
_EBML: Final = b"\x1a\x45\xdf\xa3"
_SEGMENT: Final = b"\x18\x53\x80\x67"
_TS_SYNC: Final = 0x47
# Packet size and where its sync byte lies: broadcasts, and Blu-ray or camcorders (a time stamp goes before).
_TS_PACKETS: Final = ((188, 0), (192, 4))
_TS_LOOKED_AT: Final = 5
_TS_CONTENT: Final = 0x30
_TS_PAYLOAD_ONLY: Final = 0x10


def missing_bytes(file: Path) -> int:
    """How many bytes the file lacks at its end, by its own headers; 0 also for formats that don't say."""
    with file.open("rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        head = stream.read(_TS_LOOKED_AT * 192)
        if head[4:8] in _MP4_STARTS:
            return _missing_in_mp4(stream, size)
        if head.startswith(_EBML):
            return _missing_in_matroska(head, size)
        return _missing_in_transport_stream(head, size)


def ends_in_a_full_packet(file: Path) -> bool:
    """
    Whether this is a transport stream whose last packet is full.

    The last packet of a frame is filled up, with one exception in 184. So a full one is no proof that the frame goes
    on, but it is together with a frame that can't be decoded.
    """
    with file.open("rb") as stream:
        length, offset = _packets(stream.read(_TS_LOOKED_AT * 192))
        if not length:
            return False
        stream.seek(offset - length, os.SEEK_END)
        header = stream.read(4)
    return header[0] == _TS_SYNC and header[3] & _TS_CONTENT == _TS_PAYLOAD_ONLY


def _missing_in_mp4(stream: BinaryIO, size: int) -> int:
    at = 0
    while at < size:
        stream.seek(at)
        head = stream.read(16).ljust(16, b"\0")
        length = int.from_bytes(head[:4], "big")
        kind = head[4:8]
        if length == 1:
            length = int.from_bytes(head[8:], "big")
        if not length:  # to the end of the file, wherever that is
            break
        at += length
        if at > size and kind in _MP4_ESSENTIAL:
            return at - size
    return 0


def _missing_in_matroska(head: bytes, size: int) -> int:
    header, length = _number(head, len(_EBML))
    segment = header + (length or 0)
    if length is None or head[segment : segment + 4] != _SEGMENT:
        return 0
    start, length = _number(head, segment + 4)
    return 0 if length is None else max(0, start + length - size)


def _number(data: bytes, at: int) -> tuple[int, int | None]:
    """Where EBML's number at `at` ends, and its value; None for "unknown", as in live recordings."""
    first = data[at] if at < len(data) else 0
    width = 9 - first.bit_length()
    digits = data[at : at + width]
    if not first or len(digits) < width:
        return at, None
    value = int.from_bytes(digits, "big") & ((1 << 7 * width) - 1)
    return at + width, None if value == (1 << 7 * width) - 1 else value


def _missing_in_transport_stream(head: bytes, size: int) -> int:
    length, _ = _packets(head)
    return -size % length if length else 0


def _packets(head: bytes) -> tuple[int, int]:
    for length, offset in _TS_PACKETS:
        syncs = head[offset::length][:_TS_LOOKED_AT]
        if len(syncs) == _TS_LOOKED_AT and set(syncs) == {_TS_SYNC}:
            return length, offset
    return 0, 0
