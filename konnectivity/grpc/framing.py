"""gRPC message framing: a 5-byte prefix (compressed flag, length), then the message. Pure.

Fragments are kept as they came and joined once, when the message is whole; a message that lies in one fragment is a
view into it, without a copy.
"""

from __future__ import annotations

import struct

from konnectivity.grpc.status import Code, RpcError

PREFIX = struct.Struct(">BL")
PREFIX_SIZE = 5
MAX_MESSAGE_SIZE = 4 * 1024 * 1024  # grpc's default on every end


class MessageReader:
    """Bytes in any cut -> whole messages."""

    __slots__ = ("_have", "_max_size", "_need", "_parts")

    def __init__(self, max_size: int = MAX_MESSAGE_SIZE) -> None:
        self._max_size = max_size
        self._parts: list[memoryview] = []
        self._have = 0
        self._need = PREFIX_SIZE

    @property
    def incomplete(self) -> bool:
        """Whether the stream would end inside a message if it ended now."""
        return bool(self._parts)

    def feed(self, data: memoryview) -> list[memoryview]:
        """Return the messages that are whole with `data`.

        Raises:
            RpcError: RESOURCE_EXHAUSTED for a message over the limit, UNIMPLEMENTED for a compressed one.
        """
        messages: list[memoryview] = []
        position, end = 0, len(data)
        while self._parts:
            missing = self._need - self._have
            if end - position < missing:
                if position < end:
                    self._parts.append(data[position:])
                    self._have += end - position
                return messages
            self._parts.append(data[position : position + missing])
            position += missing
            whole = memoryview(b"".join(self._parts))
            self._parts.clear()
            if len(whole) == PREFIX_SIZE and (length := self._length(whole, 0)):
                self._keep(whole, PREFIX_SIZE + length)
            else:
                messages.append(whole[PREFIX_SIZE:])
        while end - position >= PREFIX_SIZE:
            stop = position + PREFIX_SIZE + self._length(data, position)
            if stop > end:
                self._keep(data[position:], stop - position)
                return messages
            messages.append(data[position + PREFIX_SIZE : stop])
            position = stop
        if position < end:
            self._keep(data[position:], PREFIX_SIZE)
        return messages

    def _keep(self, part: memoryview, need: int) -> None:
        self._parts.append(part)
        self._have = len(part)
        self._need = need

    def _length(self, data: memoryview, position: int) -> int:
        compressed, length = PREFIX.unpack_from(data, position)
        if compressed:
            raise RpcError(Code.UNIMPLEMENTED, "compressed messages are not supported")
        if length > self._max_size:
            raise RpcError(
                Code.RESOURCE_EXHAUSTED, f"grpc: received message larger than max ({length} vs. {self._max_size})"
            )
        return int(length)
