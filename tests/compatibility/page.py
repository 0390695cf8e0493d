"""Writer of docs/reference/compatibility.md and scenarios.md."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from importlib.metadata import version
from pathlib import Path

from compatibility.outcomes import FOLDERS, TESTS, Outcome, Outcomes
from support.checkout import DOCS

HERE = Path(__file__).parent
PAGE = DOCS / "reference" / "compatibility.md"
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


class CompatibilityPage:
    """Page made from the outcomes of tests that have passed."""

    def __init__(self) -> None:
        self.passed: Counter[tuple[str, str]] = Counter()
        self.reference: Counter[tuple[str, str]] = Counter()  # keyed by client and by "server X-agent Y"
        self.done: dict[str, dict[str, list[str]]] = {}  # frontends, keyed by what was done and by the pair
        self.metrics: dict[str, list[str]] = {}  # type and versions of the reference, keyed by the metric's name
        self.other: Counter[str] = Counter()
        self.nodes: dict[str, dict[str, str]] = {}  # cell of each transport, keyed by the check on real nodes

    def add(self, passed: Outcome) -> None:
        """Add a test that has passed to its table."""
        test, _, parameters = passed.test.partition("[")  # "::" may be in the parameters, too
        if test.startswith("tests/node/"):
            check = " by ".join(each for each in (plain(test), parameters.rstrip("]")) if each)
            self.nodes[check] = {value: "yes" for key, value in passed.properties if key == "transport"}
            self.nodes[check] |= dict(value for key, value in passed.properties if key == "figures")
        elif "/test_reference_" in test:
            self.metrics |= dict(value for key, value in passed.properties if key == "metric")
            self._add_done(test, parameters)
        else:
            self._add_cell(test, parameters)

    def _add_cell(self, test: str, parameters: str) -> None:
        """Add a test to the cell of its client and pair, if its parameters name them."""
        client = next((each for each in sorted(CLIENTS, key=len, reverse=True) if each in parameters), None)
        with_reference = re.match(r"server [^-]+-agent [^-]+", parameters)
        pair = next((each for each in PAIRS if re.search(rf"(^|-){each}(-|\])", parameters)), None)
        if client and with_reference:
            self.reference[client, with_reference[0]] += 1
        elif client and pair:
            self.passed[client, pair] += 1
        else:
            self.other[subject(test)] += 1

    def _add_done(self, test: str, parameters: str) -> None:
        """Add a test by its subject, with its pair and frontend if its parameters name them."""
        found = WITH_REFERENCE.match(parameters)
        if found is None:
            self.other[subject(test)] += 1
            return
        pairs = self.done.setdefault(found["what"] or plain(test), {})
        pairs.setdefault(f"server {found['server']}, agent {found['agent']}", []).append(FRONTENDS[found["frontend"]])

    def text(self) -> str:
        """Return the page."""
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
        besides = {name: [str(count)] for name, count in self.other.items()}
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
                    ("release", "supported until", "last run: version", "cgroups", "date", "passed", "failed"),
                    releases(),
                ),
                nodes=table(("what was done", *(CLIENTS[each] for each in transports)), nodes),
                versions=table(("part", "version"), versions()),
            )
        )


def write(outcomes: Outcomes) -> None:
    """Write both pages if each file of both folders has outcomes and all tests have passed."""
    found = [outcomes.of(folder) for folder in FOLDERS]
    if not all(found) or any(each.outcome != "passed" for each in outcomes):
        return
    page = CompatibilityPage()
    for each in outcomes:
        page.add(each)
    PAGE.write_text(page.text())
    text = (HERE / "scenarios.md").read_text()
    PAGE.with_name("scenarios.md").write_text(text.format(scenarios=scenarios()))


def scenarios() -> str:
    """Return the table of the integration tests of the reference, each with the tests here that show the same."""
    listed = tomllib.loads((TESTS / "interop" / "integration_scenarios.toml").read_text())
    rows = {
        name.partition(": ")[2]: [what, "<br>".join(f"`{each.removeprefix('tests/')}`" for each in tests)]
        for group in ("tests", "e2e")
        for name, (what, *tests) in listed[group].items()
    }
    return table(("test of the reference", "what it shows", "tests here, below `tests/`"), rows)


def plain(test: str) -> str:
    """Return the name of a test as words."""
    return test.rpartition("::")[2].removeprefix("test_").replace("_", " ")


def subject(test: str) -> str:
    """Return the names of a test and of its file as words."""
    return f"{plain(Path(test.partition('::')[0]).stem)}: {plain(test)}"


def table(head: tuple[str, ...], rows: dict[str, list[str]]) -> str:
    lines = [head, ("---",) * len(head), *((name, *cells) for name, cells in rows.items())]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def kamaji() -> str:
    """Return the outcome of each check of the last run with real Kamaji."""
    run = tomllib.loads((TESTS / "kamaji" / "last_run.toml").read_text())
    counts = [run["date"], str(run["passed"]), str(run["failed"])]
    head = table(("Kamaji's commit", "date", "passed", "failed"), {run["commit"]: counts})
    return f"{head}\n\n{table(('check', 'outcome'), {name: [each] for name, each in run['checks'].items()})}"


def releases() -> dict[str, list[str]]:
    """Return the end of support and the last run on real nodes, keyed by the release of Kubernetes."""
    runs = tomllib.loads((TESTS / "node" / "last_runs.toml").read_text())
    facts = ("version", "cgroups", "date", "passed", "failed")
    return {
        release: [until, *(str(runs.get(release, {}).get(fact, "not run")) for fact in facts)]
        for release, until in SUPPORTED_UNTIL.items()
    }


def versions() -> dict[str, list[str]]:
    """Return the version of each part, and the one of 2024 if the tests have it, too."""
    cluster, interop = TESTS / "cluster", TESTS / "interop"
    # The metrics server is a tool of its build, which Go's module files mark like a module of another module.
    found = _modules(cluster / "metrics-server" / "go.mod", " // indirect")
    for folder in (cluster / "node", cluster / "kube", interop):
        found |= _modules(folder / "go.mod")
    old = _modules(interop / "go-2024.mod")
    return {name: [" and ".join(dict.fromkeys((found[name], old.get(name, found[name]))))] for name in MODULES} | {
        "grpcio": [version("grpcio")]
    }


def _modules(file: Path, mark: str = "") -> dict[str, str]:
    """Return the versions in a Go module file, by module, of the lines that end in `mark`."""
    return dict(re.findall(rf"^\s+(\S+) (v\S+){mark}$", file.read_text(), re.MULTILINE))
