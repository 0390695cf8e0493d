"""HPACK decoder (RFC 7541) whose time is linear in the size of the block, and whose limits hold for each field.

Owns the peer's dynamic table. Does not know what a field means.

A client that opens a connection for each request begins all of them with the same block. So the outcome of a short
first block is kept for all connections of the process.
"""

from __future__ import annotations

from typing import NamedTuple

from konnectivity.http2 import huffman_code
from konnectivity.http2.header_table import TABLE_SIZE, Field, HeaderTable
from konnectivity.untrusted.bounded_map import BoundedMap

FIELD_OVERHEAD = 32  # bytes that each field counts in addition to its name and value (RFC 9113 section 6.5.2)
_MOST_UPDATES = 2  # size updates in one block: an encoder needs no more (RFC 7541 section 4.2)
_MOST_INTEGER_BYTES = 5
_HUFFMAN_BYTES = 8  # bytes of Huffman code that cost about as much time as one field
_FIELD_BYTES = 128  # decoded bytes that count as one field, because they may have to be kept
_REMEMBERED = 64  # first blocks that are kept
_SHORT = 512  # bytes of a first block that is kept
_MOST_MEMORY = 256 * 1024  # bytes that all kept blocks may take, decoded
_SECRET = b"authorization"  # a block with this field is not kept


class HeaderBlockError(ValueError):
    """Block that breaks the rules of HPACK."""


class OversizedFieldsError(HeaderBlockError):
    """Block whose fields are too large together."""


class TooManyFieldsError(HeaderBlockError):
    """Block of more fields than allowed."""


class _FirstBlock(NamedTuple):
    """Outcome of a connection's first block: its fields, the work of decoding it, and the table that it has left."""

    fields: tuple[tuple[str, str], ...]
    work: int
    table: HeaderTable


def _memory_of(key: tuple[bytes, int, int], first: _FirstBlock) -> int:
    """Return the bytes of memory of a block, roughly: a character takes up to four, and the table has a copy."""
    return len(key[0]) + sum(8 * (len(name) + len(value)) + 200 for name, value in first.fields) + 500


_first_blocks: BoundedMap[tuple[bytes, int, int], _FirstBlock] = BoundedMap(_REMEMBERED, _MOST_MEMORY, _memory_of)


class HeaderDecoder:
    """Decoder of one peer's header blocks. An exception ends the connection, because the state is lost.

    Args:
        list_bytes: largest size of a decoded block, as SETTINGS_MAX_HEADER_LIST_SIZE counts it.
        fields: largest number of fields in a block.

    """

    __slots__ = ("_began", "_fields", "_list_bytes", "_shares_table", "_table", "work")

    def __init__(self, list_bytes: int, fields: int) -> None:
        self.work = 0  # work of all blocks so far, in fields
        self._list_bytes = list_bytes
        self._fields = fields
        self._table = _EMPTY
        self._began = False
        self._shares_table = True  # the table belongs to other decoders, too

    def texts(self, block: bytes) -> list[tuple[str, str]]:
        """Return the fields of a block as text; bytes that are not UTF-8 become surrogates. Raises as `decode` does."""
        if self._began or len(block) > _SHORT:
            return [(_text(name), _text(value)) for name, value in self.decode(block)]
        self._began = True
        key = block, self._list_bytes, self._fields
        first = _first_blocks.get(key)
        if first is None:
            decoded = self.decode(block)
            first = _FirstBlock(tuple((_text(name), _text(value)) for name, value in decoded), self.work, self._table)
            if all(name.lower() != _SECRET for name, _ in decoded):
                self._shares_table = True
                _first_blocks[key] = first
        else:
            self.work, self._table = first.work, first.table
        return list(first.fields)

    def decode(self, block: bytes) -> list[Field]:
        """Return the fields of a block, in order.

        Raises:
            TooManyFieldsError: the block has more fields than allowed.
            OversizedFieldsError: the fields are too large together.
            HeaderBlockError: the block is malformed.

        """
        fields: list[Field] = []
        size = at = updates = 0
        if self._shares_table:
            self._own_table()
        end = len(block)
        try:
            while at < end:
                first = block[at]
                if first & 0x80:
                    index, at = _integer(block, at, 0x7F)
                    field = self._table.field(index)
                elif first & 0xE0 == 0x20:
                    updates += 1
                    at = self._resize(block, at, bool(fields) or updates > _MOST_UPDATES)
                    continue
                else:
                    field, at = self._literal(block, at, first)
                size += len(field[0]) + len(field[1]) + FIELD_OVERHEAD
                if size > self._list_bytes:
                    raise OversizedFieldsError("header list too large")
                if len(fields) == self._fields:
                    raise TooManyFieldsError("too many header fields")
                fields.append(field)
        except IndexError as error:
            raise HeaderBlockError("truncated header block, or an index without an entry") from error
        self.work += len(fields) + size // _FIELD_BYTES
        return fields

    def _own_table(self) -> None:
        """Copy the table that other decoders share, because a block may change it."""
        self._table = self._table.copy()
        self._shares_table = False
        self._began = True

    def _resize(self, block: bytes, at: int, misplaced: bool) -> int:
        """Apply a size update of the dynamic table (RFC 7541 section 6.3); return the position behind it."""
        size, at = _integer(block, at, 0x1F)
        if misplaced or size > TABLE_SIZE:
            raise HeaderBlockError("dynamic table size update out of place, or too large")
        self._table.resize(size)
        return at

    def _literal(self, block: bytes, at: int, first: int) -> tuple[Field, int]:
        """Decode a literal field (RFC 7541 section 6.2); return the field and the position behind it."""
        indexed = first & 0x40
        index, at = _integer(block, at, 0x3F if indexed else 0x0F)
        if index:
            name = self._table.field(index)[0]
        else:
            name, at = self._string(block, at)
        value, at = self._string(block, at)
        if indexed:
            self._table.add(name, value)
        return (name, value), at

    def _string(self, block: bytes, at: int) -> tuple[bytes, int]:
        """Decode a string literal (RFC 7541 section 5.2); return the string and the position behind it."""
        huffman = block[at] & 0x80
        length, at = _integer(block, at, 0x7F)
        stop = at + length
        if stop > len(block):
            raise HeaderBlockError("truncated header block")
        if not huffman:
            return block[at:stop], stop
        self.work += length // _HUFFMAN_BYTES
        try:
            return huffman_code.decode(block[at:stop]), stop
        except ValueError as error:
            raise HeaderBlockError(str(error)) from error


_EMPTY = HeaderTable()


def _text(field: bytes) -> str:
    return field.decode("utf-8", "surrogateescape")


def _integer(block: bytes, at: int, mask: int) -> tuple[int, int]:
    """Decode an integer with a prefix of `mask` (RFC 7541 section 5.1); return it and the position behind it."""
    value = block[at] & mask
    at += 1
    if value < mask:
        return value, at
    for shift in range(0, 7 * _MOST_INTEGER_BYTES, 7):
        byte = block[at]
        at += 1
        value += (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise HeaderBlockError("integer of too many bytes")
