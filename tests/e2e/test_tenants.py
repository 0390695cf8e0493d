"""Tests of --tenants with whole programs: dials, refusals, changes of the directory, metrics and the admin API."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from konnectivity.client import DialError, connect, tls_context
from konnectivity.runtime import launcher
from konnectivity.tool.pki.authority import Authority
from support.forward_proxy_server import ForwardProxy
from support.targets import echo, listening
from support.tenant_site import TenantSite

CHANGE_S = 1.0  # a change of the directory is served within this time
NAMES = ("a", "b", "c", "d", "e", "f", "g", "p", "nobody")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    site = TenantSite(tmp_path_factory.mktemp("site"))
    site.add("a")
    site.add("b", f"uds-name: {site.deployment.path('b.sock')}")
    with ForwardProxy({site.name_of(name): "127.0.0.1" for name in NAMES}) as proxy:
        site.proxy = proxy
        site.server = site.start_server(f"--audit-log={site.deployment.path('audit')}")
        site.start_agent(proxy, "a")
        yield site
        site.deployment.stop()


def fetch(site, path: str, port: int = 0) -> str:
    with urlopen(f"http://127.0.0.1:{port or site.deployment.admin_port}{path}") as answer:
        return answer.read().decode()


def tenants(site) -> dict[str, dict]:
    return {each["name"]: each for each in json.loads(fetch(site, "/api/v1/tenants"))["tenants"]}


def until(condition: Callable[[], bool], within_s: float = 10.0) -> float:
    """Wait for a condition and return the seconds that it took."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() < began + within_s, "the condition did not come true"
        time.sleep(0.02)
    return time.monotonic() - began


@pytest.mark.parametrize("mode", ["http-connect", "grpc"])
async def test_a_dial_reaches_the_agents_of_its_tenant_and_no_others(site, mode):
    async with listening(echo) as address:
        async with connect(**site.frontend("a", mode)) as tunnel:
            reader, writer = await tunnel.dial(address)
            writer.write(b"hello")
            assert await reader.readexactly(5) == b"hello"
            writer.close()
            await writer.wait_closed()
        async with connect(**site.frontend("b", mode)) as tunnel:
            with pytest.raises(DialError, match="No agent available"):
                await tunnel.dial(address)


async def test_a_unix_socket_leads_to_its_tenant(site):
    async with connect(f"unix:{site.deployment.path('b.sock')}") as tunnel:
        with pytest.raises(DialError, match="No agent available"):
            await tunnel.dial("127.0.0.1:1")


@pytest.mark.parametrize("port", ["agents", "frontends"])
@pytest.mark.parametrize(
    ("tenant", "credential", "alert"),
    [("a", "b", "UNKNOWN_CA"), ("b", "a", "UNKNOWN_CA"), ("nobody", "a", "UNRECOGNIZED_NAME")],
)
def test_a_client_with_the_credential_of_another_tenant_or_an_unknown_name_gets_an_alert(
    site, port, tenant, credential, alert
):
    assert alert in refusal(site, port, tenant, credential)


def test_a_client_that_names_no_tenant_gets_an_alert(site):
    for port in ("agents", "frontends"):
        assert "UNRECOGNIZED_NAME" in refusal(site, port, None, "a")


def refusal(site, port: str, tenant: str | None, credential: str) -> str:
    """Return why TLS with a tenant and the credential of another one ends, before the server says anything."""
    one = site.deployment
    context = tls_context(one.path("ca.crt"), one.path(f"{credential}.crt"), one.path(f"{credential}.key"), "grpc")
    context.check_hostname = tenant is not None
    address = ("127.0.0.1", one.agent_port if port == "agents" else one.server_port)
    with socket.create_connection(address, 10) as sock, pytest.raises(ssl.SSLError) as caught:
        name = None if tenant is None else site.name_of(tenant)
        with context.wrap_socket(sock, server_hostname=name) as secure:  # with TLS 1.3 the alert follows the handshake
            secure.recv(1)
    return caught.value.reason


def test_an_agent_of_another_tenant_is_refused(site):
    agent = site.start_agent(site.proxy, "b", "a", connects=False)
    agent.wait_for("unknown certificate authority")
    agent.stop()
    assert tenants(site)["b"]["agents"] == 0


