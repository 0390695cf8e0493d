"""Tests of names of `konnectivity forward`: the cluster's DNS by TCP, Services of the API, and the DNS listener."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import Counter
from contextlib import suppress

import dns.message
import dns.rcode
import pytest

from konnectivity import kube
from konnectivity.errors import DialError, DialFailure
from konnectivity.forward.names import direct_dial, dns_messages
from konnectivity.forward.names.cluster_dns import ClusterDns
from konnectivity.forward.names.dns_listener import DnsListener
from konnectivity.forward.names.dns_messages import DnsError
from konnectivity.forward.names.name_resolution import NameResolution
from konnectivity.forward.names.name_rules import NameRules
from konnectivity.forward.names.outbound_proxy import OutboundProxy
from konnectivity.forward.names.service_addresses import ServiceAddresses
from konnectivity.testing.deployment import free_port
from support.kubernetes_api import SERVICE, ApiFault, KubernetesApi
from support.targets import echo, listening
from support.tcp_name_server import tcp_name_server


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def server():
    async with tcp_name_server() as made:
        made.records = {
            ("a.test.", "A"): ["10.0.0.1", "10.0.0.2"],
            ("a.test.", "AAAA"): ["fd00::1"],
            ("_x._tcp.a.test.", "SRV"): ["0 1 9090 a.test."],
        }
        yield made


async def test_answers_are_kept_for_their_time_to_live(server):
    clock = Clock()
    cluster = ClusterDns([server.address], direct_dial.connect, clock)
    for _ in range(3):
        assert sorted(await cluster.addresses("A.test")) == ["10.0.0.1", "10.0.0.2", "fd00::1"]
    assert server.asked["a.test."] == 2
    clock.now += 29
    answer, age = await cluster.answer(dns_messages.question_of("a.test", dns_messages.A))
    assert (age, len(answer.records), server.asked["a.test."]) == (29, 1, 2)
    clock.now += 2
    await cluster.addresses("a.test")
    assert server.asked["a.test."] == 4


async def test_the_absence_of_a_name_is_kept_for_a_short_time(server):
    clock = Clock()
    cluster = ClusterDns([server.address], direct_dial.connect, clock)
    for _ in range(3):
        assert await cluster.addresses("b.test") == []
    assert server.asked["b.test."] == 2
    clock.now += 6
    await cluster.addresses("b.test")
    assert server.asked["b.test."] == 4


async def test_equal_questions_are_asked_once_at_a_time(server):
    cluster = ClusterDns([server.address], direct_dial.connect)
    await asyncio.gather(*(cluster.addresses("a.test") for _ in range(50)))
    assert server.asked["a.test."] == 2


async def test_the_next_name_server_is_asked(server):
    cluster = ClusterDns([f"127.0.0.1:{free_port()}", server.address], direct_dial.connect)
    assert len(await cluster.addresses("a.test")) == 3


@pytest.mark.parametrize("raw", [b"", b"x", b"\x00" * 12, b"\xff" * 500])
async def test_an_answer_that_is_none(server, raw):
    server.raw = raw
    with pytest.raises(DnsError, match="the cluster's DNS does not answer"):
        await ClusterDns([server.address], direct_dial.connect).addresses("a.test")


@pytest.mark.parametrize("name", ["a..b", "x" * 64 + ".test", ".".join(["abcdefgh"] * 40)])
async def test_a_text_that_is_no_name(server, name):
    with pytest.raises(DnsError, match="is no name"):
        await ClusterDns([server.address], direct_dial.connect).addresses(name)
    assert not server.asked


@pytest.fixture
def api(tmp_path):
    with KubernetesApi(tmp_path) as made:
        made.objects.services["default", "api"] = {
            "spec": {"clusterIP": "10.96.0.1", "clusterIPs": ["10.96.0.1", "fd00::5"]}
        }
        made.objects.services["default", "headless"] = {"spec": {"clusterIP": "None", "clusterIPs": ["None"]}}
        yield made


async def test_the_address_of_a_service(api, tmp_path):
    clock = Clock()
    async with kube.connect(str(api.kubeconfig(tmp_path / "kubeconfig"))) as client:
        services = ServiceAddresses(client, clock)
        for name in ("api.default", "api.default.svc", "API.default.svc.cluster.local."):
            assert await services.addresses(name) == ["10.96.0.1", "fd00::5"]
        assert api.requests[SERVICE] == 1
        for name in ("none.default.svc", "headless.default.svc"):
            assert await services.addresses(name) == []
        for name in ("api", "api.default.pod.cluster.local", "www.example.org"):
            assert await services.addresses(name) == []
        clock.now += 6
        await services.addresses("api.default")
        assert api.requests[SERVICE] == 4
        api.faults[SERVICE] = ApiFault(status=500)
        clock.now += 6
        with pytest.raises(kube.KubeError):
            await services.addresses("api.default")


async def test_a_destination_is_dialled_by_the_way_of_its_name(server):
    dialled = []

    async def dial(address):
        dialled.append(address)
        if address.startswith("10.0.0.") and len(dialled) == 4:  # the first address of the name
            raise DialError(DialFailure.ENDPOINT, "connection refused")
        return await asyncio.open_connection("127.0.0.1", port)

    async with listening(echo) as address:
        port = int(address.rpartition(":")[2])
        rules = NameRules(["test=cluster-dns", "localhost=local", "direct.localhost=direct", "gone.test=cluster-dns"])
        names = NameResolution(rules, ClusterDns([server.address], direct_dial.connect))
        for destination in ("node-1:80", "10.0.0.7:80", "[fd00::7]:80", "a.test:80", f"localhost:{port}"):
            _, writer = await names.dial(destination, dial, direct_dial.connect)
            writer.close()
        assert dialled[:3] == ["node-1:80", "10.0.0.7:80", "[fd00::7]:80"]
        assert sorted(dialled[3:5]) == ["10.0.0.1:80", "10.0.0.2:80"]
        assert dialled[5] in (f"127.0.0.1:{port}", f"[::1]:{port}")
        with pytest.raises(DialError, match=r"lookup gone\.test by cluster-dns: no such host"):
            await names.dial("gone.test:80", dial, direct_dial.connect)
        server.raw = b""
        with pytest.raises(DialError, match="by cluster-dns: server misbehaving"):
            await names.dial("other.test:80", dial, direct_dial.connect)
        before = len(dialled)
        with suppress(DialError):  # this machine may resolve the name or not
            _, writer = await names.dial(f"direct.localhost:{port}", dial, direct_dial.connect)
            writer.close()
        assert len(dialled) == before


# ---- the listener ----------------------------------------------------------------------------------------------------


@pytest.fixture
async def listener(server):
    """Yield the port of a DNS listener."""
    async with asyncio.TaskGroup() as tasks:
        rules = NameRules(["localhost=local"])
        cluster = ClusterDns([server.address], direct_dial.connect)
        made = DnsListener(NameResolution(rules, cluster), tasks, Counter())
        port = free_port()
        await made.open("127.0.0.1", port)
        yield port
        made.close()


async def by_udp(port, data, timeout_s=5.0):
    """Send a datagram and return the answer; None if there is none in time."""
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.connect(("127.0.0.1", port))
        await loop.sock_sendall(sock, data)
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                return await loop.sock_recv(sock, 65535)
    return None


async def by_tcp(port, *messages):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"".join(struct.pack("!H", len(each)) + each for each in messages))
    answers = []
    async with asyncio.timeout(5):
        for _ in messages:
            size = struct.unpack("!H", await reader.readexactly(2))[0]
            answers.append(dns.message.from_wire(await reader.readexactly(size)))
    writer.close()
    return answers


async def test_questions_by_udp_and_tcp(listener):
    query = dns.message.make_query("a.test", "A")
    answer = dns.message.from_wire(await by_udp(listener, query.to_wire()))
    assert query.is_response(answer)
    assert {each.address for each in answer.answer[0]} == {"10.0.0.1", "10.0.0.2"}
    queries = [dns.message.make_query(*each).to_wire() for each in (("_x._tcp.a.test", "SRV"), ("localhost", "A"))]
    service, local = await by_tcp(listener, *queries)
    assert service.answer[0][0].port == 9090
    assert local.answer[0][0].address == "127.0.0.1"
    missing = dns.message.from_wire(await by_udp(listener, dns.message.make_query("b.test", "A").to_wire()))
    assert missing.rcode() == dns.rcode.NXDOMAIN


async def test_an_answer_that_is_too_long_for_udp_is_marked(listener, server):
    server.records["a.test.", "A"] = [f"10.0.1.{number}" for number in range(100)]
    query = dns.message.make_query("a.test", "A", use_edns=False).to_wire()
    cut = await by_udp(listener, query)
    assert len(cut) <= 512
    assert dns.message.from_wire(cut).flags & dns.flags.TC
    (whole,) = await by_tcp(listener, query)
    assert len(whole.answer[0]) == 100


async def test_a_name_server_that_fails_is_told(listener, server):
    server.raw = b"x"
    answer = dns.message.from_wire(await by_udp(listener, dns.message.make_query("a.test", "A").to_wire()))
    assert answer.rcode() == dns.rcode.SERVFAIL


@pytest.mark.parametrize(
    "data",
    [
        b"\x00",
        b"\xff" * 1000,
        dns.message.make_query("a.test", "A").to_wire()[:-1],
        dns.message.make_query("a.test", "A", rdclass="CH").to_wire(),
        dns.message.make_response(dns.message.make_query("a.test", "A")).to_wire(),  # answered, it could answer itself
    ],
    ids=["short", "noise", "cut", "another class", "an answer"],
)
async def test_bytes_that_are_no_question_get_no_answer(listener, data):
    assert await by_udp(listener, data, timeout_s=0.2) is None
    reader, writer = await asyncio.open_connection("127.0.0.1", listener)
    writer.write(struct.pack("!H", len(data)) + data)
    async with asyncio.timeout(5):
        assert await reader.read() == b""
    writer.close()


async def test_more_queries_than_may_wait(server):
    waiting, reached = asyncio.Event(), Counter()

    async def dial(address):
        await waiting.wait()
        return await direct_dial.connect(address)

    async with asyncio.TaskGroup() as tasks:
        names = NameResolution(NameRules([]), ClusterDns([server.address], dial))
        listener = DnsListener(names, tasks, reached)
        for number in range(600):
            listener.received(dns.message.make_query(f"n{number}.test", "A").to_wire(), None)
        assert reached["forward_dns_queries"] == 88
        waiting.set()


async def test_ways_in_turn(server):
    """A name that one way does not find is resolved by the next one, also after a failure; an error names all ways."""

    async def dial(address):
        dialled.append(address)
        return await asyncio.open_connection("127.0.0.1", port)

    dialled = []
    async with listening(echo) as address:
        port = int(address.rpartition(":")[2])
        rules = NameRules(["test=cluster-dns+agent", "localhost=cluster-dns+local", "none.test=cluster-dns+local"])
        names = NameResolution(rules, ClusterDns([server.address], direct_dial.connect))
        server.records["c.test.", "A"] = ["10.0.0.3"]
        for name in ("c.test", "node.test", "localhost"):
            _, writer = await names.dial(f"{name}:{port}", dial, direct_dial.connect)
            writer.close()
        assert dialled[:2] == [f"10.0.0.3:{port}", f"node.test:{port}"]
        assert dialled[2] in (f"127.0.0.1:{port}", f"[::1]:{port}")
        server.raw = b""
        _, writer = await names.dial(f"other.test:{port}", dial, direct_dial.connect)
        writer.close()
        assert dialled[3] == f"other.test:{port}"
        with pytest.raises(DialError, match="lookup"):
            await names.dial(f"none.test:{port}", dial, direct_dial.connect)


async def test_a_proxy_behind_the_tunnel():
    """Destinations are reached through it, except those of the list; its refusal is the dial's error."""

    async def serve(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        heads.append(head)
        if b"refused.test" in head:
            writer.write(b"HTTP/1.1 403 Forbidden\r\n\r\n")
            return
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nfirst")
        await echo(reader, writer)

    async def dial(address):
        dialled.append(address)
        return await asyncio.open_connection("127.0.0.1", port)

    heads, dialled = [], []
    async with listening(serve) as address:
        port = int(address.rpartition(":")[2])
        outbound = OutboundProxy("http://ann:secret@proxy.corp:3128", ".svc,10.0.0.0/8")
        proxy = outbound.proxy_of("www.example.org", 443)
        reader, writer = await outbound.connect(proxy, "www.example.org", 443, dial)
        assert await reader.readexactly(5) == b"first"
        writer.close()
        assert heads[0].startswith(b"CONNECT www.example.org:443 HTTP/1.1\r\n")
        assert b"Proxy-Authorization: Basic YW5uOnNlY3JldA==" in heads[0]
        assert not any(outbound.proxy_of(host, 80) for host in ("a.b.svc", "10.1.2.3"))
        assert dialled == ["proxy.corp:3128"]
        with pytest.raises(DialError, match=r"the proxy proxy\.corp:3128 refuses: 403 Forbidden"):
            await outbound.connect(proxy, "refused.test", 443, dial)
