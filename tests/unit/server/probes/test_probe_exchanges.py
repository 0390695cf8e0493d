"""Tests of the exchanges of probes in memory: each answer of a target, in any pieces, and hostile ones."""

from __future__ import annotations

import ssl
import struct
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from konnectivity.tool.pki.authority import Authority
from konnectivity_server.probes import first_flight
from konnectivity_server.probes.first_flight import FirstFlight, NotTls
from konnectivity_server.probes.probe_exchanges import (
    DnsExchange,
    Exchange,
    ExchangeStep,
    HelloExchange,
    StatusExchange,
    TcpExchange,
    dns_question,
)
from konnectivity_server.probes.probe_tls import HANDSHAKES_PER_S, HandshakeExchange, ProbeTls

NOW = datetime.now(UTC).timestamp()


def fed(exchange: Exchange, data: bytes, size: int = 1 << 20) -> ExchangeStep:
    """Begin an exchange and feed it with the target's bytes, in pieces of `size`, until it is over."""
    step = exchange.begin()
    for at in range(0, len(data), size):
        if not step.over:
            step = exchange.feed(data[at : at + size])
    return step


class TlsTarget:
    """TLS server in memory.

    Args:
        directory: folder for its files.
        valid_for: validity of its certificate from now on.
        newest: highest TLS version.
    """

    def __init__(
        self, directory: Path, valid_for: timedelta = timedelta(days=1), newest: ssl.TLSVersion | None = None
    ) -> None:
        self.authority = Authority.create("probe CA")
        self.authority.write(directory)
        made = self.authority.issue("kubelet", dns=("node-1",), ips=("10.0.0.7",), server=True, valid_for=valid_for)
        made.write(directory, "kubelet")
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(directory / "kubelet.crt", directory / "kubelet.key")
        if newest is not None:
            self.context.maximum_version = newest
        self.ca = str(directory / "ca.crt")
        self.shown: object = None

    def serve(self, exchange: Exchange, response: bytes = b"", size: int = 1 << 20) -> ExchangeStep:
        """Answer an exchange until it is over; `response` is sent once a request was read."""
        inbound, out = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = self.context.wrap_bio(inbound, out, server_side=True)
        step, shaken = exchange.begin(), False
        for _ in range(1000):
            if step.over:
                return step
            inbound.write(step.send)
            try:
                if not shaken:
                    tls.do_handshake()
                    shaken = True
                    self.shown = tls.getpeercert()  # certificate of the probe
                if response and tls.read(4096):
                    tls.write(response)
            except ssl.SSLWantReadError:
                pass
            data = out.read()
            assert data, "nothing moves"
            step = ExchangeStep()
            for at in range(0, len(data), size):
                if not step.over:
                    found = exchange.feed(data[at : at + size])
                    step = ExchangeStep(step.send + found.send, found.over, found.fault)
        raise AssertionError("no end")


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> TlsTarget:
    return TlsTarget(tmp_path_factory.mktemp("tls"))


def probe_tls(ca: str = "") -> ProbeTls:
    return ProbeTls(ca, "", "", lambda: 0.0, lambda: NOW)


# ---- TCP, HTTP and DNS -----------------------------------------------------------------------------------------------


def test_a_connection_is_the_whole_answer_of_a_tcp_probe() -> None:
    assert TcpExchange().begin() == ExchangeStep(over=True)


@pytest.mark.parametrize("size", [1, 7, 1 << 20])
@pytest.mark.parametrize(
    ("status", "reason"),
    [(200, None), (302, None), (401, "authorisation"), (403, "authorisation"), (404, "http"), (503, "http")],
)
def test_the_status_of_a_response_is_the_answer(status: int, reason: str | None, size: int) -> None:
    step = fed(StatusExchange("10.0.0.7:10248", "/healthz"), f"HTTP/1.1 {status} Some\r\nA: b\r\n\r\n".encode(), size)
    assert step.over
    assert (step.fault and step.fault.reason) == reason


def test_a_request_has_no_credentials_and_a_host_of_any_text_adds_no_line() -> None:
    request = StatusExchange("a\r\nX: y é:1", "/healthz").begin().send
    head = b"GET /healthz HTTP/1.1\r\nHost: a??X:?y??:1\r\nUser-Agent: konnectivity-probe\r\nConnection: close\r\n\r\n"
    assert request == head


