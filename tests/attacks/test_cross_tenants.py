"""Tests of forged and mistaken certificates, tokens, server names and dials between tenants: none gets through."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import shutil
import socket
import ssl
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from hashlib import sha256
from typing import Any
from urllib.request import urlopen

import pytest

from konnectivity import wire
from konnectivity.client import tls_context
from konnectivity.http2 import events
from konnectivity.tool.pki.authority import Authority
from support.forward_proxy_server import ForwardProxy
from support.http2_peer import PROXY, HostilePeer, agent, request
from support.kubernetes_api import KubernetesApi
from support.tenant_site import TenantSite

TENANTS = tuple(f"t{number}" for number in range(12))
NAMES = 400  # server names that are nearly those of a tenant
TIMES = int(os.environ.get("CROSS_TENANT_TIMES", "1"))  # by which the numbers of attempts are multiplied
DIALS = 3000 * TIMES  # through the frontend of tenants without agents, to an address that agents of another tenant have
CONNECTS = 20  # of each tenant, on connections of their own
CALLS = 90  # on one connection, whose streams are limited to 100
TOKENS = 900 * TIMES
ACCOUNT = "system:serviceaccount:kube-system:agent"
OF_SERVER, OF_OWN, OF_SECRET = (f"the-token-{number}-{'x' * 20}".encode() for number in range(3))  # of the admin port
PATHS = ("overview", "agents", "connections", "peers", "paths", "conditions", "route?destination=a:1", "tenants")


@pytest.fixture
def site(tmp_path):
    site = TenantSite(tmp_path)
    for name in TENANTS:
        site.add(name)
    yield site
    site.deployment.stop()


def context_of(site: TenantSite, stem: str, alpn: str) -> ssl.SSLContext:
    one = site.deployment
    context = tls_context(one.path("ca.crt"), one.path(f"{stem}.crt"), one.path(f"{stem}.key"), "grpc")
    context.set_alpn_protocols([alpn])
    context.check_hostname = False
    return context


def handshake(context: ssl.SSLContext, port: int, name: str | None) -> str:
    """Return `accepted`, or the alert by which the server ends TLS."""
    with socket.create_connection(("127.0.0.1", port), 10) as sock:
        sock.settimeout(10)
        try:
            with context.wrap_socket(sock, server_hostname=name) as secure:
                secure.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0")
                return "accepted" if secure.recv(1) else "closed"
        except ssl.SSLError as error:
            return error.reason or "?"
        except ConnectionError:
            return "closed"


def tenants_of(site: TenantSite) -> dict[str, dict[str, Any]]:
    with urlopen(f"http://127.0.0.1:{site.deployment.admin_port}/api/v1/tenants?limit=1000") as answer:
        return {each["name"]: each for each in json.load(answer)["tenants"]}


def agents_of(site: TenantSite) -> dict[str, int]:
    return {name: each.get("agents", 0) for name, each in tenants_of(site).items()}


async def until_state(site: TenantSite, tenant: str, state: str) -> None:
    """Wait until the server reports the state of a tenant."""
    async with asyncio.timeout(10):
        while tenants_of(site)[tenant]["state"] != state:
            await asyncio.sleep(0.1)


def odd_names(name: str) -> Iterator[str]:
    """Yield server names that are nearly a tenant's, each another one."""
    first, domain = name.split(".", 1)
    yield from (f"x.{name}", domain, f"*.{domain}", first, f"{first}{domain}", f"{name}.example")
    for at, letter in itertools.product(range(len(name)), "xz0-_"):
        yield name[:at] + letter + name[at:]
        yield name[:at] + letter + name[at + 1 :]


