"""Requests to the Kubernetes API: credentials, kubeconfigs and certificate files that change, refusals.

Owns the pool of connections. Knows neither rates nor deadlines, nor what is asked.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from http import HTTPStatus
from urllib.parse import urlencode, urlsplit

from konnectivity import __version__
from konnectivity.kube import api_answers, credentials
from konnectivity.kube.api_access import Access
from konnectivity.kube.api_error import KubeError
from konnectivity.kube.api_route import ApiRoute
from konnectivity.kube.http_connection import Header
from konnectivity.kube.http_pool import HttpAnswer, HttpPool
from konnectivity.kube.kubeconfig_files import current_access
from konnectivity.runtime import logs
from konnectivity.untrusted.numbers import parse_decimal

log = logs.get(__name__)

USER_AGENT = f"konnectivity-python/{__version__}"
CHECK_INTERVAL_S = 5.0
MAX_REFUSAL = 1024 * 1024

_Stamps = dict[str, tuple[int, int, int] | None]  # by path


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
        self._stamps = _stamps_of(access)
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
        self._reload()
        authorization = await self._credentials.header()
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
        if not self._stamps or now < self._check_due:
            return
        self._check_due = now + self._check_interval_s
        stamps = {path: _stamp_of(path) for path in self._stamps}
        if stamps == self._stamps:
            return
        self._stamps = stamps
        try:
            access = _read_again(self._access)
            self._stamps = _stamps_of(access) | stamps
            route = ApiRoute(access)
        except KubeError as error:
            log.warning("Changed files for the Kubernetes API cannot be used, keeping the old ones", reason=str(error))
            return
        self._pool.retire()
        self._route, self._pool = route, HttpPool(route.connect)
        if access != self._access:
            self._access, self._credentials = access, credentials.of(access)
        log.info("Changed files for the Kubernetes API are in use", source=access.source)


def _read_again(access: Access) -> Access:
    """Return what the kubeconfigs of an access say now.

    Raises:
        KubeError: they cannot be used, or they name another API, whose answers the caller did not ask for.

    """
    if not access.kubeconfigs:
        return access
    found = current_access(access.kubeconfigs)
    if found.server != access.server:
        why = f"kubeconfig {found.source} names another API, {found.server}"
        raise KubeError(f"{why}; restart this program to leave {access.server}")
    return found


def _stamps_of(access: Access) -> _Stamps:
    """Return the stamps of the files whose content is read once for all requests."""
    parts = (access.ca, access.certificate, access.key)
    return {path: _stamp_of(path) for path in (*access.kubeconfigs, *(part.path for part in parts if part)) if path}


def _stamp_of(path: str) -> tuple[int, int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size
