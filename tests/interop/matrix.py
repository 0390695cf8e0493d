"""Writer of docs/reference/compatibility.md and scenarios.md from the outcomes of this folder and of tests/node.

    make compatibility

A pytest plugin, loaded by `-p matrix`, that writes the page if every test that ran has passed.
"""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE.parent.parent / "docs" / "reference" / "compatibility.md"
CLIENTS = {
    "grpc-uds": "egress selector, GRPC over unix socket",
    "connect-uds": "egress selector, HTTPConnect over unix socket",
    "connect-tls": "egress selector, HTTPConnect over TCP with mutual TLS",
    "client-library": "konnectivity-client",
    "reusable-tunnel": "konnectivity-client v0.37.0, one connection for all dials",
    "grpc-uds-2024": "the first of 2024",
    "connect-uds-2024": "the second of 2024",
    "client-library-2024": "konnectivity-client of 2024",
}
PAIRS = {
    "ours": "server and agent of this project, with the extension",
    "established-wire": "server and agent of this project, with the reference protocol",
    "agent-on-grpcio": "agent of this project on grpcio",
    "agent-in-go": "an agent in Go, on grpc-go (tests/interop/peer)",
}
FRONTENDS = {"grpc": "gRPC", "connect-uds": "HTTPConnect", "connect-tls": "HTTPConnect with TLS"}
WITH_REFERENCE = re.compile(
    rf"server (?P<server>[^-]+)-agent (?P<agent>[^-]+)-(?P<frontend>{'|'.join(FRONTENDS)})(?:-(?P<what>.+))?\]"
)
SUPPORTED_UNTIL = {"1.35": "February 2027", "1.36": "June 2027", "1.37": "October 2027"}  # 14 months after the release
MODULES = (
    "k8s.io/apiserver",
    "k8s.io/client-go",
    "k8s.io/cri-streaming",
    "sigs.k8s.io/apiserver-network-proxy/konnectivity-client",
    "google.golang.org/grpc",
    "k8s.io/kubernetes",
    "go.etcd.io/etcd/server/v3",
    "sigs.k8s.io/metrics-server",
)


class Matrix:
    """Collector of the outcomes of all tests in a run."""

    def __init__(self) -> None:
        self.passed: Counter[tuple[str, str]] = Counter()
        self.reference: Counter[tuple[str, str]] = Counter()  # keyed by client and by "server X-agent Y"
        self.done: dict[str, dict[str, list[str]]] = {}  # frontends, keyed by what was done and by the pair
        self.metrics: dict[str, list[str]] = {}  # type and versions of the reference, keyed by the metric's name
        self.other: Counter[str] = Counter()
        self.nodes: dict[str, dict[str, str]] = {}  # cell of each transport, keyed by the check on real nodes
        self.failed = 0

    def pytest_runtest_logreport(self, report) -> None:
        if report.failed:
            self.failed += 1
        if report.when != "call" or not report.passed:
            return
        test, _, parameters = report.nodeid.partition("[")  # "::" may be in the parameters, too
        name = test.rpartition("::")[2]
        if "tests/node/" in report.nodeid:
            check = " by ".join(each for each in (plain(name), parameters.rstrip("]")) if each)
            self.nodes[check] = {value: "yes" for key, value in report.user_properties if key == "transport"}
            self.nodes[check] |= dict(value for key, value in report.user_properties if key == "figures")
            return
        client = next((each for each in sorted(CLIENTS, key=len, reverse=True) if each in parameters), None)
        self.metrics |= dict(value for key, value in report.user_properties if key == "metric")
        if "/test_reference_" in report.nodeid:
            self._record_done(name, parameters)
            return
        with_reference = re.match(r"server [^-]+-agent [^-]+", parameters)
        if client and with_reference:
            self.reference[client, with_reference[0]] += 1
            return
        pair = next((each for each in PAIRS if re.search(rf"(^|-){each}(-|\])", parameters)), None)
        if client and pair:
            self.passed[client, pair] += 1
        else:
            self.other[name] += 1

    def _record_done(self, name: str, parameters: str) -> None:
        """Record a test by its subject, with its pair and frontend if its parameters name them."""
        found = WITH_REFERENCE.match(parameters)
        if found is None:
            self.other[name] += 1
            return
        pairs = self.done.setdefault(plain(found["what"] or name), {})
        pairs.setdefault(f"server {found['server']}, agent {found['agent']}", []).append(FRONTENDS[found["frontend"]])

    def pytest_sessionfinish(self, session, exitstatus) -> None:
        if not self.failed and exitstatus == 0 and self.passed:
            PAGE.write_text(self.page())
            text = (HERE / "scenarios.md").read_text()
            PAGE.with_name("scenarios.md").write_text(text.format(scenarios=scenarios()))

    def page(self) -> str:
        cells = {text: [str(self.passed[client, pair]) for pair in PAIRS] for client, text in CLIENTS.items()}
        pairs = dict.fromkeys(pair for _, pair in self.reference)
        reference = {
            pair.replace("-", ", "): [str(self.reference[client, pair] or "-") for client in CLIENTS] for pair in pairs
        }
        columns = list(dict.fromkeys(pair for pairs in self.done.values() for pair in pairs))
        done = {
            what: [", ".join(dict.fromkeys(pairs.get(pair, ["no"]))) for pair in columns]
            for what, pairs in self.done.items()
        }
        besides = {plain(name): [str(count)] for name, count in self.other.items()}
        transports = [name for name in CLIENTS if any(name in done for done in self.nodes.values())]
        nodes = {name: [done.get(each, "-") for each in transports] for name, done in self.nodes.items()}
        return (
            (HERE / "compatibility.md")
            .read_text()
            .format(
                matrix=table(("client", *PAIRS.values()), cells),
                reference=table(("pair", *CLIENTS.values()), reference),
                done=table(("what was done", *columns), done),
                metrics=table(("metric", "type", "versions of the reference"), dict(sorted(self.metrics.items()))),
                besides=table(("other tests, with pairs of their own", "tests"), besides),
                kamaji=kamaji(),
                kubernetes=table(
                    ("release", "supported until", "version of the last run", "date", "passed", "failed"), releases()
                ),
                nodes=table(("what was done", *(CLIENTS[each] for each in transports)), nodes),
                versions=table(("part", "version"), versions()),
            )
        )


