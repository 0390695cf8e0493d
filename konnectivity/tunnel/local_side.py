"""The local side of a link, as the link sees it: a client's or target's socket, or the link of another tunnel."""

from __future__ import annotations

from typing import Protocol

Buffer = bytes | memoryview


class LocalSide(Protocol):
    """What a link asks of its local side."""

    def write(self, data: Buffer) -> bool:
        """Take data; False if it had to be buffered: `Link.local_drained` follows when the buffer is empty."""

    def write_eof(self) -> None:
        """No more data: end the local side's input behind everything written."""

    def close(self) -> None:
        """Hand over everything written, then close both directions."""

    def abort(self, reason: str) -> None:
        """Close at once, with an error if the local side can be shown one."""

    def buffered(self) -> int:
        """Bytes taken by `write` that have not left yet."""

    def watch(self, left: int) -> None:
        """`Link.local_progress` is wanted when no more than `left` bytes are buffered, if the endpoint can do that."""

    def pause(self) -> None:
        """Deliver no more data to the link."""

    def resume(self) -> None:
        """Undo `pause`."""


class _Nowhere:
    """Endpoint of a link that is not attached yet, or not any more."""

    def write(self, data: Buffer) -> bool:
        return True

    def write_eof(self) -> None: ...

    def close(self) -> None: ...

    def abort(self, reason: str) -> None: ...

    def buffered(self) -> int:
        return 0

    def watch(self, left: int) -> None: ...

    def pause(self) -> None: ...

    def resume(self) -> None: ...


NOWHERE: LocalSide = _Nowhere()
