"""Tests of `konnectivity doctor` beside real programs: a healthy tunnel, and each fault that doctor can find."""

from __future__ import annotations

import base64
import http.server
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from konnectivity.testing.deployment import Deployment, free_port
from konnectivity.tool.pki.authority import Authority
from support.forward_proxy_server import ForwardProxy
from support.kubernetes_api import REVIEWS, KubernetesApi

AUDIENCE = "system:konnectivity-server"
ACCOUNT = "system:serviceaccount:kube-system:konnectivity-agent"


def doctor(*arguments, **environment):
    """Run `konnectivity doctor` and return its exit code and its results, grouped by check."""
    command = [sys.executable, "-m", "konnectivity.tool.cli", "doctor", "-o", "json", "--warn-days=0", *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, env={**os.environ, **environment}
    )
    assert done.stderr == "", done.stderr
    found = json.loads(done.stdout)
    results = {}
    for each in found["results"]:
        results.setdefault(each["check"], []).append(each)
        assert each["do"] or each["status"] in ("ok", "skipped")
    assert found["healthy"] == (done.returncode == 0)
    return done.returncode, results


def statuses(results):
    return {(check, each["status"]) for check, found in results.items() for each in found}


def failures(results):
    return {check for check, status in statuses(results) if status == "failed"}


def only(results, check):
    assert len(results[check]) == 1, results[check]
    return results[check][0]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    deployment = Deployment(tmp_path_factory.mktemp("site"))
    deployment.start_server("--server-id=server-1")
    deployment.agent = deployment.start_agent("--agent-id=node-1")
    yield deployment
    deployment.stop()


def agent(site, *more):
    """Return the arguments of proxy-agent, in which `more` replaces the usual flags of the same name."""
    replaced = {each.partition("=")[0] for each in more}
    ports = {"health_port": site.agent.health_port, "admin_port": site.agent.admin_port}
    usual = [each for each in site.agent_arguments(**ports) if each.partition("=")[0] not in replaced]
    return ["--", "proxy-agent", *usual, *more]


def server(site, *more):
    replaced = {each.partition("=")[0] for each in more}
    usual = [each for each in site.server_arguments() if each.partition("=")[0] not in replaced]
    return ["--", "proxy-server", *usual, *more]


def egress(site, mode, path=None):
    file = site.directory / f"egress-{mode}-{free_port()}.yaml"
    command = [sys.executable, "-m", "konnectivity.tool.cli", "egress-config", "--mode", mode, "--file", str(file)]
    subprocess.run([*command, "--uds", path or site.socket], check=True, timeout=20)
    return f"--egress-config={file}"


def jwt(**claims):
    parts = [json.dumps(each).encode() for each in ({"alg": "none"}, claims)]
    return ".".join([*(base64.urlsafe_b64encode(each).rstrip(b"=").decode() for each in parts), "x"])


# ---- all is well ----------------------------------------------------------------------------------------------------


def test_a_healthy_agent(site):
    code, results = doctor(*agent(site))
    assert code == 0
    assert {status for _, status in statuses(results)} == {"ok"}
    looked_at = {
        "options",
        "key-exchange",
        "ca",
        "client-certificate",
        "resolve",
        "reach",
        "tls",
        "alpn",
        "sni",
        "agent-port",
    }
    looked_at |= {"certificate-name", "certificate-expiry", "certificate-trust", "agent-servers"}
    assert looked_at == results.keys()
    assert only(results, "agent-servers")["what"] == "connected to 1 of 1 servers that it knows of"


@pytest.mark.parametrize("mode", ["grpc", "http-connect"])
def test_a_healthy_server_and_its_kube_apiserver(site, mode):
    url = f"http://127.0.0.1:{site.health_port}/healthz"
    code, results = doctor(egress(site, mode), f"--dial={url}", "--expect-agent=node-1", *server(site))
    assert code == 0, failures(results)
    assert {status for _, status in statuses(results)} == {"ok"}
    assert {"egress-rules", "egress-server", "egress", "frontend-socket", "certificate-served"} <= results.keys()
    assert {"server-ready", "agents", "agent-everywhere", "clock"} <= results.keys()
    dial = only(results, "dial")
    assert dial["where"].endswith(f"({mode})")
    assert all(hop in dial["what"] for hop in ("connect", "dial", "first byte", "total", "HTTP status 200"))


