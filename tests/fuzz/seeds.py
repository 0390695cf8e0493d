"""Writer of the corpus: a few valid inputs of each target, which fuzzers mutate. Run it after adding inputs.

Inputs that a fuzzer found are in files called found-*, which this module leaves alone.
"""

from __future__ import annotations

from typing import Any

import dns.message
import dns.rrset
import hpack
from fuzz_targets import CORPUS, REQUEST

from konnectivity import wire
from konnectivity.grpc.framing import PREFIX
from konnectivity.http2 import frames
from konnectivity.proto.client_pb2 import Packet, PacketType

RESPONSE = [(":status", "200"), ("content-type", "application/grpc")]


def _conversation(opening: list[tuple[str, str]]) -> bytes:
    encoder = hpack.Encoder()
    encoder.header_table_size = 0
    said = [frames.window_update(0, 100_000)]
    for stream_id in (1, 3, 5):
        said += frames.header_block(stream_id, encoder.encode(opening), False, 20)
        said.append(frames.frame(frames.DATA, 0, stream_id, b"question"))
        said.append(frames.frame(frames.DATA, frames.PADDED, stream_id, b"\x03padded" + bytes(3)))
        said.append(frames.window_update(stream_id, 100_000))
    said.append(frames.frame(frames.HEADERS, frames.END_HEADERS | frames.END_STREAM, 1, encoder.encode([("a", "b")])))
    said += [frames.frame(frames.DATA, frames.END_STREAM, 3), frames.rst_stream(5, 8)]
    said += [frames.frame(frames.PING, 0, 0, b"12345678"), frames.settings({4: 100, 1: 0}), frames.goaway(5, 0)]
    return b"".join(said)


def _compressed(headers: list[list[tuple[str, str]]]) -> bytes:
    encoder = hpack.Encoder()
    return b"".join(bytes((len(block),)) + block for block in map(encoder.encode, headers))


def _data(connect_id: int, payload: bytes) -> bytes:
    return wire.data_head(connect_id, len(payload)) + payload


PACKETS = {
    "dial_req": wire.dial_req("10.0.0.7:10250", 6),
    "dial_req_slow": wire.dial_req("slow:1", 7),
    "dial_req_no": wire.dial_req("no:1", 8),
    "dial_rsp": wire.dial_rsp(1, 50),
    "dial_rsp_error": wire.dial_rsp(2, error="refused"),
    "data": _data(1, b"hello"),
    "data_50": _data(50, b"hello"),
    "close_req": wire.close_req(1),
    "close_rsp": wire.close_rsp(50, "gone"),
    "close_dial": wire.close_dial(7),
    "drain": wire.drain(),
    "credit": wire.credit(50, 100_000),
    "data_end": wire.data_end(50, 5),
    "reset": wire.reset(1, 1, "why", 3, 4),
    "stop": wire.stop(1, "enough"),
    "server_count": wire.server_count(3),
    "ready": wire.ready(True),
    "bare": Packet(type=PacketType.DIAL_REQ).SerializeToString(),
}
_FRAMED = {name: PREFIX.pack(0, len(packet)) + packet for name, packet in PACKETS.items()}
_CONNECT = b"CONNECT 10.0.0.7:10250 HTTP/1.1\r\nHost: 10.0.0.7:10250\r\n\r\n"
_KUBECONFIG = b"""apiVersion: v1
kind: Config
current-context: one
contexts: [{name: one, context: {cluster: one, user: one}}]
clusters: [{name: one, cluster: {server: "https://127.0.0.1:6443", certificate-authority-data: YWJj}}]
users: [{name: one, user: {token: secret}}]
"""
_EXEC = b"""exec: {command: ./login, apiVersion: client.authentication.k8s.io/v1, provideClusterInfo: true,
    env: [{name: A, value: B}]}"""


def _query(name: str, kind: str, **more: Any) -> bytes:
    message = dns.message.make_query(name, kind, **more)
    message.id = 1
    return message.to_wire()


def _answer(*records: str) -> bytes:
    """Return an answer without its id."""
    message = dns.message.make_response(dns.message.make_query("a.test", "A", use_edns=False))
    for each in records:
        name, ttl, _, kind, value = each.split()
        message.answer.append(dns.rrset.from_text(name, int(ttl), "IN", kind, value))
    return message.to_wire()[2:]


