"""Rules of kube-apiserver for a configuration, and settings that it accepts but that do not work. Pure.

An ERROR keeps kube-apiserver from starting; with a WARNING it starts, and the tunnel does not work.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import urlsplit

from konnectivity.tool.egress.egress_document import Problem, Value, read
from konnectivity.tool.egress.egress_writer import API_VERSION, DIRECT, GRPC, HTTP_CONNECT, KIND, NAMES
from konnectivity.tool.findings import ERROR, NOTE, WARNING, Finding
from konnectivity.untrusted.numbers import parse_decimal

OLD_VERSION = "apiserver.k8s.io/v1alpha1"
OLD_NAME = "master"  # old name of controlplane
LONGEST_SOCKET = 107
_PROTOCOLS = (DIRECT, HTTP_CONNECT, GRPC)
# Host and port that Go's net/url accepts.
_HOST = re.compile(r"\[[0-9A-Fa-f:.]+(%25[^\]%\s]+)?\](:[0-9]*)?|[^\s:\[\]%#/?\\^|`{}\x00-\x1f]*(:[0-9]*)?")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")

Exists = Callable[[str], bool]


def check(path: str, content: bytes, exists: Exists) -> list[Finding]:
    """Return all findings on a file, in the order of its lines.

    Args:
        path: of the file, for the findings.
        content: of the file.
        exists: returns whether a path exists on kube-apiserver's machine.

    """
    found, problems = read(content)
    rules = _Rules(path, exists)
    rules.problems(problems)
    if found is not None:
        rules.root(found)
    return sorted(rules.findings, key=lambda each: _line(each.where))


def place(path: str, line: int) -> str:
    return f"{path}:{line}" if line else path


def _line(where: str) -> int:
    number = where.rpartition(":")[2]
    return parse_decimal(number, most=10**9) or 0


class _Rules:
    def __init__(self, path: str, exists: Exists) -> None:
        self.findings: list[Finding] = []
        self._path = path
        self._exists = exists

    def problems(self, problems: list[Problem]) -> None:
        for each in problems:
            self._add(ERROR, each.line, each.text, each.do)

    def root(self, root: Value) -> None:
        kind, version = root.string("kind"), root.string("apiVersion")
        if kind != KIND:
            self._add(ERROR, root.line_of("kind"), f"kind is {kind!r}", f"write kind: {KIND}")
        if version == OLD_VERSION:
            text = f"apiVersion {version} is old, and may be dropped"
            self._add(NOTE, root.line_of("apiVersion"), text, f"write apiVersion: {API_VERSION}")
        elif version != API_VERSION:
            text = f"apiVersion is {version!r}" if version else "there is no apiVersion"
            self._add(ERROR, root.line_of("apiVersion"), text, f"write apiVersion: {API_VERSION}")
        selections = root.get("egressSelections")
        items = selections.items if selections is not None else []
        self._names(root.line_of("egressSelections"), items)
        for item in items:
            self._connection(item or Value(root.line_of("egressSelections")))

    def _names(self, line: int, items: list[Value | None]) -> None:
        seen: set[str] = set()
        for item in items:
            name = item.string("name") if item is not None else ""
            at = item.line_of("name") if item is not None else line
            if name == OLD_NAME:
                self._add(NOTE, at, f"{OLD_NAME} is the old name of controlplane", "write name: controlplane")
                name = "controlplane"
            canonical = name.lower()
            if canonical in seen:
                self._add(ERROR, at, f"there are two selections for {canonical}", "remove one of them")
            elif canonical not in NAMES:
                text = f"there is no traffic called {name!r}" if name else "the selection has no name"
                self._add(ERROR, at, text, f"write one of {', '.join(NAMES)}")
            seen.add(canonical)
        if "cluster" not in seen:
            text = "without a selection called cluster nothing goes to the nodes through the tunnel"
            self._add(WARNING, line, text, "add one: `konnectivity egress-config`")

    def _connection(self, item: Value) -> None:
        protocol = item.string("connection", "proxyProtocol")
        transport = item.get("connection", "transport")
        line = item.line_of("connection", "proxyProtocol")
        if protocol not in _PROTOCOLS:
            meant = next((each for each in _PROTOCOLS if each.lower() == protocol.lower().replace("-", "")), "")
            text = f"proxyProtocol is {protocol!r}" if protocol else "there is no proxyProtocol"
            self._add(ERROR, line, text, f"write {meant or 'one of ' + ', '.join(_PROTOCOLS)}")
        elif protocol == DIRECT:
            if transport is not None:
                self._add(ERROR, transport.line, "Direct has a transport", "remove it, or choose another proxyProtocol")
            elif item.string("name").lower() == "cluster":
                self._add(
                    WARNING,
                    line,
                    "cluster is Direct: nothing goes through the tunnel",
                    "see `konnectivity egress-config --help`",
                )
        elif transport is None:
            self._add(ERROR, line, f"{protocol} has no transport", "add transport.uds.udsName, the server's --uds-name")
        elif protocol == GRPC:
            self._grpc(transport)
        else:
            self._http_connect(transport)

    def _grpc(self, transport: Value) -> None:
        uds, tcp = transport.get("uds"), transport.get("tcp")
        if uds is None:
            text = "GRPC goes over a unix socket only, and there is no uds"
            self._add(ERROR, transport.line, text, "add uds.udsName, or take HTTPConnect for TCP")
            return
        if tcp is not None:
            self._add(WARNING, tcp.line, "tcp beside uds has no effect with GRPC", "remove tcp")
        self._uds(uds)

    def _http_connect(self, transport: Value) -> None:
        uds, tcp = transport.get("uds"), transport.get("tcp")
        if uds is not None and tcp is not None:
            self._add(ERROR, tcp.line, "there are both uds and tcp", "remove one of them")
        elif tcp is not None:
            self._tcp(tcp)
        elif uds is not None:
            self._uds(uds)
        else:
            self._add(ERROR, transport.line, "there is neither uds nor tcp", "add one of them")

    def _uds(self, uds: Value) -> None:
        name, line = uds.string("udsName"), uds.line_of("udsName")
        if not name:
            self._add(ERROR, line, "there is no udsName", "write the path of the server's --uds-name")
        elif name.startswith("unix:"):
            self._add(
                WARNING, line, f"udsName {name} is taken as a path", f"write {name.removeprefix('unix:') or '/...'}"
            )
        elif not name.startswith("/"):
            text = f"udsName {name!r} is looked for in kube-apiserver's working directory"
            self._add(WARNING, line, text, "write an absolute path")
        elif len(name.encode()) > LONGEST_SOCKET:
            text = f"udsName has {len(name.encode())} bytes, and a socket's path has up to {LONGEST_SOCKET}"
            self._add(WARNING, line, text, "take a shorter path")

    def _tcp(self, tcp: Value) -> None:
        url, line, tls = tcp.string("url"), tcp.line_of("url"), tcp.get("tlsConfig")
        if url.startswith("http://"):
            if tls is not None:
                self._add(ERROR, tls.line, "tlsConfig beside http://", "write https://")
            else:
                self._add(ERROR, line, "kube-apiserver crashes on http://", "write https://, and a tlsConfig")
            return
        if not url.startswith("https://"):
            self._add(ERROR, line, f"url is {url!r}", "write https://HOST:PORT, in small letters")
            return
        self._address(url, line)
        self._tls(tcp, tls)

    def _address(self, url: str, line: int) -> None:
        rest = url.removeprefix("https://")
        authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
        host = authority.rpartition("@")[2]
        path, _, fragment = rest[len(authority) :].partition("#")
        escaped = path.partition("?")[0] + fragment
        if not _HOST.fullmatch(host) or _BAD_ESCAPE.search(escaped) or re.search(r"[\x00-\x1f\x7f]", url):
            self._add(ERROR, line, f"url {url!r} is not a URL for Go", "write https://HOST:PORT")
            return
        try:
            parts = urlsplit(url)
            port, name = parts.port, parts.hostname
        except ValueError:
            port, name = None, ""
        if not port or not name:
            text = f"url {url} has no host and port that can be dialled"
            self._add(WARNING, line, text, "write https://HOST:PORT, with the server's --server-port")

    def _tls(self, tcp: Value, tls: Value | None) -> None:
        if tls is None:
            self._add(ERROR, tcp.line_of("url"), "https:// needs a tlsConfig", "add caBundle, clientCert and clientKey")
            return
        if not tls.string("caBundle"):
            text = "without caBundle the server's certificate has to come from a CA of the system"
            self._add(NOTE, tls.line, text, "name the CA of --server-cert")
        for name in ("caBundle", "clientCert", "clientKey"):
            path, line = tls.string(name), tls.line_of(name)
            if not path and name != "caBundle":
                self._add(
                    ERROR, line, f"there is no {name}", "write the path of a PEM file: `konnectivity pki` makes it"
                )
            elif path and not self._exists(path):
                self._add(ERROR, line, f"{name}: there is no file {path}", "put it there, where kube-apiserver sees it")

    def _add(self, result: str, line: int, text: str, do: str) -> None:
        self.findings.append(Finding(place(self._path, line), result, text, do))