def test_both_programs_at_once_and_the_table(site):
    command = [sys.executable, "-m", "konnectivity.tool.cli", "doctor", "--warn-days=3"]
    done = subprocess.run(
        [*command, *server(site), *agent(site)[1:]], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout
    head, *lines = done.stdout.splitlines()
    assert head.split() == ["STATUS", "CHECK", "WHERE", "WHAT"]
    assert any(line.startswith("warning  certificate-expiry") for line in lines)
    assert any(line.startswith("* certificate-expiry (warning; 127.0.0.1:") for line in lines)


def test_a_tcp_frontend(site):
    files = [
        f"--ca-cert={site.path('ca.crt')}",
        f"--cert={site.path('client.crt')}",
        f"--key={site.path('client.key')}",
    ]
    way = [f"--frontend=127.0.0.1:{site.server_port}", *files]
    code, results = doctor(*way, f"--dial=127.0.0.1:{site.health_port}")
    assert code == 0
    assert "tls " in only(results, "dial")["what"]


def test_an_agent_behind_a_forward_proxy(site):
    host = agent(site, "--proxy-server-host=server.example")
    with ForwardProxy({"server.example": "127.0.0.1"}) as proxy:
        code, results = doctor(*host, HTTPS_PROXY=proxy.url)
        assert code == 1
        assert failures(results) == {"certificate-name"}
        assert "left to the proxy 127.0.0.1:" in only(results, "resolve")["what"]
        assert proxy.targets
        proxy.refusal = "403 Forbidden"
        code, results = doctor(*host, HTTPS_PROXY=proxy.url)
        assert failures(results) == {"reach"}
        assert "refuses: 403 Forbidden" in only(results, "reach")["what"]
    code, results = doctor(*host, HTTPS_PROXY="ftp://x")
    assert code == 1
    assert failures(results) == {"proxy"}


# ---- the way to the server ------------------------------------------------------------------------------------------


def test_a_closed_port(site):
    code, results = doctor(*agent(site, f"--proxy-server-port={free_port()}"))
    assert code == 1
    assert failures(results) == {"reach"}
    assert "refused" in only(results, "reach")["what"]


def test_a_name_that_nobody_knows(site):
    code, results = doctor(*agent(site, "--proxy-server-host=no-such-host.invalid"))
    assert code == 1
    assert failures(results) == {"resolve"}


@pytest.mark.parametrize(
    ("port", "check", "text"),
    [("health_port", "tls", "not in TLS"), ("server_port", "agent-port", "this is a frontend")],
)
def test_another_port_of_the_server(site, port, check, text):
    code, results = doctor(*agent(site, f"--proxy-server-port={getattr(site, port)}"))
    assert code == 1
    assert failures(results) == {check}
    assert text in only(results, check)["what"]


def test_one_of_two_addresses_is_dead(site):
    hosts = f"--proxy-server-host=localhost,127.0.0.1:{free_port()}"
    code, results = doctor(*agent(site, hosts))
    assert code == 1
    assert {each["status"] for each in results["reach"]} == {"ok", "failed"}


def test_a_server_that_says_nothing(site):
    with silent_listener() as port:
        code, results = doctor("--timeout=500ms", *agent(site, f"--proxy-server-port={port}"))
    assert code == 1
    assert "no TLS answer in 0.5 s" in only(results, "tls")["what"]


@contextmanager
def silent_listener():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


# ---- certificates ---------------------------------------------------------------------------------------------------


@contextmanager
def tls_server(certificate, key, alpn):
    """Run a TLS server that speaks HTTP/1.1."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.set_alpn_protocols(alpn)
    listener = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    listener.daemon_threads = True
    listener.handle_error = lambda *args: None
    listener.socket = context.wrap_socket(listener.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=listener.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield listener.server_port
    finally:
        listener.shutdown()
        thread.join()
        listener.server_close()


def test_a_wrong_ca(site):
    Authority.create("another CA").write(site.directory / "other")
    code, results = doctor(*agent(site, f"--ca-cert={site.path('other/ca.crt')}"))
    assert code == 1
    assert failures(results) == {"certificate-trust"}
    assert "issued by CN=konnectivity throwaway CA" in only(results, "certificate-trust")["what"]


@pytest.fixture
def with_certificate(tmp_path):
    """Return a function that starts a deployment whose agent port presents a given certificate."""
    started = []

    def start(**made):
        deployment = Deployment(tmp_path)
        authority = Authority.create("site CA")
        authority.write(tmp_path)
        authority.issue("client", client=True).write(tmp_path, "client")
        authority.issue("proxy-server", **{"server": True, **made}).write(tmp_path, "server")
        deployment.start_server()
        deployment.agent = type("Agent", (), {"health_port": free_port(), "admin_port": free_port()})
        started.append(deployment)
        return deployment

    yield start
    for deployment in started:
        deployment.stop()


def test_a_certificate_with_another_name(with_certificate):
    site = with_certificate(dns=("*.example.com", "other.example"))
    code, results = doctor(*agent(site))
    assert code == 1
    assert failures(results) == {"certificate-name"}
    assert only(results, "certificate-name")["what"] == (
        "the certificate does not name 127.0.0.1; it has DNS:*.example.com, DNS:other.example"
    )
    code, results = doctor(*server(site), *agent(site)[1:])
    assert {"certificate-name", "cluster-certificate"} <= failures(results)


def test_an_expired_certificate(with_certificate):
    site = with_certificate(ips=("127.0.0.1",), valid_for=timedelta(days=-2))
    code, results = doctor(*agent(site))
    assert code == 1
    assert failures(results) == {"certificate-expiry"}
    assert "expired on" in only(results, "certificate-expiry")["what"]
    _, results = doctor(f"--admin=127.0.0.1:{site.admin_port}")
    assert "certificate-in-use" in failures(results)


def test_a_certificate_for_clients(with_certificate):
    site = with_certificate(ips=("127.0.0.1",), server=False, client=True)
    code, results = doctor(*agent(site))
    assert code == 1
    assert {"certificate-usage"} <= failures(results)


def test_a_server_that_does_not_speak_http2(site):
    with tls_server(site.path("server.crt"), site.path("server.key"), ["http/1.1"]) as port:
        code, results = doctor(*agent(site, f"--proxy-server-port={port}"))
    assert code == 1
    assert failures(results) == {"alpn"}
    assert "not h2" in only(results, "alpn")["what"]


def test_a_client_certificate_of_another_ca(site):
    other = Authority.create("another CA").issue("client", client=True)
    certificate, key = other.write(site.directory / "stranger", "client")
    code, results = doctor(*agent(site, f"--agent-cert={certificate}", f"--agent-key={key}"))
    assert code == 1
    assert failures(results) == {"agent-port"}
    assert "does not take this client's certificate" in only(results, "agent-port")["what"]


def test_a_key_that_belongs_to_another_certificate(site):
    code, results = doctor(*agent(site, f"--agent-key={site.path('server.key')}"))
    assert code == 1
    assert "client-certificate" in failures(results)


def test_a_server_that_still_shows_the_old_certificate(with_certificate):
    site = with_certificate(ips=("127.0.0.1",))
    copy = site.directory / "mounted"
    Authority.create("site CA").issue("proxy-server", ips=("127.0.0.1",), server=True).write(copy, "server")
    new = [f"--cluster-cert={copy}/server.crt", f"--cluster-key={copy}/server.key"]
    _, results = doctor(*server(site, *new))
    assert ("certificate-served", "warning") in statuses(results)


# ---- tokens, clocks, the Kubernetes API -----------------------------------------------------------------------------


@pytest.fixture
def token(tmp_path):
    def write(**claims):
        now = int(time.time())
        path = tmp_path / "token"
        whole = {"aud": [AUDIENCE], "sub": ACCOUNT, "iat": now - 10, "exp": now + 3000, **claims}
        path.write_text(jwt(**whole) + "\n")
        return str(path)

    return write


def with_token(site, path):
    return agent(site, f"--service-account-token-path={path}")


def test_a_token_for_the_server(site, token):
    code, results = doctor(*with_token(site, token()))
    assert code == 0
    assert only(results, "token")["what"].startswith(f"for {AUDIENCE}, of {ACCOUNT}, valid until")


@pytest.mark.parametrize(
    ("claims", "check", "text"),
    [
        ({"aud": ["https://kubernetes.default.svc"]}, "token", "is for https://kubernetes.default.svc, and the server"),
        ({"exp": 1_700_000_000}, "token", "has expired at 2023-11-14"),
        ({"iat": 4_000_000_000}, "clock", "from now by this machine's clock"),
    ],
)
def test_a_token_that_is_refused(site, token, claims, check, text):
    code, results = doctor(*with_token(site, token(**claims)))
    assert code == 1
    assert failures(results) == {check}
    assert text in only(results, check)["what"]


def test_a_server_s_kubernetes_api(site, tmp_path, token):
    path = token()
    flags = ["--agent-namespace=kube-system", "--agent-service-account=konnectivity-agent"]
    flags += [f"--authentication-audience={AUDIENCE}"]
    with KubernetesApi(tmp_path) as api:
        kubeconfig = api.kubeconfig(tmp_path / "kubeconfig")
        api.add_token((tmp_path / "token").read_text().strip(), ACCOUNT, AUDIENCE)
        given = server(site, *flags, f"--kubeconfig={kubeconfig}")
        code, results = doctor(*given)
        assert code == 0
        assert ("token-reviews", "ok") in statuses(results)
        code, results = doctor(f"--token={path}", *given)
        assert code == 0
        assert only(results, "token-review")["what"] == f"the token is {ACCOUNT}'s, for {AUDIENCE}"
        code, results = doctor(f"--token={path}", *given, "--agent-service-account=other")
        assert failures(results) == {"token-review"}
        api.fail(REVIEWS, 403)
        code, results = doctor(*given)
        assert code == 1
        assert failures(results) == {"token-reviews"}
        assert "system:auth-delegator" in only(results, "token-reviews")["do"]
    code, results = doctor("--timeout=1s", *given)
    assert code == 1
    assert failures(results) == {"token-reviews"}


def test_a_kubeconfig_alone(tmp_path, token):
    path = token()
    with KubernetesApi(tmp_path) as api:
        api.add_token((tmp_path / "token").read_text().strip(), ACCOUNT, AUDIENCE)
        kubeconfig = f"--kubeconfig={api.kubeconfig(tmp_path / 'kubeconfig')}"
        assert doctor(kubeconfig)[0] == 0
        code, results = doctor(kubeconfig, f"--token={path}")
        assert code == 0
        assert only(results, "token-review")["status"] == "ok"
        code, results = doctor(kubeconfig, f"--token={path}", "--audience=other")
        assert failures(results) == {"token-review"}
        (tmp_path / "token").write_text("forged")
        assert failures(doctor(kubeconfig, f"--token={path}")[1]) == {"token-review"}
    assert failures(doctor("--kubeconfig=/no/such")[1]) == {"token-reviews"}


def test_leases(site, tmp_path):
    with KubernetesApi(tmp_path) as api:
        kubeconfig = api.kubeconfig(tmp_path / "kubeconfig")
        counting = agent(site, "--count-server-leases", f"--kubeconfig={kubeconfig}")
        _, results = doctor(*counting)
        assert ("leases", "warning") in statuses(results)
        api.fail("leases.list", 403)
        code, results = doctor(*counting)
        assert code == 1
        assert failures(results) == {"leases"}


class Clockwork(http.server.BaseHTTPRequestHandler):
    """HTTP handler of an admin port whose clock is an hour ahead."""

    def do_GET(self):
        body = b"[]" if "agents" in self.path else b'{"id": "s", "ready": true, "version": "1"}'
        self.send_response_only(200)
        self.send_header("Date", format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


def test_a_clock_that_is_wrong():
    listener = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Clockwork)
    thread = threading.Thread(target=listener.serve_forever, args=(0.02,))
    thread.start()
    try:
        code, results = doctor(f"--admin=127.0.0.1:{listener.server_port}")
    finally:
        listener.shutdown()
        thread.join()
        listener.server_close()
    assert code == 1
    assert "clock" in failures(results)
    assert "ahead of this machine" in only(results, "clock")["what"]


# ---- frontends, egress configuration, agents ------------------------------------------------------------------------


def test_an_egress_configuration_of_another_mode(fresh):
    fresh.start_server("--mode=http-connect")
    fresh.start_agent()
    code, results = doctor(egress(fresh, "grpc"), *server(fresh, "--mode=http-connect"))
    assert code == 1
    assert failures(results) == {"egress-server", "egress"}
    assert "GRPC needs a server with --mode=grpc" in only(results, "egress")["what"]
    # The options given to doctor differ from the running server's; the socket of the server reveals it.
    code, results = doctor(*server(fresh, "--mode=grpc"))
    assert "speaks http-connect, not grpc" in only(results, "frontend-socket")["what"]


def test_an_egress_configuration_of_another_socket(site):
    code, results = doctor(egress(site, "grpc", "/run/elsewhere.sock"), *server(site))
    assert code == 1
    assert failures(results) == {"egress-server", "egress"}
    assert "no such file" in only(results, "egress")["what"]


def test_a_socket_that_is_a_file_or_left_behind(site, tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    code, results = doctor(*server(site, f"--uds-name={file}"))
    assert code == 1
    assert only(results, "frontend-socket")["what"] == "is not a socket"


def test_an_egress_configuration_that_kube_apiserver_refuses(tmp_path):
    file = tmp_path / "egress.yaml"
    file.write_text("kind: EgressSelectorConfiguration\nsocket: /run/x\n")
    code, results = doctor(f"--egress-config={file}")
    assert code == 1
    assert failures(results) == {"egress-rules"}
    code, results = doctor("--egress-config=/no/such.yaml")
    assert failures(results) == {"egress-rules"}


def test_agents_that_are_missing(fresh):
    fresh.start_server("--server-id=first")
    admin, agents = free_port(), free_port()
    ports = [f"--agent-port={agents}", f"--admin-port={admin}", f"--health-port={free_port()}"]
    second_frontend = [f"--server-port={free_port()}", f"--uds-name={fresh.path('second.sock')}"]
    fresh.start_server("--server-id=second", *ports, *second_frontend)
    admins = [f"--admin=127.0.0.1:{fresh.admin_port}", f"--admin=127.0.0.1:{admin}"]
    code, results = doctor(*admins)
    assert code == 1
    assert {"agents", "server-ready"} <= failures(results)
    fresh.start_agent("--agent-id=everywhere", f"--proxy-server-host=127.0.0.1,127.0.0.1:{agents}")
    fresh.start_agent("--agent-id=half")
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and len(doctor(*admins)[1].get("agents", ())) < 2:
        time.sleep(0.1)
    code, results = doctor(*admins, "--expect-agent=never")
    assert code == 1
    missing = sorted((each["where"], each["what"]) for each in results["agent-everywhere"])
    first, second = f"127.0.0.1:{fresh.admin_port}", f"127.0.0.1:{admin}"
    assert sorted(what for where, what in missing if where.startswith(second)) == [
        f"agent half is not connected (it is to {first})",
        "agent never is not connected anywhere",
    ]
    code, results = doctor(admins[0], admins[0].replace("127.0.0.1", "localhost"))
    assert any("is the same server as" in each["what"] for each in results["admin"])


def test_an_agent_that_is_frozen(fresh):
    fresh.start_server("--heartbeat-interval=500ms")
    frozen = fresh.start_agent("--agent-id=frozen")
    frozen.send(signal.SIGSTOP)
    try:
        deadline = time.monotonic() + 15
        while True:
            code, results = doctor(f"--admin=127.0.0.1:{fresh.admin_port}")
            if "agent-state" in results or time.monotonic() > deadline:
                break
        assert code == 1
        assert only(results, "agent-state")["what"].startswith("agent frozen is silent, nothing heard for ")
    finally:
        frozen.send(signal.SIGCONT)


def test_a_dial_without_agents(fresh):
    fresh.start_server("--proxy-strategies=destHost")
    code, results = doctor("--dial=10.0.0.7:10250", *server(fresh, "--proxy-strategies=destHost"))
    assert code == 1
    assert {"dial", "agents", "server-ready"} == failures(results)
    assert {each["what"].split(" (")[0] for each in results["dial"]} == {"10.0.0.7:10250: No agent available"}
    assert "destHost: 0 agents" in only(results, "route")["what"]


def test_a_dial_that_the_target_refuses(site):
    code, results = doctor(f"--frontend=unix:{site.socket}", "--dial=127.0.0.1:9")
    assert code == 1
    assert "connection refused" in only(results, "dial")["what"]
    assert "the target" in only(results, "dial")["do"]


# ---- the command itself ---------------------------------------------------------------------------------------------


def test_options_that_would_not_start(site):
    code, results = doctor(*agent(site, "--no-such-flag=1", "--ca-cert=/no/ca.crt"))
    assert code == 1
    assert {"options", "file"} <= failures(results)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "there is nothing to look at"),
        (["--frontend=unix:/x"], "there is nothing to look at"),
        (["--admin=127.0.0.1:1", "--dial=nonsense"], "port"),
        (["--admin=127.0.0.1:1", "--dial=ftp://x"], "only http:// and https://"),
        (["--admin=127.0.0.1:1", "--timeout=5"], "not a duration"),
        (["--frontend=127.0.0.1:1", "--dial=a:1"], "--ca-cert is needed"),
        (["--", "--v=2"], "write proxy-server or proxy-agent"),
        (["--", "proxy-agent", "--help"], "--help is among"),
    ],
)
def test_wrong_usage(arguments, text):
    command = [sys.executable, "-m", "konnectivity.tool.cli", "doctor", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 2
    assert text in done.stderr
    assert "Traceback" not in done.stderr


def test_an_admin_port_that_is_none(site):
    for address in (f"127.0.0.1:{free_port()}", f"127.0.0.1:{site.health_port}"):
        code, results = doctor(f"--admin={address}")
        assert code == 1
        assert failures(results) == {"admin"}
