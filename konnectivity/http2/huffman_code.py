"""Huffman code of HPACK (RFC 7541 appendix B): decoding of string literals, in time linear in their size. Pure.

The code is canonical: the codes of one length are consecutive numbers in the order of their symbols, and longer codes
are greater. So the lengths define all codes.
"""

from __future__ import annotations

from bisect import bisect_right

_LENGTHS = bytes.fromhex(  # bits of the code of each byte, and of the end-of-string symbol 256
    "0d171c1c1c1c1c1c1c181e1c1c1e1c1c1c1c1c1c1c1c1e1c1c1c1c1c1c1c1c1c060a0a0c0d06080b0a0a080b080606060505"
    "050606060606060607080f060c0a0d06070707070707070707070707070707070707070707070807080d130d0e060f050605"
    "06050606060507070606060506070605050607070707070f0b0e0d1c14161414161616171617171717171817181816171817"
    "1717171516171617171816151416161717151716161815161717151516151716171714161616171616171a1a141316171619"
    "1a1a1a1b1b1a181913151a1b1b1a1b1815151a1a1c1b1b1b14181415161515171616191918181a171a1b1a1a1b1b1b1b1b1c"
    "1b1b1b1b1b1a1e"
)
_BITS = 30  # length of the longest code
_SYMBOLS = sorted(range(len(_LENGTHS)), key=_LENGTHS.__getitem__)


def _rows() -> tuple[list[int], list[tuple[int, int]]]:
    """Return the first code of each length, shifted to 30 bits; and that length, and its offset in `_SYMBOLS`."""
    firsts: list[int] = []
    rows: list[tuple[int, int]] = []
    code = last = 0
    for at, symbol in enumerate(_SYMBOLS):
        length = _LENGTHS[symbol]
        if length != last:
            code <<= length - last
            firsts.append(code << _BITS - length)
            rows.append((length, at - code))
            last = length
        code += 1
    return firsts, rows


_FIRSTS, _ROWS = _rows()


def decode(data: bytes) -> bytes:
    """Return the decoded string.

    Raises:
        ValueError: the data has the end-of-string symbol, or ends in other bits than up to seven ones.

    """
    out = bytearray()
    bits = size = 0  # bits that are not decoded yet, and their number
    for byte in data:
        bits = bits << 8 | byte
        size += 8
        while size >= _BITS:
            window = bits >> size - _BITS
            length, offset = _ROWS[bisect_right(_FIRSTS, window) - 1]
            out.append(_SYMBOLS[offset + (window >> _BITS - length)])
            size -= length
            bits &= (1 << size) - 1
    while size:
        window = bits << _BITS - size
        length, offset = _ROWS[bisect_right(_FIRSTS, window) - 1]
        if length > size:
            break
        out.append(_SYMBOLS[offset + (window >> _BITS - length)])
        size -= length
        bits &= (1 << size) - 1
    if size > 7 or bits != (1 << size) - 1:
        raise ValueError("a Huffman code is cut off")
    return bytes(out)
