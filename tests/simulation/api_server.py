"""Kubernetes API of a simulation, as far as leases need it: plain HTTP, with objects that a fault can make stale."""

from __future__ import annotations

import asyncio
import copy
import json
import re
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from konnectivity.kube.labels import parse_selector
from support.kubernetes_objects import ApiFailure, Objects, labels_of

PORT = 6443
WATCH_POLL_S = 0.2
_LEASES = re.compile(r"/apis/coordination\.k8s\.io/v1/namespaces/([^/]+)/leases(?:/([^/]+))?")


class SimulatedApi:
    """Leases, and the program that serves them.

    Attributes:
        objects: what is stored; it outlives the program, as etcd does.
        slow_s: time that each answer takes.
        stale: whether reads show what was stored when the fault began.

    """

    def __init__(self) -> None:
        self.objects = Objects()
        self.slow_s = 0.0
        self._seen: Objects | None = None

    def make_stale(self) -> None:
        """Answer reads from a copy of the present objects."""
        self._seen = Objects(leases=copy.deepcopy(self.objects.leases), version=self.objects.version)

    def recover(self) -> None:
        """Be fast and fresh again."""
        self._seen, self.slow_s = None, 0.0

    async def main(self) -> None:
        """Serve until the program ends."""
        await asyncio.start_server(self._serve, "0.0.0.0", PORT)
        await asyncio.Event().wait()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                length = re.search(r"(?i)content-length: (\d+)", head)
                body = await reader.readexactly(int(length[1])) if length else b""
                method, target, _ = head.split("\r\n")[0].split(" ")
                await asyncio.sleep(self.slow_s)
                await self._answer(method, target, body, writer)
        except (asyncio.IncompleteReadError, OSError):
            writer.close()

    async def _answer(self, method: str, target: str, body: bytes, writer: asyncio.StreamWriter) -> None:
        url = urlsplit(target)
        query, found = dict(parse_qsl(url.query)), _LEASES.fullmatch(url.path)
        try:
            if found is None:
                raise ApiFailure(404, "NotFound", "the server could not find the requested resource")
            namespace, name = found[1], found[2] or ""
            if method == "GET" and query.get("watch") in ("true", "1"):
                await self._watch(namespace, query, writer)
                return
            status, content = self._do(method, namespace, name, query, json.loads(body or b"{}"))
        except ApiFailure as failure:
            status, content = failure.code, failure.status
        text = json.dumps(content).encode()
        writer.write(
            b"HTTP/1.1 %d OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % (status, len(text))
            + text
        )
        await writer.drain()

    def _do(self, method: str, namespace: str, name: str, query: dict[str, str], body: Any) -> tuple[int, Any]:
        seen = self._seen or self.objects
        if method == "GET":
            if name:
                return 200, seen.get(namespace, name)
            return 200, seen.list(namespace, parse_selector(query.get("labelSelector", "")))
        if method == "POST":
            return 201, self.objects.create(namespace, body)
        if method == "PUT":
            return 200, self.objects.update(namespace, name, body)
        return 200, self.objects.delete(namespace, name, body.get("preconditions") or {})

    async def _watch(self, namespace: str, query: dict[str, str], writer: asyncio.StreamWriter) -> None:
        selector = parse_selector(query.get("labelSelector", ""))
        version = int(query.get("resourceVersion") or 0)
        loop = asyncio.get_running_loop()
        end = loop.time() + float(query.get("timeoutSeconds") or 1800)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
        try:
            while loop.time() < end and not writer.is_closing():
                seen = self._seen or self.objects
                version, news = seen.changes(namespace, version, 0) if version <= seen.version else (version, ())
                for change in news:
                    if selector.matches(labels_of(change.lease)):
                        line = json.dumps({"type": change.kind, "object": change.lease}).encode() + b"\n"
                        writer.write(b"%x\r\n%s\r\n" % (len(line), line))
                await writer.drain()
                await asyncio.sleep(WATCH_POLL_S)
        except ApiFailure as failure:
            line = json.dumps({"type": "ERROR", "object": failure.status}).encode() + b"\n"
            writer.write(b"%x\r\n%s\r\n" % (len(line), line))
        writer.write(b"0\r\n\r\n")
        await writer.drain()