def _hello(*extensions: bytes) -> bytes:
    """Return a ClientHello without its record."""
    joined = b"".join(extensions)
    fields = b"\x03\x03" + bytes(32) + b"\x00" + b"\x00\x02\x13\x01" + b"\x01\x00"
    body = fields + len(joined).to_bytes(2) + joined
    return b"\x01" + len(body).to_bytes(3) + body


_SERVER_NAME = b"\x00\x00\x00\x0b\x00\x09\x00\x00\x06a.test"
_ALPN = b"\x00\x10\x00\x05\x00\x03\x02h2"


def _record(content: bytes) -> bytes:
    return b"\x16\x03\x01" + len(content).to_bytes(2) + content


_V2 = b"\r\n\r\n\0\r\nQUIT\n"
SEEDS: dict[str, dict[str, bytes]] = {
    "http2_server": {"conversation": _conversation(REQUEST)},
    "http2_client": {"conversation": _conversation(RESPONSE)},
    "http2_preface": {"http2": frames.PREFACE + frames.settings({3: 100}), "http1": b"GET / HTTP/1.1\r\n\r\n"},
    "hpack": {"requests": _compressed([REQUEST, REQUEST, [("a", "b" * 50)], RESPONSE])},
    "framing": {"messages": b"".join(_FRAMED.values()), "empty": bytes(15), "large": PREFIX.pack(0, 1001)},
    "packets": PACKETS,
    "tunnel": {
        "requests": b"".join(_FRAMED[name] for name in ("dial_req", "dial_req_slow", "dial_req_no", "close_dial"))
        + b"".join(_FRAMED[name] for name in ("data", "credit", "data_end", "stop", "close_req", "drain")),
        "answers": b"".join(_FRAMED[name] for name in ("dial_rsp", "dial_rsp_error", "data_50", "data_50", "credit"))
        + b"".join(_FRAMED[name] for name in ("data_end", "close_rsp", "reset", "server_count", "ready", "bare")),
    },
    "connect": {
        "connect": _CONNECT + b"early",
        "no_host": b"CONNECT a:1 HTTP/1.1\nX: y\r\n\r\n",
        "twice": b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" + _CONNECT,
        "old": b"GET / HTTP/1.0\r\n\r\n",
    },
    "headers": {
        "timeout": b"10m",
        "extension": b"1; window=65536",
        "message": b"100%25 sure%20",
        "address": b"[fd00::1]:10250,node-1,10.0.0.1:8133",
    },
    "agent_identifiers": {
        "usual": b"ipv4=10.0.0.7&ipv6=fd00%3A%3A1&host=a+b&cidr=10.0.0.0%2F8&default-route=true&x=y",
        "semicolon": b"ipv4=1;ipv4=2",
        "escape": b"host=%zz",
    },
    "flags": {
        "server": b"--cluster-cert=/etc/hosts\n--cluster-key=/etc/hosts\n--mode=grpc,http-connect\n--uds-name\n/run/x\n"
        b"--server-count=3\n--keepalive-time=1h30m\n--process-buffer-budget=1Gi\n--v=4\n--peers=a,b:1\n--",
        "agent": b"--proxy-server-host=a\n--proxy-server-port=443\n--agent-identifiers=ipv4=1&cidr=10.0.0.0/8\n-h",
    },
    "config_file": {
        "server": b"mode: grpc\nserver_count: 3\npeers: [a, 'b:1']\nkeepalive-time: 1h\ncluster-cert:\n",
        "agent": b"proxy-server-host:\n  - a\n  - b\nagent-identifiers: ipv4=1\n",
    },
    "kube_config": {
        "token": _KUBECONFIG,
        "exec": _KUBECONFIG.replace(b"token: secret", _EXEC),
        "not_ascii": _KUBECONFIG.replace(b"YWJj", b'"\\xe9\\u20ac"'),
        "no_day": _KUBECONFIG.replace(b"secret", b"2001-99-99"),
        "large_number": _KUBECONFIG.replace(b"secret", b"9" * 3000 + b":9" * 300),
        "deep": b"[" * 3000,
        "doubling": b"a0: &a0 [x, x]\n"
        + b"".join(b"a%d: &a%d [*a%d, *a%d]\n" % (n, n, n - 1, n - 1) for n in range(1, 40))
        + b"clusters: *a39\n",
        "unhashable": b"? {a: b}\n: c\n? [a]\n: d\n",
        "tag": b"current-context: !!python/object:os.system x\nusers: !!set {a, b}\nclusters: !!binary \xc3\xa9\n",
        "files": _KUBECONFIG.replace(b"token: secret", b"client-certificate: a, client-key: b"),
    },
    "socks5": {
        "name": b"\x05\x01\x00\x05\x01\x00\x03\x06a.test\x00\x50early",
        "password": b"\x05\x02\x00\x02\x01\x03ann\x06secret\x05\x01\x00\x01\x0a\x00\x00\x07\x28\x0a",
        "ipv6": b"\x05\x01\x00\x05\x01\x00\x04" + bytes(15) + b"\x01\x00\x50",
        "bind": b"\x05\x01\x00\x05\x02\x00\x01" + bytes(6),
    },
    "proxy_request": {
        "connect": _CONNECT + b"early",
        "get": b"GET http://a.test/b?c HTTP/1.1\r\nHost: a.test\r\nProxy-Authorization: Basic YW5uOmI=\r\n\r\n",
        "length": b"POST http://a.test:81/ HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nConnection: x\r\nX: y\r\n"
        b"\r\nhello",
        "chunks": b"PUT http://[fd00::1]/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"5;x=y\r\nhello\r\n0\r\nA: b\r\n\r\n",
        "both": b"POST http://a/ HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"0\r\n\r\n",
    },
    "proxied_response": {
        "length": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        "chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "close": b"HTTP/1.0 404 Not Found\r\nConnection: X-A\r\nX-A: b\r\n\r\nuntil the end",
        "switch": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
    },
    "dns_query": {
        "a": _query("a.test", "A"),
        "edns": _query("_http._tcp.a.test", "SRV", use_edns=0, payload=4096),
        "chaos": _query("version.bind", "TXT", rdclass="CH"),
    },
    "dns_answer": {"addresses": _answer("a.test. 30 IN CNAME b.test.", "b.test. 5 IN A 10.0.0.1"), "none": _answer()},
    "frontend_policy": {
        "usual": b"- clients: [uid=0, cn=kube-apiserver]\n  deny: [10.0.9.0/24]\n"
        b"- clients: ['*', user=ann, frontend=forward, token-sha256=" + b"0" * 64 + b"]\n"
        b"  allow: ['10.0.0.0/8:9100', '*.svc:9000-9999', '[fd00::/8]:1']\n",
        "deep": b"[" * 400,
        "tag": b"- clients: !!python/object:os.system x\n  allow: !!set {a, b}\n",
        "alias": b"- &a {clients: ['*'], deny: &b ['a.test']}\n- *a\n- {clients: [gid=7], allow: *b}\n",
    },
    "proxy_header": {
        "line": b"PROXY TCP4 192.0.2.7 10.0.0.1 56324 8091\r\n\x16\x03\x01",
        "line6": b"PROXY TCP6 2001:db8::7 fd00::1 1 65535\r\n",
        "unknown": b"PROXY UNKNOWN anything\r\n",
        "block": _V2 + b"\x21\x11\x00\x0f" + bytes((192, 0, 2, 7, 10, 0, 0, 1, 0, 9, 0, 80, 4, 0, 0)),
        "block6": _V2 + b"\x21\x21\x00\x24" + bytes(36),
        "local": _V2 + b"\x20\x00\x00\x00",
    },
    "client_hello": {
        "name": _record(_hello(_ALPN, _SERVER_NAME)),
        "records": b"".join(_record(_hello(_SERVER_NAME)[at : at + 9]) for at in range(0, 60, 9)),
        "none": _record(_hello(_ALPN)),
        "bare": _record(_hello()),
    },
}


def main() -> None:
    for target, inputs in SEEDS.items():
        directory = CORPUS / target
        directory.mkdir(parents=True, exist_ok=True)
        for name, content in inputs.items():
            (directory / name).write_bytes(content)


if __name__ == "__main__":
    main()
