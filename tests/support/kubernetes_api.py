"""Kubernetes API for tests and the demo: a real HTTPS server with token reviews, leases, watches; faults on demand.

Owns its listener and a thread for each connection, and ends them all. Its objects are in `kubernetes_objects`.
"""

from __future__ import annotations

import json
import re
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

from konnectivity.kube.labels import Selector, parse_selector
from konnectivity.tool.pki.authority import Authority
from support.kubernetes_objects import ApiFailure, Change, Json, Objects, Token, labels_of

REVIEWS = "tokenreviews"
POD, SERVICE = "pods.get", "services.get"
LIST, WATCH, GET = "leases.list", "leases.watch", "leases.get"
CREATE, UPDATE, DELETE = "leases.create", "leases.update", "leases.delete"
EVENT = "events.create"
KINDS = (EVENT, REVIEWS, POD, SERVICE, LIST, WATCH, GET, CREATE, UPDATE, DELETE)
_LEASES = re.compile(r"/apis/coordination\.k8s\.io/v1/namespaces/([^/]+)/leases(?:/([^/]+))?")
_PODS = re.compile(r"/api/v1/namespaces/([^/]+)/pods/([^/]+)")
_SERVICES = re.compile(r"/api/v1/namespaces/([^/]+)/services/([^/]+)")
_EVENTS = re.compile(r"/api/v1/namespaces/([^/]+)/events")
_VERBS = {"GET": GET, "POST": CREATE, "PUT": UPDATE, "DELETE": DELETE}
_REASONS = {401: "Unauthorized", 403: "Forbidden", 410: "Expired", 429: "TooManyRequests", 500: "InternalError"}
_IDLE_S = 30.0


@dataclass
class ApiFault:
    """Fault of the API's requests: an answer with `status`, one that takes `delay_s`, or half of one."""

    status: int = 0
    retry_after_s: int | None = None
    delay_s: float = 0.0
    half: bool = False
    body: bytes | None = None  # in the place of a Status
    times: int | None = None  # number of requests that fail; None: until the fault is cleared


class KubernetesApi:
    """Kubernetes API on loopback: `with KubernetesApi(tmp_path) as api`.

    Args:
        directory: folder for the CA of the API; kubeconfigs may be written there too.
        host: address to listen on.
    """

    def __init__(self, directory: Path, host: str = "127.0.0.1") -> None:
        self.directory = directory
        self.host = host
        self.port = 0
        self.objects = Objects()
        self.callers = {"caller-token": "system:konnectivity-server"}  # users by bearer token; others: by certificate
        self.events: list[Json] = []  # created, in order
        self.faults: dict[str, ApiFault] = {}
        self.requests: Counter[str] = Counter()
        self.seen_by: Counter[str] = Counter()  # requests of each caller
        self.bookmark_interval_s = 1.0
        self.authority = Authority.create("kubernetes throwaway CA")
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._server: _ApiServer | None = None

    def __enter__(self) -> Self:
        self.authority.write(self.directory)
        names, ips = ("localhost", "kubernetes"), ("127.0.0.1", "::1")
        files = self.authority.issue("kube-apiserver", dns=names, ips=ips, server=True).write(self.directory, "api")
        self._tls.load_cert_chain(*files)
        self._tls.load_verify_locations(cadata=self.authority.certificate_pem.decode())
        self._tls.verify_mode = ssl.CERT_OPTIONAL
        self.up()
        return self

    def __exit__(self, *_: object) -> None:
        self.down()

    @property
    def ca_file(self) -> Path:
        return self.directory / "ca.crt"

    @property
    def url(self) -> str:
        return f"https://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    def up(self) -> None:
        """Listen, on the port of the previous listener if there was one."""
        self._server = _ApiServer(self, self._tls)
        self.port = self._server.server_address[1]
        self._server.thread.start()

    def down(self) -> None:
        """Close the listener and every connection."""
        server, self._server = self._server, None
        if server is not None:
            server.stop()

    @property
    def running(self) -> bool:
        return self._server is not None

    def add_token(self, token: str, user: str, *audiences: str, error: str = "", uid: str = "") -> None:
        known = Token(user, error=error, uid=uid)
        self.objects.tokens[token] = known._replace(audiences=audiences) if audiences else known

    def add_pod(self, token: str, namespace: str, name: str, node: str, *addresses: str) -> None:
        """Add a running pod to which a known token is bound; the first address is its node's."""
        uid = f"uid-of-{name}"
        ips = [{"ip": address} for address in addresses]
        self.objects.pods[namespace, name] = {
            "kind": "Pod",
            "apiVersion": "v1",
            "metadata": {"name": name, "namespace": namespace, "uid": uid},
            "spec": {"nodeName": node, "containers": []},
            "status": {"phase": "Running", "hostIP": addresses[0], "hostIPs": ips[:1], "podIPs": ips[1:]},
        }
        extra = {"pod-name": [name], "pod-uid": [uid], "node-name": [node]}
        extra = {f"authentication.kubernetes.io/{key}": value for key, value in extra.items()}
        self.objects.tokens[token] = self.objects.tokens[token]._replace(extra=extra)

    def fail(self, kind: str, status: int = 0, **how: Any) -> None:
        """Let requests of a kind (`KINDS`) go wrong; the arguments of `Fault`."""
        self.faults[kind] = ApiFault(status, **how)

    def kubeconfig(self, path: Path, *, user: Json | None = None, cluster: Json | None = None, **top: Any) -> Path:
        """Write a kubeconfig (as JSON, which is YAML) and return its path. Without `user`: the caller's token."""
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": cluster or self.cluster()}],
            "users": [{"name": "test", "user": {"token": "caller-token"} if user is None else user}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
            "current-context": "test",
            **top,
        }
        path.write_text(json.dumps(content))
        return path

    def cluster(self, **more: Any) -> Json:
        """Return the `cluster` of a kubeconfig."""
        return {"server": self.url, "certificate-authority": str(self.ca_file), **more}

    def fault(self, kind: str) -> ApiFault | None:
        """Return the fault for the next request of a kind, and use it up."""
        fault = self.faults.get(kind)
        if fault is not None and fault.times is not None:
            fault.times -= 1
            if fault.times <= 0:
                del self.faults[kind]
        return fault