def test_no_certificate_opens_another_tenant_and_no_name_opens_one_by_mistake(site):
    """Every credential at every other tenant, on both ports, forged ones, and names that belong to nobody."""
    site.start_server()
    ports = (site.deployment.agent_port, site.deployment.server_port)
    contexts = {name: context_of(site, name, "h2") for name in TENANTS}
    found: Counter[str] = Counter()
    for holder, tenant in itertools.permutations(TENANTS, 2):
        for port in ports * TIMES:
            found[handshake(contexts[holder], port, site.name_of(tenant))] += 1
    assert set(found) <= {"TLSV1_ALERT_UNKNOWN_CA", "SSLV3_ALERT_CERTIFICATE_UNKNOWN", "closed"}
    assert found.total() == 2 * TIMES * len(TENANTS) * (len(TENANTS) - 1)
    for tenant, port in itertools.product(TENANTS[:3], ports):
        assert handshake(contexts[tenant], port, site.name_of(tenant)) == "accepted"
        assert handshake(contexts[tenant], port, site.name_of(tenant).upper()) == "accepted"
    forged = Authority.create("CA of t0")  # the name of a tenant's authority, with another key
    forged.issue("client", client=True, organization="system:masters").write(site.deployment.directory, "forged")
    for port in ports:
        assert handshake(context_of(site, "forged", "h2"), port, site.name_of("t0")) != "accepted"
    known = {site.name_of(name) for name in TENANTS}
    odd = [name for name in dict.fromkeys(odd_names(site.name_of("t0"))) if name not in known]
    assert len(odd) > 150
    for name in odd[:NAMES]:
        assert handshake(contexts["t0"], ports[0], name) != "accepted", name


