"""Fuzz targets of a forward proxy and of the policy on frontends: clients, destinations, name servers, a file.

Each function returns if the guarantees of its reader hold, as those of `fuzz_targets` do.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import h11

from konnectivity.errors import StartError
from konnectivity.forward.names import dns_messages
from konnectivity.forward.names.dns_messages import DnsError
from konnectivity.forward.proxied_exchange import ProxiedExchange, ResponseError
from konnectivity.forward.proxy_requests import ProxyRequest, RequestError, parse_request, refused_head
from konnectivity.forward.socks5 import SocksError, SocksHandshake
from konnectivity.grpc.message_stream import Peer, PeerProcess
from konnectivity.http1.message_heads import HeadError, Heads
from konnectivity.net import addresses
from konnectivity_server.policy.policy_file import PolicyFile

MOST_YAML = 1000  # bytes: an operator writes the file, and reading deep YAML takes time
CUTS = (1, 2, 7, 100)
HEAD_BYTES, LINES = 2000, 50
GET = b"GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n"
CLIENTS = (Peer("unix", None, PeerProcess(1, 1000, 7)), Peer("10.0.0.9:1", token_sha256=b"x" * 32, user="ann"))


def _pieces(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


def socks5(data: bytes) -> None:
    """Feed the bytes of a client to the handshake of SOCKS5, with and without passwords."""
    for guarded in (False, True):
        whole = _handshake(data, len(data) or 1, guarded)
        for size in CUTS:
            assert _handshake(data, size, guarded) == whole, f"another handshake in pieces of {size}"


def _handshake(data: bytes, size: int, guarded: bool) -> tuple[str, bytes, str]:
    """Return the destination, the answers and the refusal."""
    handshake = SocksHandshake((lambda user, password: user == b"ann") if guarded else None)
    answers = b""
    try:
        for piece in _pieces(data, size):
            answers += handshake.receive(piece)
            if handshake.destination:
                addresses.split(handshake.destination)
                break
    except SocksError as error:
        return "", answers + error.answer, str(error)
    assert len(answers) <= 4
    return handshake.destination, answers, ""


def proxy_request(data: bytes) -> None:
    """Feed the bytes of a client to the HTTP proxy: a head, and behind it the body."""
    whole = _request(data, len(data) or 1)
    for size in CUTS:
        assert _request(data, size) == whole, f"another request in pieces of {size}"


def _request(data: bytes, size: int) -> tuple[object, ...]:
    heads = Heads(HEAD_BYTES, b"", LINES)
    parser = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES)
    waiting = _pieces(data, size)
    try:
        while (head := heads.take()) is None:
            if not waiting:
                return ("incomplete",)
            heads.feed(waiting.pop(0))
        request = parse_request(head, parser)
    except HeadError as error:
        return (refused_head(error).status,)
    except RequestError as error:
        return error.status, str(error)
    addresses.split(request.destination)
    if not request.is_connect:
        _body(ProxiedExchange(parser, request, HEAD_BYTES), heads.rest(), waiting)
    return request.destination, request.is_connect, request.authorization


def _body(exchange: ProxiedExchange, early: bytes, waiting: list[bytes]) -> None:
    """Pass on the body of a request; the bytes are those that were sent, framed anew."""
    sent = 0
    try:
        sent += len(exchange.begin(early))
        for piece in waiting:
            if exchange.request_done:
                break
            sent += len(exchange.from_client(piece))
    except RequestError:
        return
    assert sent <= HEAD_BYTES + 100 + 10 * (len(early) + sum(map(len, waiting)))


def proxied_response(data: bytes) -> None:
    """Feed the bytes of a destination, in answer to a request, to the HTTP proxy."""
    for size in (*CUTS, len(data) or 1):
        parser = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES)
        exchange = ProxiedExchange(parser, _parsed(parser), HEAD_BYTES)
        exchange.begin(b"")
        sent = 0
        try:
            for piece in [*_pieces(data, size), b""]:
                if exchange.response_done:
                    break
                sent += len(exchange.from_target(piece))
        except ResponseError:
            pass
        assert sent <= HEAD_BYTES + 500 + 10 * len(data)


def _parsed(parser: h11.Connection) -> ProxyRequest:
    return parse_request(GET, parser)


def dns_query(data: bytes) -> None:
    """Feed a datagram to the DNS listener, and make the answers that it may get."""
    message = dns_messages.read_query(data)
    if message is None:
        return
    name, kind = dns_messages.asked(message)
    found = dns_messages.made_answer((name, kind), ["10.0.0.1", "fd00::1"], 5.0)
    for answer in (None, found, dns_messages.no_such_name(), dns_messages.failed()):
        assert len(dns_messages.answer_to(message, answer, 1.0, by_udp=True)) <= dns_messages.MAX_UDP + len(data)
        dns_messages.answer_to(message, answer, 1.0, by_udp=False)


def dns_answer(data: bytes) -> None:
    """Feed an answer of a name server, whose id is that of the question, to the reader of answers."""
    sent = dns_messages.query(("a.test.", dns_messages.A))
    try:
        found = dns_messages.read_answer(sent, sent.id.to_bytes(2) + data)
    except DnsError as error:
        assert "\n" not in str(error)
        return
    assert 0 <= found.ttl_s <= dns_messages.MAX_TTL_S
    for each in found.addresses():
        assert addresses.is_address(each)


def frontend_policy(data: bytes) -> None:
    """Read the file of a policy, and judge dials of clients by it."""
    with TemporaryDirectory() as directory:
        path = Path(directory, "policy")
        path.write_bytes(data[:MOST_YAML])
        try:
            policy = PolicyFile(str(path))
        except StartError as error:
            assert "\n" not in str(error)
            return
        for client in CLIENTS:
            for address in ("10.0.0.1:80", "a.test:443", "[fd00::1]:1"):
                policy.refusal(client, address, "")
            policy.refusal(client, "10.0.0.1:80", "a.test")
