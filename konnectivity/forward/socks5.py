"""SOCKS5 handshake of one client (RFC 1928, RFC 1929): received bytes in, answers and the destination out. Pure.

Owns the bytes of the handshake that are not read yet. Takes the command CONNECT with an IPv4 address, an IPv6 address
or a domain name, which is not resolved here. Does not know how a destination is dialled.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv6Address

from konnectivity.net import addresses

VERSION = 5
SUCCEEDED, GENERAL_FAILURE, NOT_ALLOWED, NETWORK_UNREACHABLE, HOST_UNREACHABLE, REFUSED = range(6)
COMMAND_NOT_SUPPORTED, ADDRESS_NOT_SUPPORTED = 7, 8
_NO_AUTHENTICATION, _PASSWORD, _NO_METHOD = 0x00, 0x02, 0xFF
_CONNECT = 1
_IPV4, _NAME, _IPV6 = 1, 3, 4
_PASSWORD_VERSION = 1

Accepts = Callable[[bytes, bytes], bool]


class SocksError(Exception):
    """Refusal of a client.

    Args:
        reason: text for the log.
        answer: bytes to send before the connection is closed.

    """

    def __init__(self, reason: str, answer: bytes = b"") -> None:
        super().__init__(reason)
        self.answer = answer


class SocksHandshake:
    """Handshake of one client, which is over when `destination` is set.

    Attributes:
        destination: "host:port" that the client asked for; empty before.
        user: name that the client was accepted by; empty without a password.

    Args:
        accepts: returns whether a user and a password are valid; None: no client needs a password.

    """

    def __init__(self, accepts: Accepts | None = None) -> None:
        self.destination = ""
        self.user = ""
        self._accepts = accepts
        self._received = bytearray()
        self._step: Callable[[], bytes | None] = self._greeting

    def receive(self, data: bytes) -> bytes:
        """Take received bytes and return the bytes to send.

        Raises:
            SocksError: the client is refused.

        """
        self._received += data
        answers = b""
        try:
            while not self.destination and (answer := self._step()) is not None:
                answers += answer
        except SocksError as error:
            error.answer = answers + error.answer  # to what arrived together with the refused part
            raise
        return answers

    def rest(self) -> bytes:
        """Remove and return the bytes behind the handshake, which are for the destination."""
        rest = bytes(self._received)
        self._received.clear()
        return rest

    def _take(self, size: int) -> bytes:
        taken = bytes(self._received[:size])
        del self._received[:size]
        return taken

    def _greeting(self) -> bytes | None:
        received = self._received
        if received and received[0] != VERSION:
            raise SocksError(f"version {received[0]} is not SOCKS5")
        if len(received) < 2 or len(received) < 2 + received[1]:
            return None
        offered = self._take(2 + received[1])[2:]
        wanted = _NO_AUTHENTICATION if self._accepts is None else _PASSWORD
        if wanted not in offered:
            reason = "no user and password" if self._accepts else "no method without authentication is offered"
            raise SocksError(reason, bytes((VERSION, _NO_METHOD)))
        self._step = self._request if self._accepts is None else self._password
        return bytes((VERSION, wanted))

    def _password(self) -> bytes | None:
        received = self._received
        if received and received[0] != _PASSWORD_VERSION:
            raise SocksError(f"version {received[0]} of the password request is unknown")
        if len(received) < 2 or len(received) < 3 + received[1]:
            return None
        name_end = 2 + received[1]
        end = name_end + 1 + received[name_end]
        if len(received) < end:
            return None
        taken = self._take(end)
        user, password = taken[2:name_end], taken[name_end + 1 :]
        if self._accepts is None or not self._accepts(user, password):
            raise SocksError("wrong user or password", bytes((_PASSWORD_VERSION, 1)))
        self.user = user.decode("utf-8", "replace")
        self._step = self._request
        return bytes((_PASSWORD_VERSION, 0))

    def _request(self) -> bytes | None:
        received = self._received
        if received and received[0] != VERSION:
            raise SocksError(f"version {received[0]} of the request is not SOCKS5")
        if len(received) < 5:
            return None
        if received[1] != _CONNECT:
            raise SocksError(f"command {received[1]} is not CONNECT", reply(COMMAND_NOT_SUPPORTED))
        kind = received[3]
        length = {_IPV4: 4, _IPV6: 16, _NAME: 1 + received[4]}.get(kind)
        if length is None:
            raise SocksError(f"address type {kind} is unknown", reply(ADDRESS_NOT_SUPPORTED))
        if len(received) < 4 + length + 2:
            return None
        taken = self._take(4 + length + 2)
        self.destination = _destination(kind, taken[4:-2], int.from_bytes(taken[-2:]))
        return b""


def reply(code: int) -> bytes:
    """Return the reply to a request. Its address is 0.0.0.0:0, since no socket here is bound for the client."""
    return bytes((VERSION, code, 0, _IPV4, 0, 0, 0, 0, 0, 0))


def _destination(kind: int, host: bytes, port: int) -> str:
    if not port:
        raise SocksError("port 0 cannot be dialled", reply(GENERAL_FAILURE))
    if kind == _IPV4:
        return f"{'.'.join(map(str, host))}:{port}"
    if kind == _IPV6:
        return addresses.joined(str(IPv6Address(host)), port)
    name = host[1:].decode("ascii", "backslashreplace")
    try:
        addresses.check_host(name)
    except ValueError as error:
        raise SocksError(str(error), reply(HOST_UNREACHABLE)) from None
    return addresses.joined(name, port)