def scenarios() -> str:
    """Return the table of the integration tests of the reference, each with the tests here that show the same."""
    listed = tomllib.loads((HERE / "integration_scenarios.toml").read_text())
    rows = {
        name.partition(": ")[2]: [what, "<br>".join(f"`{each.removeprefix('tests/')}`" for each in tests)]
        for group in ("tests", "e2e")
        for name, (what, *tests) in listed[group].items()
    }
    return table(("test of the reference", "what it shows", "tests here, below `tests/`"), rows)


def plain(name: str) -> str:
    """Return a test's name as words."""
    return name.removeprefix("test_").replace("_", " ")


def table(head: tuple[str, ...], rows: dict[str, list[str]]) -> str:
    lines = [head, ("---",) * len(head), *((name, *cells) for name, cells in rows.items())]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def kamaji() -> str:
    """Return the outcome of each check of the last run with real Kamaji."""
    run = tomllib.loads((HERE.parent / "kamaji" / "last_run.toml").read_text())
    counts = [run["date"], str(run["passed"]), str(run["failed"])]
    head = table(("Kamaji's commit", "date", "passed", "failed"), {run["commit"]: counts})
    return f"{head}\n\n{table(('check', 'outcome'), {name: [each] for name, each in run['checks'].items()})}"


def releases() -> dict[str, list[str]]:
    """Return the end of support and the last run on real nodes, keyed by the release of Kubernetes."""
    runs = tomllib.loads((HERE.parent / "node" / "last_runs.toml").read_text())
    return {
        release: [SUPPORTED_UNTIL[release], *(str(run[key]) for key in ("version", "date", "passed", "failed"))]
        for release, run in runs.items()
    }


def versions() -> dict[str, list[str]]:
    cluster = HERE.parent / "cluster"
    files = (*(cluster / name / "go.mod" for name in ("metrics-server", "node", "kube")), HERE / "go.mod")
    old = dict(re.findall(r"^\s+(\S+) (v\S+)$", (HERE / "go-2024.mod").read_text(), re.MULTILINE))
    found = {
        name: each for file in files for name, each in re.findall(r"^\s+(\S+) (v\S+)$", file.read_text(), re.MULTILINE)
    }
    return {name: [" and ".join(dict.fromkeys((found[name], old.get(name, found[name]))))] for name in MODULES} | {
        "grpcio": [version("grpcio")]
    }


def pytest_configure(config) -> None:
    config.pluginmanager.register(Matrix(), "compatibility-matrix")