async def test_no_dial_reaches_the_agents_of_another_tenant(site):
    """Thousands of dials of tenants without agents, for an address that an agent of another tenant has."""
    with ForwardProxy({site.name_of("t0"): "127.0.0.1"}) as proxy, ExitStack() as stack:
        stack.callback(site.deployment.stop)  # the proxy ends when its clients have left
        site.start_server("--proxy-strategies=destHost,default")
        site.start_agent(proxy, "t0", "", True, "--agent-identifiers=ipv4=127.0.0.1&host=node")
        server = await asyncio.start_server(lambda reader, writer: reached.append(1), "127.0.0.1", 0)
        reached: list[int] = []
        port = server.sockets[0].getsockname()[1]

        def address(number: int) -> str:
            return f"{('127.0.0.1', 'node', 'localhost', 't0-agent')[number % 4]}:{port}"

        async def opened(tenant: str, alpn: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
            return await asyncio.open_connection(
                "127.0.0.1",
                site.deployment.server_port,
                ssl=context_of(site, tenant, alpn),
                server_hostname=site.name_of(tenant),
            )

        async def connects(tenant: str, count: int) -> Counter[str]:
            answers: Counter[str] = Counter()
            for number in range(count):
                reader, writer = await opened(tenant, "http/1.1")
                writer.write(f"CONNECT {address(number)} HTTP/1.1\r\nHost: {site.name_of('t0')}\r\n\r\n".encode())
                answers[(await reader.read(4096)).split(b"\r\n")[0].split()[1].decode()] += 1
                writer.transport.abort()
            return answers

        async def calls(tenant: str, count: int) -> int:
            peer = HostilePeer(*await opened(tenant, "h2"))
            try:
                for number in range(count):
                    stream_id = await peer.call(request(PROXY))
                    await peer.send(stream_id, wire.dial_req(address(number), number + 1))
                    assert b"No agent available" in bytes((await peer.hear(events.DataReceived)).data)
            finally:
                peer.close()
            return count

        tenants = TENANTS[1:7]
        answers = sum(await asyncio.gather(*(connects(tenant, CONNECTS) for tenant in tenants)), Counter())
        assert answers == {"500": CONNECTS * len(tenants)}
        assert sum(await asyncio.gather(*(calls(tenant, DIALS // len(tenants)) for tenant in tenants))) == DIALS
        assert reached == []
        assert await connects("t0", 1) == {"200": 1}
        server.close()


async def test_no_token_of_one_tenant_registers_an_agent_of_another(tmp_path):
    """Real tokens of another tenant's API, and made up ones, at a tenant that reviews tokens by its own API."""
    site = TenantSite(tmp_path)
    with KubernetesApi(tmp_path / "one") as one, KubernetesApi(tmp_path / "two") as two:
        for name, api in (("a", one), ("b", two)):
            site.add(name)
            api.add_token(f"token of {name}".replace(" ", "-"), ACCOUNT, "gateway")
            api.kubeconfig(site.directory / name / "kubeconfig")
            site.declare(
                name,
                "server-ca-cert: ca.crt",
                "kubeconfig: kubeconfig",
                "agent-namespace: kube-system",
                "agent-service-account: agent",
                "authentication-audience: gateway",
            )
        try:
            site.start_server("--max-new-stream-rate=100000", "--kubeconfig-qps=-1")
            context = tls_context(site.deployment.path("ca.crt"), "", "", "grpc")
            context.check_hostname = False
            statuses: Counter[str] = Counter()
            for _ in range(TOKENS // CALLS):
                statuses += await register(site, context, "a", ["token-of-b", "made-up", ""])
            assert statuses == {"2": TOKENS // CALLS * CALLS}
            assert agents_of(site) == {"a": 0, "b": 0}
            assert await register(site, context, "a", ["token-of-a"], 1) == {"accepted": 1}
            # A kubeconfig alone changes, to the API of another tenant: it is not used until that one is gone.
            two.kubeconfig(site.directory / "a" / "kubeconfig")
            await until_state(site, "a", "outdated")
            assert await register(site, context, "a", ["token-of-b"], 1) == {"2": 1}
            shutil.rmtree(site.directory / "b")
            await until_state(site, "a", "not ready")
            assert await register(site, context, "a", ["token-of-b"], 1) == {"accepted": 1}
            assert await register(site, context, "a", ["token-of-a"], 1) == {"2": 1}
        finally:
            site.deployment.stop()


async def register(site, context, tenant: str, tokens: list[str], count: int = CALLS) -> Counter[str]:
    """Ask a tenant to register agents with tokens, and return the statuses of the answers."""
    peer = HostilePeer(
        *await asyncio.open_connection(
            "127.0.0.1", site.deployment.agent_port, ssl=context, server_hostname=site.name_of(tenant)
        )
    )
    statuses: Counter[str] = Counter()
    try:
        for number in range(count):
            token = tokens[number % len(tokens)]
            more = (("authorization", f"Bearer {token}"),) if token else ()
            await peer.call(agent(f"intruder-{number}", *more))
            await peer.say()
            answer = dict((await peer.hear(events.HeadersReceived)).headers)
            statuses[answer.get("grpc-status", "accepted")] += 1
    finally:
        peer.close()
    return statuses


class AdminConnection:
    """Connection to the admin port, opened again when the server has closed it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._file: Any = None

    def ask(self, target: bytes, *fields: bytes, method: bytes = b"GET") -> tuple[int, bytes]:
        """Return the status and the whole answer to a request with header fields."""
        if self._file is None:
            with socket.create_connection(("127.0.0.1", self._port), 10) as sock:
                self._file = sock.makefile("rwb")
        head = b"\r\n".join((method + b" " + target + b" HTTP/1.1", b"Host: 127.0.0.1", *fields, b"", b""))
        self._file.write(head)
        self._file.flush()
        answer, length = b"", 0
        while (line := self._file.readline()).strip():
            answer += line
            name, _, value = line.partition(b":")
            length = int(value) if name.lower() == b"content-length" else length
        body = self._file.read(0 if method == b"HEAD" else length)
        if b"connection: close" in answer.lower():
            self._file.close()
            self._file = None
        return int(answer.split(b" ", 2)[1]), answer + body


def bearer(token: bytes) -> bytes:
    return b"Authorization: Bearer " + token


def wrong_tokens() -> Iterator[tuple[bytes, ...]]:
    """Yield header fields that open nothing."""
    for token in (OF_SERVER, OF_OWN):
        for at in range(len(token)):
            yield (bearer(token[:at] + b"~" + token[at + 1 :]),)
            yield (bearer(token[:at]),)
        yield from ((bearer(token + each),) for each in (b"0", b"=", b"\xe9", b",", b" x", b"%00", b"%20"))
        yield from (
            (bearer(each),)
            for each in (
                token.upper(),
                sha256(token).hexdigest().encode(),
                sha256(token).digest().hex().upper().encode(),
            )
        )
        yield from (
            (b"Authorization: " + each,)
            for each in (token, b"Basic " + token, b"Bearer", b"Bearer:" + token, b"bearer\t" + token)
        )
        yield (bearer(token), bearer(token))
        yield (bearer(b"wrong"), bearer(token))
        yield (b"X-Authorization: Bearer " + token, b"Cookie: token=" + token)
    yield from ((), (b"Authorization:",), (bearer(b""),), (bearer(b"x" * 12_000),), (bearer(b"\xff\xfe"),))
    yield (b"X-Forwarded-For: 127.0.0.1", b"X-Remote-User: admin")


def odd_targets(path: str) -> Iterator[str]:
    """Yield targets by which a tenant's token might show another tenant, or all."""
    mark = "&" if "?" in path else "?"
    for asked in (
        "",
        "tenant=secret-one",
        "tenant=secret-bad",
        "tenant=nobody",
        "tenant=own&tenant=secret-one",
        "tenant=secret-one&tenant=own",
        "tenant=&tenant=secret-one",
        "tenant=own%00",
        "tenant=own&tenant",
        "tenant=OWN",
        "tenant=own.",
        "tenant=own/../secret-one",
        "tenant=*",
        "tenant=own,secret-one",
        "tenant=own;tenant=secret-one",
        "ten%61nt=secret-one",
        "tenant[]=secret-one",
        "Tenant=secret-one",
        "tenant=%73ecret-one",
        "worker=0&tenant=secret-one",
        "worker=0",
        "tenant=secret-one#?tenant=own",
    ):
        target = f"/api/v1/{path}{mark}{asked}"
        yield from (
            target,
            f"/{target}",
            f"http://127.0.0.1{target}",
            f"http://own/{target}",
            target.replace("/v1/", "/%76%31/"),
        )
    yield from (
        f"/api/v1/{path.upper()}",
        f"/api/v1/./{path}",
        f"/api/v1/x/../{path}",
        f"/api/v1/{path}/",
        f"/api/v1/{path}%00",
    )


@pytest.mark.parametrize(("workers", "step"), [(1, 1), (2, 9)])
def test_no_request_to_the_admin_port_shows_another_tenant(tmp_path, workers, step):
    """Forged, foreign, doubled and odd tokens, and every way to ask with a tenant's token about another one."""
    site = TenantSite(tmp_path)
    for name, token in (("own", OF_OWN), ("secret-one", OF_SECRET), ("secret-bad", b"?")):
        site.add(name)
        digest = sha256(token).hexdigest()
        site.declare(name, "cluster-ca-cert: ca.crt", "server-ca-cert: ca.crt", f"admin-token-sha256: {digest}")
    site.declare("secret-bad", "cluster-ca-cert: none.crt")
    (tmp_path / "tokens").write_bytes(OF_SERVER)
    try:
        server = site.start_server(
            f"--admin-token-file={tmp_path / 'tokens'}", "--enable-profiling", f"--workers={workers}"
        )
        server.wait_for("Proxy server started", times=workers)
        port = AdminConnection(site.deployment.admin_port)
        assert b"secret-one" in port.ask(b"/metrics", bearer(OF_SERVER))[1]
        assert port.ask(b"/api/v1/agents?tenant=own", bearer(OF_SECRET))[0] == 403
        targets = itertools.cycle(
            f"/api/v1/{path}".encode() for path in (*PATHS, "agents?tenant=own", "tenants?tenant=own")
        )
        methods = itertools.cycle((b"GET", b"HEAD", b"POST", b"OPTIONS"))
        forged = [
            (fields, target, *port.ask(target, *fields, method=method))
            for fields, target, method in zip(
                (list(wrong_tokens()) * 4 * TIMES)[::step], targets, methods, strict=False
            )
        ]
        opened = [each for each in forged if each[2] not in (400, 401, 431)]  # 400: no header field
        assert opened == []
        foreign = [
            (target, *port.ask(target.encode(), bearer(OF_OWN), method=method))
            for target, method in zip(
                [each for path in PATHS for each in (*odd_targets(path), "/metrics", "/debug/pprof/heap", "/nothing")][
                    ::step
                ],
                methods,
                strict=False,
            )
        ]
        assert [each for each in foreign if "tenants" not in each[0] and each[1] != 403] == []
        refused = {answer.partition(b"\r\n\r\n")[2] for _, status, answer in foreign if status == 403}
        assert len(refused) <= 4, refused
        own = [
            port.ask(f"/api/v1/{path}{'&' if '?' in path else '?'}tenant=own".encode(), bearer(OF_OWN))
            for path in PATHS
        ]
        own += [
            port.ask(target, bearer(OF_OWN))
            for target in (b"/metrics?tenant=own", b"/api/v1/tenants", b"/?tenant=secret-one")
        ]
        assert Counter(status for status, _ in own) == {200: len(own) - 1, 404: 1}, "no tenant has --probe"
        everything = b"".join(
            (*(answer for _, answer in own), *(answer for *_, answer in forged), *(answer for *_, answer in foreign))
        )
        assert len(forged) + len(foreign) > 1500 // step
        assert b"secret" not in everything
        assert b"server_build_info" not in everything
        server.stop()
        said = server.log
        assert not any(token.decode() in said for token in (OF_SERVER, OF_OWN, OF_SECRET))
    finally:
        site.deployment.stop()
