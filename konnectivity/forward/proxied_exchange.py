"""Exchange of an HTTP request and its response between a client and a destination, passed on as they arrive. Pure.

Owns the parsers of both ends; bodies are framed anew, so that no byte of a body reaches the destination unread. A
trailer is left out. Does not know sockets: each method takes received bytes and returns the bytes for the other end.
"""

from __future__ import annotations

import h11

from konnectivity.forward.proxy_requests import Fields, ProxyRequest, RequestError, check_framing, passed_on


class ResponseError(Exception):
    """Response of a destination that cannot be passed on; `str()` has the reason."""


class ProxiedExchange:
    """Exchange of an HTTP request.

    Attributes:
        request_done: whether the whole request was passed on.
        response_begun: whether a byte of the final response was passed on.
        response_done: whether the whole response was passed on.

    Args:
        client: parser of the client's connection, which has read the head.
        request: the request.
        head_bytes: maximum bytes of the head of a response.

    """

    def __init__(self, client: h11.Connection, request: ProxyRequest, head_bytes: int) -> None:
        self.request_done = False
        self.response_begun = False
        self.response_done = False
        self._client = client
        self._request = request
        self._head_bytes = head_bytes
        self._target = h11.Connection(h11.CLIENT, max_incomplete_event_size=head_bytes)

    @property
    def client_stays(self) -> bool:
        """Return whether the client may send another request on its connection."""
        return self._client.our_state is h11.DONE and self._client.their_state is h11.DONE

    @property
    def target_stays(self) -> bool:
        """Return whether the connection to the destination may carry another request."""
        whole = self._target.our_state is h11.DONE and self._target.their_state is h11.DONE
        return whole and not self._target.trailing_data[0]

    def begin(self, early: bytes) -> bytes:
        """Return the head for the destination, and the body as far as it is among the bytes `early` behind the head."""
        assert self._request.head is not None, "CONNECT is no exchange"
        if early:  # no bytes would mean the end of the client's data
            self._client.receive_data(early)
        return (self._target.send(self._request.head) or b"") + self._pass_request()

    def again(self) -> bytes:
        """Return the bytes of a request without a body once more, for another connection to the destination."""
        assert self._request.head is not None, "CONNECT is no exchange"
        self._target = h11.Connection(h11.CLIENT, max_incomplete_event_size=self._head_bytes)
        return (self._target.send(self._request.head) or b"") + (self._target.send(h11.EndOfMessage()) or b"")

    def from_client(self, data: bytes) -> bytes:
        """Take bytes of the request; empty at the end of the client's data.

        Raises:
            RequestError: the body is malformed, or ended too early.

        """
        if self.request_done:
            return b""
        try:
            self._client.receive_data(data)
        except RuntimeError as error:  # data after an end
            raise RequestError(400, "malformed request body") from error
        return self._pass_request()

    def from_target(self, data: bytes) -> bytes:
        """Take bytes of the response; empty at the end of the destination's data.

        Raises:
            ResponseError: the response is malformed, or ended too early.

        """
        found = b""
        try:
            self._target.receive_data(data)
            while not self.response_done:
                event = self._target.next_event()
                if event is h11.NEED_DATA or event is h11.PAUSED:
                    break
                found += self._to_client(event)
        except (h11.RemoteProtocolError, h11.LocalProtocolError, RequestError) as error:
            raise ResponseError(f"malformed response: {error}") from error
        return found

    def rest(self) -> bytes:
        """Return the bytes of the client behind the request."""
        return self._client.trailing_data[0]

    def _pass_request(self) -> bytes:
        found = b""
        try:
            while not self.request_done:
                event = self._client.next_event()
                if event is h11.NEED_DATA or event is h11.PAUSED:
                    break
                if isinstance(event, h11.EndOfMessage):
                    self.request_done = True
                    event = h11.EndOfMessage()
                if isinstance(event, h11.Data | h11.EndOfMessage):
                    found += self._target.send(event) or b""
        except h11.RemoteProtocolError as error:
            raise RequestError(400, f"malformed request body: {error}") from error
        except h11.LocalProtocolError:  # the destination answered and is done: it takes no more
            self.request_done = True
        return found

    def _to_client(self, event: h11.Event | type[h11.PAUSED] | type[h11.NEED_DATA]) -> bytes:
        if isinstance(event, h11.InformationalResponse):
            if event.status_code == 101:  # Upgrade was not passed on
                raise ResponseError("the destination switches to another protocol, which was not asked for")
            old = self._client.their_http_version == b"1.0"  # such a client knows no interim response
            return b"" if old else self._client.send(event) or b""
        if isinstance(event, h11.Response):
            return self._response_head(event)
        if isinstance(event, h11.EndOfMessage):
            self.response_done = True
            return self._client.send(h11.EndOfMessage()) or b""
        if isinstance(event, h11.Data):
            return self._client.send(event) or b""
        if isinstance(event, h11.ConnectionClosed):
            raise ResponseError("the destination closed the connection without a response")
        raise ResponseError("malformed response")

    def _response_head(self, response: h11.Response) -> bytes:
        fields: Fields = response.headers.raw_items()
        check_framing(fields)
        passed = passed_on(fields, response.http_version)
        if not self.request_done:
            passed.append((b"Connection", b"close"))  # the client may be told before it has sent the whole body
        self.response_begun = True
        made = h11.Response(status_code=response.status_code, headers=passed, reason=response.reason)
        return self._client.send(made) or b""
