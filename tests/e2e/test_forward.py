"""Tests of `konnectivity forward` with unmodified programs: curl, git, kubectl and Prometheus reach services."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from urllib.parse import quote
from urllib.request import ProxyHandler, build_opener

import dns.message
import dns.query
import pytest
import yaml

from konnectivity.testing.deployment import free_port
from support.command_runs import curl, run
from support.forward_process import ForwardProcess
from support.kubernetes_api import KubernetesApi
from support.tcp_name_server import name_server
from support.web_target import web_target

WAYS = [("unix", "http-connect"), ("tcp", "http-connect"), ("unix", "grpc"), ("tcp", "grpc")]
DIRECT = build_opener(ProxyHandler({}))


@pytest.fixture(scope="module", params=WAYS, ids=["-".join(way) for way in WAYS])
def any_forward(deployment, request):
    frontend, mode = request.param
    return ForwardProcess(deployment, frontend=frontend, mode=mode)


@pytest.fixture(scope="module")
def forward(deployment):
    return ForwardProcess(deployment)


def test_curl_in_every_way(deployment, any_forward, plain, secure, site):
    large = (site / "large").read_bytes()
    port = plain.server_port
    assert curl(f"http://localhost:{port}/large", http_proxy=any_forward.http) == large
    assert curl(f"http://localhost:{port}/x", "--data-binary", f"@{site}/large", http_proxy=any_forward.http) == (
        b"3000000 bytes"
    )
    assert curl("--socks5-hostname", any_forward.address, f"http://localhost:{port}/large") == large
    trust = ("--cacert", deployment.path("ca.crt"))
    page = f"https://localhost:{secure.server_port}/page"
    assert curl(*trust, page, HTTPS_PROXY=any_forward.http) == b"hello"
    assert curl(*trust, page, ALL_PROXY=f"socks5h://{any_forward.address}") == b"hello"


def test_requests_of_one_client_share_a_connection_to_the_destination(forward, plain):
    before = plain.connections
    urls = [f"http://{plain.address}/page"] * 5
    assert curl(*urls, http_proxy=forward.http) == b"hello" * 5
    assert plain.connections == before + 1


def test_a_failed_dial_says_why(forward):
    answer = curl("-i", "http://127.0.0.1:1/", http_proxy=forward.http)
    assert answer.startswith(b"HTTP/1.1 502 Bad Gateway\r\n")
    assert answer.endswith(b"dial tcp 127.0.0.1:1: connect: connection refused\n")
    answer = curl("-i", "http://169.254.169.254/", http_proxy=forward.http)
    assert answer.startswith(b"HTTP/1.1 403 Forbidden\r\n")
    curl("-p", "http://127.0.0.1:1/", http_proxy=forward.http, status=56)
    curl("--socks5-hostname", forward.address, "http://127.0.0.1:1/", status=97)


def test_users_and_passwords(deployment, plain, tmp_path):
    users = tmp_path / "users"
    users.write_text("# for operators\nann:se:cret\n")
    guarded = ForwardProcess(deployment, f"--credentials-file={users}")
    page = f"http://{plain.address}/page"
    for scheme in ("http", "socks5h"):
        assert curl(page, ALL_PROXY=f"{scheme}://ann:se%3Acret@{guarded.address}") == b"hello"
    assert b"407 Proxy Authentication Required" in curl("-i", page, http_proxy=guarded.http)
    assert b"407 " in curl("-i", page, http_proxy=f"http://ann:wrong@{guarded.address}")
    curl(page, ALL_PROXY=f"socks5h://{guarded.address}", status=97)
    curl(page, ALL_PROXY=f"socks5h://ann:wrong@{guarded.address}", status=97)
    users.write_text("bob:other\n")
    end = time.monotonic() + 10
    while curl(page, http_proxy=f"http://bob:other@{guarded.address}") != b"hello" and time.monotonic() < end:
        time.sleep(0.2)
    assert b"407 " in curl("-i", page, http_proxy=f"http://ann:se%3Acret@{guarded.address}")
    guarded.process.stop()


def test_the_next_server_is_asked_when_one_fails(deployment, plain, tmp_path):
    servers = f"--server=unix:{tmp_path}/none.sock,unix:{deployment.socket}"
    several = ForwardProcess(deployment, servers, own_server=False)
    ready = f"http://127.0.0.1:{several.health_port}/readyz"
    for _ in range(3):
        assert curl(f"http://{plain.address}/page", http_proxy=several.http) == b"hello"
    assert several.process.log.count("Proxy server failed, asking the next one") == 1
    assert DIRECT.open(ready).read() == b"ok"
    metrics = DIRECT.open(f"http://127.0.0.1:{several.health_port}/metrics").read().decode()
    assert 'forward_dials_total{protocol="http",result="ok"} 3' in metrics
    assert f'forward_server_failures_total{{server="unix:{tmp_path}/none.sock"}} 1' in metrics
    several.process.stop()


def test_names_by_the_clusters_dns_through_the_tunnel(deployment, plain):
    """A name that only the cluster's DNS knows is reached, and a program that resolves names itself is answered."""
    with name_server({("web.test.", "A"): ["127.0.0.1"]}) as cluster_dns:
        port = free_port()
        names = ForwardProcess(
            deployment, "--resolve=test=cluster-dns", f"--cluster-dns={cluster_dns}", f"--dns-port={port}"
        )
        for scheme in ("http", "socks5h"):
            page = curl(f"http://web.test:{plain.server_port}/page", ALL_PROXY=f"{scheme}://{names.address}")
            assert page == b"hello"
        failed = curl("-i", f"http://other.test:{plain.server_port}/", http_proxy=names.http)
        assert failed.endswith(b"lookup other.test by cluster-dns: no such host\n")
        query = dns.message.make_query("web.test", "A")
        assert dns.query.udp(query, "127.0.0.1", port=port, timeout=10).answer[0][0].address == "127.0.0.1"
        names.process.stop()