def test_the_metrics_of_each_tenant_have_its_name_and_readiness_is_known_of_each(site):
    health = site.deployment.health_port
    text = fetch(site, "/metrics", health)
    assert 'konnectivity_network_proxy_server_ready_backend_connections{tenant="a"} 1' in text
    assert 'konnectivity_network_proxy_server_ready_backend_connections{tenant="b"} 0' in text
    assert 'konnectivity_network_proxy_server_tenant_read_turns_total{tenant="a"} ' in text
    assert text.count("# TYPE konnectivity_network_proxy_server_established_connections ") == 1
    assert fetch(site, "/readyz", health) == fetch(site, "/readyz?tenant=a", health) == "ok"
    with pytest.raises(HTTPError, match="500"):
        fetch(site, "/readyz?tenant=b", health)


def test_the_admin_api_shows_one_tenant_at_a_time(site):
    assert [each["id"] for each in json.loads(fetch(site, "/api/v1/agents?tenant=a"))] == ["a-agent"]
    assert json.loads(fetch(site, "/api/v1/agents?tenant=b")) == []
    assert json.loads(fetch(site, "/api/v1/overview?tenant=a"))["ready"] is True
    until(lambda: json.loads(fetch(site, "/api/v1/overview?tenant=a"))["history"]["series"]["agents"] != [])
    for path, status in (("/api/v1/agents", "400"), ("/api/v1/agents?tenant=x", "404")):
        with pytest.raises(HTTPError, match=status):
            fetch(site, path)


async def test_changes_of_the_directory_touch_only_their_own_tenant(site):
    async with listening(echo) as address, connect(**site.frontend("a")) as tunnel:
        reader, writer = await tunnel.dial(address)
        site.add("c")
        assert until(lambda: "c" in tenants(site)) < CHANGE_S + 0.5
        site.start_agent(site.proxy, "c")
        other = Authority.create("CA of c, the next")
        other.write(site.directory / "c")
        other.issue("client", client=True).write(site.deployment.directory, "c-next")
        site.server.wait_for("TLS files of a tenant have changed")
        async with connect(**site.frontend("c", credential="c-next")) as renewed:
            _, another = await renewed.dial(address)
            another.close()
            await another.wait_closed()
        assert "UNKNOWN_CA" in refusal(site, "frontends", "c", "c")
        shutil.rmtree(site.directory / "c")
        assert until(lambda: "c" not in tenants(site)) < CHANGE_S + 0.5
        writer.write(b"still here")
        assert await reader.readexactly(10) == b"still here"
        writer.close()
        await writer.wait_closed()


def test_a_mounted_secret_and_a_write_in_place_are_noticed_within_a_second(site):
    """Change a tenant as the kubelet does, and as an editor that keeps the file does."""
    folder = site.add("s")
    text = (folder / "tenant.yaml").read_text()
    for number, name in enumerate(("s1.tenants.example", "s2.tenants.example")):
        data = folder / f"..{number}"
        data.mkdir()
        (data / "tenant.yaml").write_text(text.replace(site.name_of("s"), name))
        (folder / "..data_tmp").symlink_to(data.name)
        os.replace(folder / "..data_tmp", folder / "..data")
        if not number:
            (folder / "new").symlink_to("..data/tenant.yaml")
            os.replace(folder / "new", folder / "tenant.yaml")
        assert until(lambda name=name: tenants(site).get("s", {}).get("server_names") == [name]) < CHANGE_S + 0.5
    with open(folder / "..1" / "tenant.yaml", "r+") as file:
        file.write(text.replace(site.name_of("s"), "s3.tenants.example"))
        file.flush()
        assert until(lambda: tenants(site)["s"]["server_names"] == ["s3.tenants.example"]) < CHANGE_S + 0.5
    shutil.rmtree(folder)
    until(lambda: "s" not in tenants(site))


def test_a_broken_tenant_is_refused_with_its_reason_and_served_on_as_before(site):
    site.add("d")
    until(lambda: tenants(site).get("d", {}).get("state") == "not ready")
    site.declare("d", "cluster-ca-cert: missing.crt", "proxy-strategies: nonsense")
    until(lambda: tenants(site)["d"]["state"] == "outdated")
    trouble = tenants(site)["d"]["trouble"]
    assert "unknown proxy strategy: nonsense" in trouble
    assert "missing.crt" in trouble
    site.server.wait_for("its last good state is served on")
    site.start_agent(site.proxy, "d").stop()
    assert 'server_tenants{state="outdated"} 1' in fetch(site, "/metrics")
    site.add("d")
    until(lambda: tenants(site)["d"]["state"] == "not ready")


