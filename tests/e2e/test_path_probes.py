"""Tests of probes of paths on real programs: each injected fault is named, in time, and forgotten when it is mended."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from http.client import HTTPConnection
from typing import Any, NamedTuple

import pytest

from konnectivity.runtime import launcher
from konnectivity.testing.deployment import Deployment
from support.faulty_targets import FaultyTarget, accepts, dns, http, silent, speaks_tls

INTERVAL_S = 3.0
MARGIN_S = 2.0  # of a busy machine
DNS_QUESTION = "dns:kubernetes.default.svc"
BROKEN = {  # reason and layer, by class of probe
    "refused": ("refused", "tcp"),
    "dropped": ("no_answer", "tcp"),
    "silent": ("silent", "target"),
    "plaintext": ("tls", "tls"),
    "expired": ("certificate", "tls"),
    "forbidden": ("authorisation", "authorisation"),
    "error": ("http", "http"),
    "servfail": ("dns", "dns"),
}
ALWAYS_BROKEN = {"unroutable": ("no_route", "route"), "denied": ("policy", "policy"), "nameless": ("dns", "dns")}


class Observed(NamedTuple):
    """What the server reported of one path, and after which time."""

    seconds: float
    path: dict[str, Any]


class Site:
    """Server with a class of probes for each fault, one agent, and the targets."""

    def __init__(self, directory: Any, stack: ExitStack) -> None:
        self.deployment = Deployment(directory)
        stack.callback(self.deployment.stop)
        issue = self.deployment.authority.issue
        issue("kubelet", dns=("localhost",), server=True).write(directory, "kubelet")
        issue("old-kubelet", dns=("localhost",), server=True, valid_for=timedelta(hours=-3)).write(directory, "old")
        self.valid = speaks_tls(self.deployment.path("kubelet.crt"), self.deployment.path("kubelet.key"))
        self.expired = speaks_tls(self.deployment.path("old.crt"), self.deployment.path("old.key"))
        whole = {
            "refused": ("tcp", accepts),
            "dropped": ("tcp", accepts),
            "silent": ("http:/", http(200)),
            "plaintext": ("tls", self.valid),
            "expired": ("tls", self.valid),
            "forbidden": ("http:/pods", http(200)),
            "error": ("http:/healthz", http(204)),
            "servfail": (DNS_QUESTION, dns(0)),
        }
        self.answers = {name: answer for name, (_, answer) in whole.items()}
        self.targets = {name: stack.enter_context(FaultyTarget(answer)) for name, (_, answer) in whole.items()}
        probes = [f"--probe={name}={{ipv4}}:{self.targets[name].port},{kind}" for name, (kind, _) in whole.items()]
        probes += [
            "--probe=unroutable=127.255.255.255:1",
            "--probe=denied=127.0.0.66:1",
            "--probe=nameless=no.invalid:1",
        ]
        self.server = self.deployment.start_server(*probes, f"--probe-interval={INTERVAL_S}s", "--ready-when=path")
        self.start_agent()
        self.watched = directory / "watch"
        command = [*launcher.command("konnectivity"), "doctor", "--watch", "-o", "json"]
        with self.watched.open("wb") as lines:
            self.watch = subprocess.Popen(
                [*command, f"--admin=127.0.0.1:{self.deployment.admin_port}"], stdin=subprocess.DEVNULL, stdout=lines
            )
        stack.callback(self.watch.wait)
        stack.callback(self.watch.kill)

    def said(self, *, within_s: float = 5.0, **fields: str) -> bool:
        """Return whether the doctor, who watches, has printed a finding with these fields, in time."""
        end = time.monotonic() + within_s
        while time.monotonic() < end:
            found = [json.loads(line) for line in self.watched.read_text().splitlines() if line.endswith("}")]
            if any(all(wanted in each[name] for name, wanted in fields.items()) for each in found):
                return True
            time.sleep(0.1)
        return False

    def start_agent(self) -> None:
        self.agent = self.deployment.start_agent(
            "--agent-id=node-1", "--agent-identifiers=ipv4=127.0.0.1", "--deny-destination=127.0.0.66"
        )

    def get(self, path: str, port: int = 0) -> tuple[int, str]:
        connection = HTTPConnection("127.0.0.1", port or self.deployment.admin_port, timeout=10)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def paths(self) -> dict[str, Any]:
        rows = json.loads(self.get("/api/v1/paths")[1])["paths"]
        return rows[0]["paths"] if rows else {}

    def condition(self) -> dict[str, Any]:
        (found,) = json.loads(self.get("/api/v1/conditions")[1])["conditions"]
        return dict(found)

    def until(self, names: set[str], state: str, within_s: float) -> dict[str, Observed]:
        """Return each path once it is in a state, or as it was when the time was over."""
        began = time.monotonic()
        found: dict[str, Observed] = {}
        while names - found.keys():
            seconds = time.monotonic() - began
            for name, path in self.paths().items():
                if name in names and name not in found and (path["state"] == state or seconds > within_s):
                    found[name] = Observed(seconds, path)
            time.sleep(0.05)
        return found


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with ExitStack() as stack:
        yield Site(tmp_path_factory.mktemp("probes"), stack)


@pytest.fixture(scope="module")
def healthy(site: Site) -> dict[str, Observed]:
    """Paths before a fault is injected."""
    return site.until(set(BROKEN), "passing", 2 * INTERVAL_S)


@pytest.fixture(scope="module")
def faults(site: Site, healthy: dict[str, Observed]) -> dict[str, Observed]:
    """Paths after every fault was injected at one moment."""
    targets = site.targets
    targets["refused"].close()
    targets["dropped"].drop()
    targets["silent"].answer = silent
    targets["plaintext"].answer = http(400)
    targets["expired"].answer = site.expired
    targets["forbidden"].answer = http(403)
    targets["error"].answer = http(500)
    targets["servfail"].answer = dns(2)
    return site.until(set(BROKEN) | set(ALWAYS_BROKEN), "failing", INTERVAL_S + MARGIN_S)


@pytest.fixture(scope="module")
def mended(site: Site, faults: dict[str, Observed]) -> dict[str, Observed]:
    """Paths after all that was broken is whole again."""
    site.targets["dropped"].close()
    for name in ("refused", "dropped"):
        site.targets[name].open()
    for name, answer in site.answers.items():
        site.targets[name].answer = answer
    return site.until(set(BROKEN), "passing", 4 * INTERVAL_S + MARGIN_S)


@pytest.mark.parametrize("name", BROKEN)
def test_a_path_without_a_fault_passes(healthy: dict[str, Observed], name: str) -> None:
    path = healthy[name].path
    assert (path["state"], path["reason"]) == ("passing", None)
    assert path["seconds"]["dial"] > 0


@pytest.mark.parametrize("name", BROKEN | ALWAYS_BROKEN)
def test_a_fault_is_named_in_time(faults: dict[str, Observed], name: str) -> None:
    path = faults[name].path
    reason, layer = (BROKEN | ALWAYS_BROKEN)[name]
    assert (path["state"], path["reason"], path["layer"]) == ("failing", reason, layer), path["text"]


@pytest.mark.parametrize("name", BROKEN | ALWAYS_BROKEN)
def test_the_doctor_who_watches_names_the_layer(site: Site, faults: dict[str, Observed], name: str) -> None:
    layer = (BROKEN | ALWAYS_BROKEN)[name][1]
    assert site.said(status="failed", layer=layer, where=f"node-1 {name}")


@pytest.mark.parametrize("name", BROKEN)
def test_a_path_that_is_mended_passes_again(site: Site, mended: dict[str, Observed], name: str) -> None:
    assert mended[name].path["state"] == "passing"
    assert site.said(status="ok", where=f"node-1 {name}")


def test_a_fault_of_a_certificate_says_whose_it_is(faults: dict[str, Observed]) -> None:
    path = faults["expired"].path
    assert "CN=old-kubelet" in path["text"]
    assert "expired 3 hours ago" in path["text"]
    assert path["certificate"]["subject"] == "CN=old-kubelet"
    assert path["certificate"]["issuer"] == "CN=konnectivity throwaway CA"
    assert path["certificate"]["expires_in"] < 0


def test_dials_of_probes_are_not_those_of_clients(site: Site, mended: dict[str, Observed]) -> None:
    metrics = site.get("/metrics")[1]
    assert "server_dial_failure_count{" not in metrics
    assert "server_connection_close_total{" not in metrics
    assert 'server_path_probes_total{probe="refused",result="refused"}' in metrics
    assert json.loads(site.get("/api/v1/overview")[1])["totals"]["dials"] == 0


def test_a_frozen_agent_and_a_server_without_agents_are_named(site: Site, mended: dict[str, Observed]) -> None:
    site.agent.send(signal.SIGSTOP)
    frozen = site.until({"refused"}, "failing", INTERVAL_S + 3 + MARGIN_S)["refused"].path
    assert site.said(within_s=10, status="failed", layer="agent", where="node-1 refused")
    site.agent.send(signal.SIGCONT)
    assert (frozen["reason"], frozen["layer"]) == ("agent_frozen", "agent")
    assert site.until({"refused"}, "passing", 4 * INTERVAL_S + MARGIN_S)["refused"].path["state"] == "passing"
    site.agent.stop()
    end = time.monotonic() + INTERVAL_S
    while (found := site.condition())["reason"] != "NoAgents":
        assert time.monotonic() < end, found
        time.sleep(0.05)
    assert (found["status"], found["message"]) == ("False", "no agent is connected")
    assert site.said(status="failed", layer="server", what="has no agents")
    assert site.get("/readyz", site.deployment.health_port)[0] == 500
    site.watch.send_signal(signal.SIGINT)
    assert site.watch.wait(10) == 1
