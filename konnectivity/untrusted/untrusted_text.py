"""Text from peers, files and people, cut to a length and made safe to print. Pure.

Owns the escaping that logs, tools and pages share, and the cut of texts in packets. Does not know the output.
"""

from __future__ import annotations

MAX_BYTES = 1024  # size of one text in a packet, in UTF-8
CUT = "\N{HORIZONTAL ELLIPSIS}"  # the last character of a text that was cut
_CUT_BYTES = len(CUT.encode())
_ESCAPES = {"\a": r"\a", "\b": r"\b", "\f": r"\f", "\n": r"\n", "\r": r"\r", "\t": r"\t", "\v": r"\v"}


def cut(text: str, size: int = MAX_BYTES) -> str:
    """Return `text` in at most `size` bytes of UTF-8; a text that was longer ends in `CUT`.

    >>> cut("a" * 10, 8)
    'aaaaa…'
    """
    if len(text) <= size and text.isascii():
        return text
    data = text[: size + 1].encode("utf-8", "backslashreplace")
    if len(data) <= size:
        return data.decode()
    return data[: size - _CUT_BYTES].decode("utf-8", "ignore") + CUT


def visible(text: str, length: int = MAX_BYTES) -> str:
    r"""Return `text` in at most about `length` printable characters, the others written as in Go's %q.

    Control characters, escape sequences, line and paragraph separators, bidirectional overrides, zero-width
    characters and surrogates are not printable. The time taken is linear in `length`.

    >>> visible("a\x1b[2J\u202e\n")
    'a\\x1b[2J\\u202e\\n'
    """
    if len(text) <= length and text.isprintable():
        return text
    return _escaped(text, length, "")


def printable(text: str) -> str:
    r"""Return `text` with line ends and tabs kept, and every other character that is not printable escaped.

    >>> printable("two\n\tlines\x1b[2J\r")
    'two\n\tlines\\x1b[2J\\r'
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char in "\n\t" else _escape_of(char) for char in text)


def quoted(text: str, length: int = MAX_BYTES) -> str:
    r"""Return `visible` text in double quotes, its quotes and backslashes escaped as in Go's %q.

    >>> quoted('say "hi"\n')
    '"say \\"hi\\"\\n"'
    """
    if len(text) <= length and text.isprintable() and "\\" not in text and '"' not in text:
        return f'"{text}"'
    return f'"{_escaped(text, length, _QUOTED)}"'


_QUOTED = '\\"'


def _escaped(text: str, length: int, special: str) -> str:
    parts: list[str] = []
    room = length
    for char in text[: length + 1]:
        part = char if char.isprintable() else _escape_of(char)
        if char in special:
            part = "\\" + char
        room -= len(part)
        if room < 0:
            parts.append(CUT)
            break
        parts.append(part)
    return "".join(parts)


def _escape_of(char: str) -> str:
    code = ord(char)
    if char in _ESCAPES:
        return _ESCAPES[char]
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