def test_a_tenant_with_the_authority_or_the_name_of_another_is_refused_until_that_one_is_gone(site):
    site.add("e")
    until(lambda: "e" in tenants(site))
    site.add("f", authority=site.authorities["e"])
    site.add("g", "frontend-names: e.tenants.example")
    until(lambda: [tenants(site).get(name, {}).get("state") for name in "fg"] == ["refused", "refused"])
    assert "belongs to tenant e" in tenants(site)["f"]["trouble"]
    assert "server name 'e.tenants.example' belongs to tenant e" in tenants(site)["g"]["trouble"]
    shutil.rmtree(site.directory / "e")
    until(lambda: [tenants(site)[name]["state"] for name in "fg"] == ["not ready", "not ready"])


async def test_a_tenant_has_a_number_of_connections_and_a_rate_of_dials(site):
    site.add("h", "max-connections: 3", "max-dial-rate: 1")
    until(lambda: "h" in tenants(site))
    texts = []
    async with connect(**site.frontend("h")) as tunnel:
        for _ in range(20):
            with pytest.raises(DialError) as caught:
                await tunnel.dial("127.0.0.1:1")
            texts.append(str(caught.value))
    assert "No agent available" in texts[0]
    assert "too many dials" in "".join(texts)
    one = site.deployment
    context = tls_context(one.path("ca.crt"), one.path("h.crt"), one.path("h.key"), "http-connect")
    with ExitStack() as stack:
        for _ in range(4):
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", one.server_port), 10))
            stack.enter_context(context.wrap_socket(sock, server_hostname=site.name_of("h")))
        for limit in ("tenant_connections", "dial_rate"):
            until(lambda limit=limit: f'reached_total{{tenant="h",limit="{limit}"}}' in fetch(site, "/metrics"))


async def test_a_tenant_has_probes_through_its_own_agents(site):
    async with listening(echo) as address:
        site.add("p", f"probe: echo={address},tcp", "ready-when: path")
        await asyncio.to_thread(until, lambda: "p" in tenants(site))
        await asyncio.to_thread(site.start_agent, site.proxy, "p")
        await asyncio.to_thread(until, lambda: tenants(site)["p"]["state"] == "ready")
        listed = json.loads(fetch(site, "/api/v1/paths?tenant=p"))
        assert [each["name"] for each in listed["classes"]] == ["echo"]
        with pytest.raises(HTTPError, match="404"):
            fetch(site, "/api/v1/paths?tenant=a")
        shutil.rmtree(site.directory / "p")
        await asyncio.to_thread(until, lambda: "p" not in tenants(site))


def test_the_tool_lists_the_tenants_and_the_options_are_checked_with_the_directory(site):
    site.add("i")
    site.declare("i", "cluster-ca-cert: none.crt")
    until(lambda: tenants(site).get("i", {}).get("state") == "refused")
    listed = command("konnectivity", "tenants", "--admin", f"127.0.0.1:{site.deployment.admin_port}")
    assert listed.returncode == 1
    assert [line.split()[:2] for line in listed.stdout.splitlines()][:2] == [["NAME", "STATE"], ["i", "refused"]]
    checked = command("proxy-server", "--check-config", *site.server_arguments())
    assert checked.returncode == 1
    assert "# tenant a: can be served" in checked.stdout
    assert "# tenant i: refused: " in checked.stdout
    shutil.rmtree(site.directory / "i")
    assert command("proxy-server", "--check-config", *site.server_arguments()).returncode == 0