def test_an_end_of_data_is_passed_on(forward, deployment, tmp_path):
    """A client that ends its data still gets the answer, and a signalled proxy waits for that client."""
    git = shutil.which("git")
    if git is None:
        pytest.skip("git is missing")
    with web_target(_repository(git, tmp_path)) as target:
        url = f"http://{target.address}/.git"
        for proxy in (forward.http, f"socks5h://{forward.address}"):
            found = run(git, "-c", f"http.proxy={proxy}", "ls-remote", url, GIT_TERMINAL_PROMPT="0")
            assert b"refs/heads/main" in found


def _repository(git, directory):
    os.environ.setdefault("HOME", str(directory))
    made = directory / "repository"
    run(git, "init", "-q", "-b", "main", str(made))
    name = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    run(git, "-C", str(made), *name, "commit", "-q", "--allow-empty", "-m", "first")
    run(git, "-C", str(made), "update-server-info")
    return made


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is missing")
def test_a_go_program_by_variable_and_kubectl_by_proxy_url(deployment, forward, secure, tmp_path):
    """kubectl is a Go program: it takes HTTPS_PROXY, and proxy-url of a kubeconfig. Go dials localhost directly."""
    port = secure.server_port

    def page(host, proxy_url="", **environment):
        cluster = {"server": f"https://{host}:{port}", "certificate-authority": deployment.path("ca.crt")}
        cluster |= {"tls-server-name": "localhost"}
        cluster |= {"proxy-url": proxy_url} if proxy_url else {}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "a", "cluster": cluster}],
            "users": [{"name": "a", "user": {"token": "a"}}],
            "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
            "current-context": "a",
        }
        (tmp_path / "config").write_text(yaml.safe_dump(config))
        return run("kubectl", "get", "--raw", "/page", KUBECONFIG=str(tmp_path / "config"), **environment)

    connected = f'"Connected" destination="{{}}:{port}" protocol="{{}}"'
    for proxy in (forward.http, f"socks5://{forward.address}"):
        assert page("localhost", proxy) == b"hello"
        assert page("0.0.0.0", HTTPS_PROXY=proxy) == b"hello"
    for protocol in ("connect", "socks5"):
        for host in ("localhost", "0.0.0.0"):
            assert connected.format(host, protocol) in forward.process.log


