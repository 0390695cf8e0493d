"""Requests to the Kubernetes API: credentials, certificate files that change, refusals.

Owns the pool of connections. Knows neither rates nor deadlines, nor what is asked.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from contextlib import suppress
from http import HTTPStatus
from urllib.parse import urlencode, urlsplit

from konnectivity import __version__
from konnectivity.kube import api_answers, credentials
from konnectivity.kube.api_access import Access
from konnectivity.kube.api_error import KubeError
from konnectivity.kube.api_route import ApiRoute
from konnectivity.kube.http_connection import Header
from konnectivity.kube.http_pool import HttpAnswer, HttpPool
from konnectivity.runtime import logs
from konnectivity.untrusted.numbers import parse_decimal

log = logs.get(__name__)

USER_AGENT = f"konnectivity-python/{__version__}"
CHECK_INTERVAL_S = 5.0
MAX_REFUSAL = 1024 * 1024

_Signature = tuple[tuple[int, int, int], ...]


class Transport:
    """Pool of connections, replaced when the files it was made from change.

    Args:
        access: the API and how to log in.
        check_interval_s: seconds between two looks at the files.

    Raises:
        KubeError: a certificate, a key, a CA bundle or the proxy's URL cannot be used.

    """

    def __init__(self, access: Access, check_interval_s: float = CHECK_INTERVAL_S) -> None:
        self._access = access
        self._check_interval_s = check_interval_s
        self._credentials = credentials.of(access)
        self._files = [part.path for part in (access.ca, access.certificate, access.key) if part and part.path]
        self._signature = self._look()
        self._route = ApiRoute(access)
        self._pool = HttpPool(self._route.connect)
        self._base_path = urlsplit(access.server).path.rstrip("/")
        self._check_due = 0.0

    async def send(
        self, method: str, path: str, query: Mapping[str, str] | None = None, body: bytes = b""
    ) -> HttpAnswer:
        """Send a request and return the answer if it is a success.

        Args:
            method: HTTP method.
            path: behind that of the server's URL.
            query: parameters.
            body: a JSON document.

        Raises:
            KubeError: there is no credential, or the API refuses.
            OSError: the connection broke, or there is none.
            h11.ProtocolError: the answer is no HTTP.

        """
        target = f"{self._base_path}/{path}" + (f"?{urlencode(query)}" if query else "")
        answer, authorization = await self._send(method, target, body)
        if answer.head.status == HTTPStatus.UNAUTHORIZED and self._credentials.rejected(authorization):
            answer.close()
            answer, _ = await self._send(method, target, body)
        if not 200 <= answer.head.status < 300:
            raise await self._refusal(answer)
        return answer

    async def close(self) -> None:
        """Close all connections."""
        await self._pool.close()

    async def _send(self, method: str, target: str, body: bytes) -> tuple[HttpAnswer, str]:
        authorization = await self._credentials.header()
        self._reload()
        headers: list[Header] = [
            ("Host", self._route.authority),
            ("User-Agent", USER_AGENT),
            ("Accept", "application/json"),
        ]
        if authorization:
            headers.append(("Authorization", authorization))
        if body:
            headers += [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
        return await self._pool.send(method, target, headers, body), authorization

    async def _refusal(self, answer: HttpAnswer) -> KubeError:
        head = answer.head
        said = api_answers.refusal(await answer.read(MAX_REFUSAL), head.status, head.reason)
        text = f"{self._access.server}: {said.code} {said.reason}" + (f": {said.message}" if said.message else "")
        wait = parse_decimal(head.headers.get("retry-after", ""), most=10**9)
        return KubeError(text, said.code, said.reason, float(wait or 0))

    def _reload(self) -> None:
        now = asyncio.get_running_loop().time()
        if not self._files or now < self._check_due:
            return
        self._check_due = now + self._check_interval_s
        signature = self._look()
        if signature == self._signature:
            return
        self._signature = signature
        try:
            route = ApiRoute(self._access)
        except KubeError as error:
            log.warning("Changed files for the Kubernetes API cannot be used, keeping the old ones", reason=str(error))
            return
        self._pool.retire()
        self._route, self._pool = route, HttpPool(route.connect)
        log.info("Changed files for the Kubernetes API are in use", source=self._access.source)

    def _look(self) -> _Signature:
        found = []
        for path in self._files:
            with suppress(OSError):
                status = os.stat(path)
                found.append((status.st_ino, status.st_mtime_ns, status.st_size))
        return tuple(found)