@pytest.mark.parametrize(
    "answer", [b"SSH-2.0-OpenSSH\r\n", b"HTTP/2 200\n", b"\x15\x03\x01" + bytes(5000), b"HTTP/1.1 x\n"]
)
def test_an_answer_that_is_no_http_is_shown(answer: bytes) -> None:
    step = fed(StatusExchange("a:1", "/"), answer)
    assert step.over
    assert step.fault is not None
    assert step.fault.text.startswith("the answer is no HTTP; it begins with ")
    assert step.fault.text.isprintable()


def test_a_dns_question_is_one_of_rfc_1035_over_tcp() -> None:
    question = dns_question("a.example.")
    assert struct.unpack(">H", question[:2]) == (len(question) - 2,)
    assert question[14:] == b"\x01a\x07example\x00\x00\x01\x00\x01"


@pytest.mark.parametrize("size", [1, 1 << 20])
@pytest.mark.parametrize(("code", "words"), [(0, ""), (2, "the server failed"), (3, "no such name"), (9, "code 9")])
def test_the_code_of_a_dns_answer_is_the_answer(code: int, words: str, size: int) -> None:
    question = dns_question("a.example")
    answer = question[:4] + struct.pack(">H", 0x8180 | code) + question[6:]
    step = fed(DnsExchange("a.example"), answer, size)
    assert step.over
    assert words in (step.fault.text if step.fault else "")
    assert (step.fault is None) == (code == 0)


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n", bytes(64)])
def test_an_answer_that_is_no_dns_is_a_fault(answer: bytes) -> None:
    step = fed(DnsExchange("a"), answer)
    assert step.over
    assert step.fault is not None
    assert step.fault.reason == "dns"


# ---- TLS -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 100, 1 << 20])
def test_a_hello_shows_the_certificate_of_the_target(target: TlsTarget, size: int) -> None:
    tls = probe_tls()
    for _ in range(100):
        exchange = tls.exchange("10.0.0.7")
    assert isinstance(exchange, HelloExchange), "whole handshakes have a rate"
    step = target.serve(exchange, size=size)
    assert (step.over, step.fault) == (True, None)
    assert exchange.certificate is not None
    assert (exchange.certificate.subject, exchange.certificate.issuer) == ("CN=kubelet", "CN=probe CA")
    assert 80_000 < exchange.certificate.not_after - NOW < 90_000


def test_whole_handshakes_have_a_rate() -> None:
    now = [0.0]
    tls = ProbeTls("", "", "", lambda: now[0], lambda: NOW)
    kinds = []
    for _ in range(1000):
        kinds.append(type(tls.exchange("a")))
        now[0] += 0.01
    assert HANDSHAKES_PER_S * 10 <= kinds.count(HandshakeExchange) <= HANDSHAKES_PER_S * 10 + 11


def test_a_whole_handshake_ends_with_the_certificate_and_no_fault(target: TlsTarget) -> None:
    exchange = probe_tls().exchange("10.0.0.7")
    assert isinstance(exchange, HandshakeExchange)
    assert target.serve(exchange).fault is None
    assert exchange.certificate is not None
    assert exchange.certificate.subject == "CN=kubelet"


def test_a_target_of_another_tls_version_passes_without_a_certificate(tmp_path: Path) -> None:
    exchange = HelloExchange(probe_tls()._hello(""), NOW)
    for code in first_flight.OTHER_VERSION:
        step = fed(HelloExchange(exchange.begin().send, NOW), bytes([21, 3, 3, 0, 2, 2, code]))
        assert (step.over, step.fault) == (True, None)


@pytest.mark.parametrize("whole", [False, True], ids=["hello", "handshake"])
def test_an_expired_certificate_is_a_fault_that_names_it(tmp_path: Path, whole: bool) -> None:
    target, tls = TlsTarget(tmp_path, timedelta(days=-3)), probe_tls()
    exchange = tls.exchange("a") if whole else HelloExchange(tls._hello("a"), NOW)
    step = target.serve(exchange)
    assert step.fault is not None
    assert (step.fault.reason, step.fault.text) == (
        "certificate",
        "the target's certificate, CN=kubelet, expired 3 days ago",
    )