@pytest.mark.skipif(shutil.which("prometheus") is None, reason="prometheus is missing")
def test_prometheus_scrapes_100_targets_by_proxy_url(deployment, forward, plain, secure, tmp_path):
    port = free_port()
    labels = [{"__metrics_path__": f"/metrics/{number}", "number": str(number)} for number in range(50)]
    jobs = [("http", plain, {}), ("https", secure, {"tls_config": {"ca_file": deployment.path("ca.crt")}})]
    scrapes = [
        {
            "job_name": scheme,
            "scheme": scheme,
            "proxy_url": forward.http,
            "static_configs": [{"targets": [target.address], "labels": each} for each in labels],
            **more,
        }
        for scheme, target, more in jobs
    ]
    times = {"scrape_interval": "5s", "scrape_timeout": "5s"}
    (tmp_path / "p.yaml").write_text(yaml.safe_dump({"global": times, "scrape_configs": scrapes}))
    arguments = [f"--config.file={tmp_path}/p.yaml", f"--storage.tsdb.path={tmp_path}/d", "--log.level=error"]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            ["prometheus", *arguments, f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log
        )
    try:
        scraped = wait_for_scrapes(port, "min(count_over_time(up[1m])) >= 2 and count(up) == 100")
        assert scraped, (tmp_path / "log").read_text()
        with DIRECT.open(f"http://127.0.0.1:{port}/api/v1/targets") as answer:
            targets = json.load(answer)["data"]["activeTargets"]
        assert {each["lastError"] for each in targets} == {""}
        assert query(port, "count(min_over_time(up[1m]) == 1)") == 100
        assert query(port, "count(web_target_up == 1)") == 100
    finally:
        process.terminate()
        process.wait(10)


def query(port, text):
    """Return the first value of a query, or None."""
    try:
        with DIRECT.open(f"http://127.0.0.1:{port}/api/v1/query?query={quote(text)}", timeout=5) as answer:
            found = json.load(answer)["data"]["result"]
    except OSError:
        return None
    return float(found[0]["value"][1]) if found else None


def wait_for_scrapes(port, text, timeout_s=30.0):
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        if query(port, text) is not None:
            return True
        time.sleep(0.3)
    return False


def test_an_idle_proxy_is_small(deployment):
    """At most 15 MiB are its own, also with a health port that nobody has asked; the text of libraries is shared."""
    arguments = [f"--server=unix:{deployment.socket}"]
    started = [
        deployment.start_package("forward", [*arguments, f"--port={free_port()}", *filter(None, [more])])
        for more in ("", f"--health-port={free_port()}")
    ]
    for process in started:
        process.wait_for("Forward proxy started")
        rollup = Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines()
        private = sum(int(line.split()[1]) for line in rollup if line.startswith(("Private_Dirty:", "Swap:")))
        process.stop()
        assert private <= 15 * 1024


@pytest.mark.parametrize("program", ["konnectivity-socks5-proxy", "konnectivity-https-proxy"])
def test_hypershifts_proxies_by_name_and_flags(deployment, plain, program, tmp_path):
    """Services are found by the API of $KUBECONFIG, and other names by this machine or by the cluster's DNS."""
    with KubernetesApi(tmp_path) as api:
        api.objects.services["default", "web"] = {"spec": {"clusterIP": "127.0.0.1", "clusterIPs": ["127.0.0.1"]}}
        port, kubeconfig = free_port(), api.kubeconfig(tmp_path / "kubeconfig")
        arguments = ["--konnectivity-hostname", "localhost", "--konnectivity-port", str(deployment.server_port)]
        arguments += ["--serving-port", str(port), "--connect-directly-to-cloud-apis", "--prefer-ipv4"]
        for flag, name in (("ca-cert-path", "ca.crt"), ("tls-cert-path", "client.crt"), ("tls-key-path", "client.key")):
            arguments += [f"--{flag}", deployment.path(name)]
        process = deployment.start_package(program, arguments, within=["env", f"KUBECONFIG={kubeconfig}"])
        process.wait_for("Forward proxy started")
        for scheme in ("http", "socks5h"):
            page = curl(f"http://web.default.svc:{plain.server_port}/page", ALL_PROXY=f"{scheme}://127.0.0.1:{port}")
            assert page == b"hello"
        process.stop()
