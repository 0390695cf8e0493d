"""Blocks of PEM files (RFC 7468). Pure; knows nothing of the contents of blocks."""

from __future__ import annotations

import base64
import binascii
from typing import NamedTuple

BEGIN, _END, _DASHES = b"-----BEGIN ", b"-----END ", b"-----"


class Block(NamedTuple):
    """Block between a BEGIN and its END."""

    label: str  # "CERTIFICATE", "PRIVATE KEY", ...
    line: int  # line number of the block's BEGIN, from 1
    headers: bool  # has lines such as `Proc-Type: 4,ENCRYPTED`
    body: bytes

    def data(self) -> bytes:
        """Return the decoded content of the block.

        Raises:
            ValueError: the block is not base64, or has headers.

        """
        try:
            return base64.b64decode(self.body, validate=True)
        except binascii.Error as error:
            raise ValueError(f"line {self.line}: the {self.label} is malformed: {error}") from error


def blocks(content: bytes) -> list[Block]:
    """Return all blocks of a file, in their order. Text around blocks is a comment.

    Raises:
        ValueError: a block has no end, as in a file that is still being written.

    """
    found: list[Block] = []
    label, begin, body = b"", 0, [b""]
    for number, raw in enumerate(content.splitlines(), 1):
        line = raw.rstrip()
        if line.startswith(BEGIN) and line.endswith(_DASHES):
            _check_closed(label, begin)
            label, begin, body = line[len(BEGIN) : -len(_DASHES)], number, []
        elif label and line == _END + label + _DASHES:
            found.append(Block(label.decode("latin-1"), begin, any(b":" in each for each in body), b"".join(body)))
            label = b""
        elif label:
            body.append(line.strip())
    _check_closed(label, begin)
    return found


def _check_closed(label: bytes, begin: int) -> None:
    if label:
        raise ValueError(f"line {begin}: the {label.decode('latin-1')} has no end")
