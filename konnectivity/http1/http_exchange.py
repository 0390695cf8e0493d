"""Client's side of one HTTP/1.1 request and its response. Pure.

Owns the bytes of the request and the reading of the response (h11) up to its end. Does not know connections, nor a
clock: `http_client` streams a response over a connection, `small_requests` collects one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import h11

MAX_HEAD = 256 * 1024  # bytes of a response's head

Header = tuple[str, str]


class FetchError(Exception):
    """Failure to get a response: it is missing, incomplete or no HTTP; `str()` has the reason."""


class ResponseHead(NamedTuple):
    """Status and headers of a response."""

    status: int
    reason: str
    headers: list[Header]


class HttpExchange:
    """Request and its response.

    Args:
        method, target: of the request line.
        headers: all headers, with Host.
        body: the request's body; a body needs its Content-Length among the headers.

    Attributes:
        request: bytes to send.
        complete: whether the response has been received to its end.

    Raises:
        FetchError: such a request cannot be sent.

    """

    def __init__(self, method: str, target: str, headers: Sequence[Header], body: bytes = b"") -> None:
        self.complete = False
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD)
        try:
            fields = [(name.encode("ascii"), value.encode("latin-1")) for name, value in headers]
            events: list[h11.Event] = [h11.Request(method=method, target=target, headers=fields)]
            events += [h11.Data(data=body)] if body else []
            events.append(h11.EndOfMessage())
            self.request = b"".join(self._http.send(event) or b"" for event in events)
        except (h11.LocalProtocolError, UnicodeEncodeError) as error:
            raise FetchError(f"such a request cannot be sent: {error}") from error

    def receive(self, data: bytes) -> list[ResponseHead | bytes]:
        """Take received bytes (none: the peer closed) and return the response's head and parts of its body in them.

        Raises:
            FetchError: the bytes are no HTTP response, or end before it is complete.

        """
        found: list[ResponseHead | bytes] = []
        try:
            self._http.receive_data(data)
            while not self.complete:
                event = self._http.next_event()
                if event is h11.NEED_DATA:
                    return found
                if event is h11.PAUSED:
                    raise FetchError("the target switches to another protocol, which this client does not speak")
                if isinstance(event, h11.Response):
                    found.append(_head_of(event))
                elif isinstance(event, h11.Data):
                    found.append(bytes(event.data))
                elif isinstance(event, h11.EndOfMessage | h11.ConnectionClosed):
                    self.complete = True
        except h11.RemoteProtocolError as error:
            raise FetchError(f"the target's answer is no whole HTTP answer: {error}") from error
        return found


def _head_of(event: h11.Response) -> ResponseHead:
    headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in event.headers.raw_items()]
    return ResponseHead(event.status_code, bytes(event.reason).decode("latin-1"), headers)