class _ApiServer(ThreadingHTTPServer):
    """Listener of the API with a thread for each connection, in which its TLS handshake happens too."""

    daemon_threads = False
    request_queue_size = 1024

    def __init__(self, api: KubernetesApi, tls: ssl.SSLContext) -> None:
        self.api = api
        self.tls = tls
        self.stopping = threading.Event()
        self.address_family = socket.AF_INET6 if ":" in api.host else socket.AF_INET
        self.connections: set[socket.socket] = set()
        super().__init__((api.host, api.port), _Handler)
        self.thread = threading.Thread(target=self.serve_forever, args=(0.02,), name="kubernetes api")

    def stop(self) -> None:
        self.stopping.set()
        self.shutdown()
        self.thread.join()
        for connection in list(self.connections):
            with suppress(OSError):
                socket.socket.shutdown(connection, socket.SHUT_RDWR)  # below TLS: another thread is using that
        with self.api.objects.changed:
            self.api.objects.changed.notify_all()
        self.server_close()

    def finish_request(self, request: Any, client_address: Any) -> None:
        request.settimeout(_IDLE_S)
        with self.tls.wrap_socket(request, server_side=True, do_handshake_on_connect=False) as connection:
            self.connections.add(connection)
            try:
                if not self.stopping.is_set():
                    connection.do_handshake()
                    super().finish_request(connection, client_address)
            except OSError:
                pass  # the client is gone, or does not trust us
            finally:
                self.connections.discard(connection)


