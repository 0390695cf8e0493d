"""Framing of gRPC messages: a 5-byte prefix (compressed flag, length), then the message. Pure.

Fragments are kept as received and joined once, when the message is complete; a message in one fragment is a view into
it, without a copy. A fragment that is small, absolutely or compared with its buffer, is copied: as views, the fragments
of a message that arrives byte by byte would hold many times its size.
"""

from __future__ import annotations

import struct
from typing import Final

from konnectivity.grpc.status import Code, RpcError

PREFIX = struct.Struct(">BL")
PREFIX_SIZE: Final = 5
MAX_MESSAGE_SIZE: Final = 4 * 1024 * 1024  # default of every gRPC implementation
MAX_EMPTY_MESSAGES: Final = 1000  # empty messages per stream: no peer has a reason to send one
_SMALLEST_VIEW: Final = 512  # bytes; a view and its buffer take about 200 more
_SMALL: Final = 4  # a view is kept of a fragment that is at least this part (a quarter) of its buffer


class MessageReader:
    """Reader of the messages of one stream.

    Attributes:
        fault: error after which nothing more is read; None: none so far.
        limit: name of the limit that led to the fault; empty: none.
        held: bytes of the message that is not complete yet.

    """

    __slots__ = ("_empty", "_max_size", "_need", "_parts", "fault", "held", "limit")

    def __init__(self, max_size: int = MAX_MESSAGE_SIZE) -> None:
        self.fault: RpcError | None = None
        self.limit = ""
        self.held = 0
        self._empty = 0  # empty messages so far
        self._max_size = max_size
        self._parts: list[memoryview | bytearray] = []
        self._need = PREFIX_SIZE

    @property
    def incomplete(self) -> bool:
        """Return whether the stream would end inside a message if it ended now."""
        return bool(self._parts)

    @property
    def size(self) -> int:
        """Size in bytes of the incomplete message, as far as its prefix is known; 0 if there is none."""
        return self._need if self._parts else 0

    def feed(self, data: memoryview) -> list[memoryview]:
        """Return the messages that are complete with `data`, up to the first that cannot be read.

        A message that cannot be read sets `fault`: RESOURCE_EXHAUSTED for a message over the limit, UNIMPLEMENTED for
        a compressed message.
        """
        messages: list[memoryview] = []
        position, end = 0, len(data)
        try:
            if self._parts:
                position = self._complete(data, messages)
            while end - position >= PREFIX_SIZE:
                compressed, length = PREFIX.unpack_from(data, position)
                if compressed or length > self._max_size:
                    raise self._refused(compressed, length)
                start = position + PREFIX_SIZE
                stop = start + length
                if stop > end:
                    self._need = stop - position
                    break
                if not length:
                    self._count_empty()
                messages.append(data[start:stop])
                position = stop
            else:
                if position < end:
                    self._need = PREFIX_SIZE
            if position < end:
                self._keep(data[position:])
        except RpcError as error:
            self.fault = error
        return messages

    def _complete(self, data: memoryview, messages: list[memoryview]) -> int:
        """Complete the message that has begun, and return the number of bytes of `data` that were used."""
        position, end = 0, len(data)
        while self._parts:
            missing = self._need - self.held
            if end - position < missing:
                if position < end:
                    self._keep(data[position:])
                return end
            self._keep(data[position : position + missing])
            position += missing
            whole = memoryview(b"".join(self._parts))
            self._parts.clear()
            self.held = 0
            compressed, length = PREFIX.unpack_from(whole, 0)
            if compressed or length > self._max_size:
                raise self._refused(compressed, length)
            if len(whole) == PREFIX_SIZE and length:
                self._keep(whole)
                self._need = PREFIX_SIZE + length
            else:
                if not length:
                    self._count_empty()
                messages.append(whole[PREFIX_SIZE:])
        return position

    def _keep(self, part: memoryview) -> None:
        size = len(part)
        self.held += size
        if size >= _SMALLEST_VIEW and size * _SMALL >= len(part.obj):  # type: ignore[arg-type]  # bytes, which the stubs do not know
            self._parts.append(part)
        elif self._parts and type(last := self._parts[-1]) is bytearray:
            last += part
        else:
            self._parts.append(bytearray(part))

    def _count_empty(self) -> None:
        self._empty += 1
        if self._empty > MAX_EMPTY_MESSAGES:
            self.limit = "empty_messages"
            raise RpcError(Code.RESOURCE_EXHAUSTED, f"more than {MAX_EMPTY_MESSAGES} empty messages")

    def _refused(self, compressed: int, length: int) -> RpcError:
        if compressed:
            return RpcError(Code.UNIMPLEMENTED, "compressed messages are not supported")
        self.limit = "message_size"
        return RpcError(
            Code.RESOURCE_EXHAUSTED, f"grpc: received message larger than max ({length} vs. {self._max_size})"
        )