def command(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a program of this project and return its output."""
    line = [*launcher.command(program), *arguments]
    return subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)


async def test_the_audit_log_names_the_tenant(site):
    async with listening(echo) as address, connect(**site.frontend("a")) as tunnel:
        _, writer = await tunnel.dial(address)
        writer.close()
        await writer.wait_closed()
    await asyncio.to_thread(until, lambda: "a" in dialled(site))


def dialled(site) -> set[str]:
    """Return the tenants whose dials are in the audit log; its last line may be half written."""
    with open(site.deployment.path("audit")) as file:
        records = [json.loads(line) for line in file if line.endswith("\n")]
    return {each["tenant"] for each in records if each["event"] == "dialled"}


async def test_agents_and_frontends_of_many_tenants_share_one_port(tmp_path):
    site = TenantSite(tmp_path)
    one = site.deployment
    one.server_port = one.agent_port
    for name in ("a", "b"):
        folder = site.add(name)
        frontends = Authority.create(f"frontends of {name}")
        frontends.issue("apiserver", client=True).write(one.directory, f"{name}-api")
        (folder / "api.crt").write_bytes(frontends.certificate_pem)
        site.declare(name, "cluster-ca-cert: ca.crt", "server-ca-cert: api.crt")
    try:
        with ForwardProxy({site.name_of(name): "127.0.0.1" for name in "ab"}) as proxy:
            site.start_server()
            site.start_agent(proxy, "a")
            async with listening(echo) as address:
                for mode in ("http-connect", "grpc"):
                    async with connect(**site.frontend("a", mode, "a-api")) as tunnel:
                        _, writer = await tunnel.dial(address)
                        writer.close()
                        await writer.wait_closed()
                    async with connect(**site.frontend("b", mode, "b-api")) as tunnel:
                        with pytest.raises(DialError, match="No agent available"):
                            await tunnel.dial(address)
                    async with connect(**site.frontend("a", mode, "a")) as tunnel:
                        with pytest.raises(DialError, match=r"credential is one of agents"):
                            await tunnel.dial(address)
            assert "UNKNOWN_CA" in refusal(site, "agents", "a", "b-api")
    finally:
        one.stop()


def examined(site, tenant: str, *arguments: str) -> dict[str, tuple[str, str]]:
    """Return status and text of each check of `konnectivity doctor` for a tenant of the running server."""
    admin = f"127.0.0.1:{site.deployment.admin_port}"
    done = command(
        "konnectivity", "doctor", "-o", "json", "--warn-days=0", "--admin", admin, "--tenant", tenant, *arguments
    )
    assert done.stderr == ""
    return {each["check"]: (each["status"], each["what"]) for each in json.loads(done.stdout)["results"]}


def agent_words(site, tenant: str, credential: str) -> list[str]:
    one = site.deployment
    return [
        "proxy-agent",
        f"--proxy-server-host={site.name_of(tenant)}",
        f"--proxy-server-port={one.agent_port}",
        f"--ca-cert={one.path('ca.crt')}",
        f"--agent-cert={one.path(f'{credential}.crt')}",
        f"--agent-key={one.path(f'{credential}.key')}",
    ]


def test_the_doctor_finds_a_tenant_healthy_or_says_which_of_its_parts_is_not_its_own(site, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{site.proxy.port}")
    server = ["proxy-server", *site.server_arguments()]
    found = examined(site, "a", "--", *server, *agent_words(site, "a", "a"))
    for check in (
        "tenant",
        "tenant-files",
        "tenant-names",
        "tenant-agent",
        "agents",
        "agent-port",
        "certificate-served",
    ):
        assert found[check][0] == "ok", (check, found[check])
    found = examined(site, "a", "--", *server, *agent_words(site, "b", "b"))
    assert found["tenant-names"] == ("failed", "agents dial b.tenants.example; the tenant has a.tenants.example")
    assert "does not lead to" in found["tenant-agent"][1]
    assert examined(site, "a", "--", *agent_words(site, "a", "b"))["agent-port"][0] == "failed"
    assert (
        "no tenant of the server has the name" in examined(site, "a", "--", *agent_words(site, "nobody", "a"))["tls"][1]
    )


def test_the_doctor_tells_a_tenant_without_agents_from_one_that_is_refused_or_unknown(site):
    site.add("j")
    site.add("k")
    site.declare("k", "cluster-ca-cert: none.crt")
    until(
        lambda: {name: tenants(site).get(name, {}).get("state") for name in "jk"} == {"j": "not ready", "k": "refused"}
    )
    try:
        assert examined(site, "j")["tenant"][1].startswith("not ready: ")
        assert "none.crt" in examined(site, "k")["tenant"][1]
        assert examined(site, "x")["tenant"] == ("failed", "has no tenant x")
    finally:
        for name in "jk":
            shutil.rmtree(site.directory / name)