@pytest.mark.parametrize("whole", [False, True], ids=["hello", "handshake"])
@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"SSH-2.0-x\r\n", b"\x16\x03\x01\xff\xff" + bytes(100)]
)
def test_an_answer_that_is_no_tls_is_a_fault(answer: bytes, whole: bool) -> None:
    tls = probe_tls()
    step = fed(tls.exchange("a") if whole else HelloExchange(tls._hello("a"), NOW), answer)
    assert step.over
    assert step.fault is not None
    assert step.fault.reason == "tls"


def test_a_certificate_is_verified_where_there_is_a_ca(target: TlsTarget, tmp_path: Path) -> None:
    assert target.serve(probe_tls(target.ca).exchange("10.0.0.7")).fault is None
    assert target.serve(probe_tls(target.ca).exchange("node-1")).fault is None
    for ca, host in ((target.ca, "10.0.0.8"), (TlsTarget(tmp_path).ca, "10.0.0.7")):
        step = target.serve(probe_tls(ca).exchange(host))
        assert step.fault is not None
        assert step.fault.reason == "certificate"


def test_changed_files_are_used_by_the_next_probe(tmp_path: Path) -> None:
    target, now = TlsTarget(tmp_path, newest=ssl.TLSVersion.TLSv1_2), [0.0]
    target.context.load_verify_locations(target.ca)
    target.context.verify_mode = ssl.CERT_OPTIONAL
    for name in ("first", "second"):
        target.authority.issue(name, client=True).write(tmp_path, name)
    ca, certificate, key = (tmp_path / name for name in ("probe-ca.crt", "probe.crt", "probe.key"))
    ca.write_bytes(Authority.create("another CA").certificate_pem)
    certificate.write_bytes((tmp_path / "second.crt").read_bytes())
    key.write_bytes((tmp_path / "second.key").read_bytes())
    tls = ProbeTls(str(ca), str(certificate), str(key), lambda: now[0], lambda: NOW)
    step = target.serve(tls.exchange("10.0.0.7"))
    assert step.fault is not None
    assert step.fault.reason == "certificate"
    ca.write_bytes(Path(target.ca).read_bytes())
    for name in ("first", "second"):
        certificate.write_bytes((tmp_path / f"{name}.crt").read_bytes())
        key.write_bytes((tmp_path / f"{name}.key").read_bytes())
        now[0] += 2
        assert target.serve(tls.exchange("10.0.0.7")).fault is None
        assert f"'commonName', '{name}'" in str(target.shown)


@pytest.mark.parametrize(("status", "reason"), [(200, None), (401, "authorisation")])
def test_a_request_inside_tls_has_a_status(target: TlsTarget, status: int, reason: str | None) -> None:
    exchange = probe_tls().exchange("10.0.0.7", StatusExchange("10.0.0.7:10250", "/healthz"))
    step = target.serve(exchange, f"HTTP/1.1 {status} x\r\n\r\n".encode())
    assert step.over
    assert (step.fault and step.fault.reason) == reason
    assert exchange.certificate is not None


# ---- hostile targets -------------------------------------------------------------------------------------------------


@given(st.binary(max_size=300), st.integers(1, 50))
def test_no_answer_of_a_target_raises(data: bytes, size: int) -> None:
    tls = probe_tls()
    hello = tls._hello("a")
    exchanges = (StatusExchange("a", "/"), DnsExchange("a"), HelloExchange(hello, NOW), tls.exchange("a"))
    for exchange in exchanges:
        fed(exchange, data, size)


@given(st.binary(max_size=400))
def test_no_handshake_message_raises(body: bytes) -> None:
    record = b"\x16\x03\x03" + len(body).to_bytes(2, "big") + body
    fed(HelloExchange(b"hello", NOW), record)


def test_a_flight_without_end_is_cut_off() -> None:
    flight = FirstFlight()
    message = b"\x0b\xff\xff\xff" + bytes(16_000)
    with pytest.raises(NotTls, match="too long"):
        for _ in range(10):
            flight.feed(b"\x16\x03\x03" + len(message).to_bytes(2, "big") + message)