class _Handler(BaseHTTPRequestHandler):
    """Handler of one connection's requests."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _ApiServer

    def log_message(self, format: str, *args: object) -> None:
        return

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def do_PUT(self) -> None:
        self._serve()

    def do_DELETE(self) -> None:
        self._serve()

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            kind, namespace, name, query = self._route()
            self.server.api.requests[kind] += 1
            fault = self.server.api.fault(kind)
            self._authenticate()
            if fault is not None:
                self.server.stopping.wait(fault.delay_s)
                if fault.status or fault.half:
                    self._fail(fault)
                    return
            if kind == WATCH:
                self._watch(namespace, query)
            else:
                self._answer(*self._do(kind, namespace, name, query, json.loads(body or b"{}")))
        except ApiFailure as failure:
            self._answer(failure.code, failure.status)

    def _route(self) -> tuple[str, str, str, dict[str, str]]:
        """Return kind, namespace, name and query of the request."""
        target = urlsplit(self.path)
        query = dict(parse_qsl(target.query))
        if target.path == "/apis/authentication.k8s.io/v1/tokenreviews" and self.command == "POST":
            return REVIEWS, "", "", query
        if (pod := _PODS.fullmatch(target.path)) and self.command == "GET":
            return POD, pod[1], pod[2], query
        if (service := _SERVICES.fullmatch(target.path)) and self.command == "GET":
            return SERVICE, service[1], service[2], query
        if (events := _EVENTS.fullmatch(target.path)) and self.command == "POST":
            return EVENT, events[1], "", query
        found = _LEASES.fullmatch(target.path)
        if found is None or (self.command == "POST") != (not found[2] and self.command != "GET"):
            raise ApiFailure(404, "NotFound", "the server could not find the requested resource")
        kind = _VERBS[self.command]
        if kind == GET and not found[2]:
            kind = WATCH if query.get("watch") in ("true", "1") else LIST
        return kind, found[1], found[2] or "", query

    def _authenticate(self) -> None:
        api = self.server.api
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        user = api.callers.get(token) if scheme == "Bearer" else None
        certificate = self.connection.getpeercert() if isinstance(self.connection, ssl.SSLSocket) else None
        if user is None and certificate:
            subject = dict(pair for group in certificate["subject"] for pair in group)  # type: ignore[misc]
            user = str(subject["commonName"])
        if user is None:
            raise ApiFailure(401, "Unauthorized", "Unauthorized")
        api.seen_by[user] += 1

    def _do(self, kind: str, namespace: str, name: str, query: dict[str, str], body: Json) -> tuple[int, Json]:
        objects = self.server.api.objects
        if kind == REVIEWS:
            return 201, objects.review(body)
        if kind == EVENT:
            self.server.api.events.append(body)
            return 201, body
        if kind == POD:
            return 200, objects.pod(namespace, name)
        if kind == SERVICE:
            return 200, objects.service(namespace, name)
        if kind == LIST:
            return 200, objects.list(namespace, parse_selector(query.get("labelSelector", "")))
        if kind == GET:
            return 200, objects.get(namespace, name)
        if kind == CREATE:
            return 201, objects.create(namespace, body)
        if kind == UPDATE:
            return 200, objects.update(namespace, name, body)
        return 200, objects.delete(namespace, name, body.get("preconditions") or {})

    def _fail(self, fault: ApiFault) -> None:
        reason = _REASONS.get(fault.status, "ServiceUnavailable")
        content = json.dumps(ApiFailure(fault.status, reason, f"a test wants {fault.status}").status).encode()
        content = content if fault.body is None else fault.body
        self.send_response(fault.status or 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        if fault.retry_after_s is not None:
            self.send_header("Retry-After", str(fault.retry_after_s))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2] if fault.half else content)
        self.close_connection = self.close_connection or fault.half

    def _answer(self, status: int, content: Json) -> None:
        text = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def _watch(self, namespace: str, query: dict[str, str]) -> None:
        selector = parse_selector(query.get("labelSelector", ""))
        version = int(query.get("resourceVersion") or 0)
        end = time.monotonic() + float(query.get("timeoutSeconds") or 1800)
        marks = query.get("allowWatchBookmarks") == "true"
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        try:
            if query.get("sendInitialEvents") == "true":
                version = self._initial_events(namespace, selector)
            for change in self._changes(namespace, version, end, marks):
                if change.kind == "BOOKMARK" or selector.matches(labels_of(change.lease)):
                    self._line({"type": change.kind, "object": change.lease})
        except ApiFailure as failure:
            self._line({"type": "ERROR", "object": failure.status})
        self.wfile.write(b"0\r\n\r\n")

    def _initial_events(self, namespace: str, selector: Selector) -> int:
        """Send all leases and the bookmark after them, as a watch in place of a list gets; return their version."""
        found = self.server.api.objects.list(namespace, selector)
        for lease in found["items"]:
            self._line({"type": "ADDED", "object": lease})
        version = int(found["metadata"]["resourceVersion"])
        mark = _bookmark(version)
        mark["metadata"]["annotations"] = {"k8s.io/initial-events-end": "true"}
        self._line({"type": "BOOKMARK", "object": mark})
        return version

    def _changes(self, namespace: str, version: int, end: float, marks: bool) -> Iterator[Change]:
        """Yield changes after a version as they happen, until the time is over; yield bookmarks during pauses."""
        api = self.server.api
        while (left := end - time.monotonic()) > 0 and not self.server.stopping.is_set():
            version, news = api.objects.changes(namespace, version, min(api.bookmark_interval_s, left))
            yield from news
            if marks and not news:
                yield Change(version, "BOOKMARK", namespace, _bookmark(version))

    def _line(self, content: Json) -> None:
        line = json.dumps(content).encode() + b"\n"
        self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
        self.wfile.flush()


def _bookmark(version: int) -> Json:
    """Return the object of a bookmark: a lease with nothing but its version."""
    metadata = {"resourceVersion": str(version)}
    return {"kind": "Lease", "apiVersion": "coordination.k8s.io/v1", "metadata": metadata, "spec": {}}
