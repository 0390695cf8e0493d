"""Client of the Kubernetes API: token reviews, pods, Leases and a watch on them.

Limits the rate of its requests, and gives each a deadline. Every failure is a `KubeError`. Owns its connections.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from http import HTTPStatus
from typing import Any, Self, TypeVar
from urllib.parse import quote

import h11

from konnectivity.kube import api_answers
from konnectivity.kube.api_access import Access
from konnectivity.kube.api_answers import ApiStatus, Event, PodPlace, Review
from konnectivity.kube.api_error import KubeError
from konnectivity.kube.api_transport import CHECK_INTERVAL_S, Transport
from konnectivity.kube.http_pool import HttpAnswer
from konnectivity.kube.labels import format_labels
from konnectivity.kube.lease_objects import StoredLease
from konnectivity.net.error_texts import words_of
from konnectivity.net.token_bucket import TokenBucket

DEFAULT_QPS = 5.0
DEFAULT_BURST = 10
TIMEOUT_S = 10.0
MAX_PAUSE_S = 60.0  # longest Retry-After that is obeyed
MAX_BODY = 16 * 1024 * 1024  # bytes of an answer: a list of more than 10,000 Leases
MAX_LINE = 4 * 1024 * 1024  # bytes of a line of a watch; the API stores no object that large
_NO_LIMIT = 1_000_000_000
_REVIEWS = "apis/authentication.k8s.io/v1/tokenreviews"

T = TypeVar("T")


class KubeClient:
    """Client of one Kubernetes API. `close` ends it.

    Args:
        access: address and credentials.
        qps: requests per second; 0: 5; less than 0: no limit.
        burst: requests at once; 0: 10.
        timeout_s: for each request, with the wait for its turn.
        check_interval_s: seconds between two looks at files that may change.

    Raises:
        KubeError: a file that `access` names cannot be used.

    """

    def __init__(
        self,
        access: Access,
        qps: float = 0.0,
        burst: int = 0,
        timeout_s: float = TIMEOUT_S,
        check_interval_s: float = CHECK_INTERVAL_S,
    ) -> None:
        self.server = access.server
        self._timeout_s = timeout_s
        unlimited = qps < 0
        rate, size = (_NO_LIMIT, _NO_LIMIT) if unlimited else (qps or DEFAULT_QPS, max(burst or DEFAULT_BURST, 1))
        self._bucket = TokenBucket(rate, size, _now)
        self._turn = asyncio.Lock()
        self._transport = Transport(access, check_interval_s)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections."""
        await self._transport.close()

    async def review_token(self, token: str, audience: str, on_turn: Callable[[], object] = lambda: None) -> Review:
        """Return the API's verdict on a token and an audience; `on_turn` is called when the request is sent."""
        spec = {"token": token, "audiences": [audience]}
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": spec}
        return await self._ask(api_answers.review, "POST", _REVIEWS, body=body, on_turn=on_turn)

    async def get_pod(self, namespace: str, name: str) -> PodPlace | None:
        """Return the node and the addresses of a pod; None if there is no pod of that name."""
        try:
            path = f"api/v1/namespaces/{_part(namespace)}/pods/{_part(name)}"
            return await self._ask(api_answers.pod_place, "GET", path)
        except KubeError as error:
            if error.code == HTTPStatus.NOT_FOUND:
                return None
            raise

    async def get_service_addresses(self, namespace: str, name: str) -> tuple[str, ...] | None:
        """Return the cluster addresses of a Service; None if there is no Service of that name."""
        try:
            path = f"api/v1/namespaces/{_part(namespace)}/services/{_part(name)}"
            return await self._ask(api_answers.service_addresses, "GET", path)
        except KubeError as error:
            if error.code == HTTPStatus.NOT_FOUND:
                return None
            raise

    async def list_leases(
        self, namespace: str, labels: Mapping[str, str] | None = None
    ) -> tuple[list[StoredLease], str]:
        """Return the Leases of a namespace, all or those with these labels, and the version to watch from."""
        query = {"labelSelector": format_labels(labels)} if labels else None
        return await self._ask(api_answers.lease_list, "GET", _leases(namespace), query=query)

    async def get_lease(self, namespace: str, name: str) -> StoredLease:
        """Return a Lease. KubeError with code 404: there is none of that name."""
        return await self._ask(api_answers.lease, "GET", _leases(namespace, name))

    async def create_lease(self, namespace: str, lease: StoredLease) -> StoredLease:
        """Create a Lease and return it as it is stored. KubeError with code 409: it exists."""
        return await self._ask(api_answers.lease, "POST", _leases(namespace), body=lease.content)

    async def replace_lease(self, namespace: str, lease: StoredLease) -> StoredLease:
        """Replace a Lease and return it as it is stored. KubeError with code 409: it has changed since; 404: gone."""
        return await self._ask(api_answers.lease, "PUT", _leases(namespace, lease.lease.name), body=lease.content)

    async def delete_lease(self, namespace: str, name: str, version: str) -> None:
        """Delete a Lease if it still has this version. KubeError with code 409: it has another one; 404: it is gone."""
        body = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"resourceVersion": version}}
        await self._ask(bytes, "DELETE", _leases(namespace, name), body=body)

    async def create_event(self, namespace: str, event: Mapping[str, Any]) -> None:
        """Create an Event. KubeError with code 403: the account may not do so."""
        await self._ask(bytes, "POST", f"api/v1/namespaces/{_part(namespace)}/events", body=event)

    @asynccontextmanager
    async def watch_leases(self, namespace: str, version: str, seconds: float) -> AsyncGenerator[AsyncIterator[Event]]:
        """Iterate over changes since a version as they happen; the API ends the watch after `seconds`.

        The block is entered once the API has answered. KubeError with code 410, then or while iterating: the version is
        too old.
        """
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": str(max(1, round(seconds))),
        }
        path = _leases(namespace)
        answer = await self._call(lambda: self._transport.send("GET", path, query))
        try:
            yield self._events(answer, seconds + self._timeout_s)
        finally:
            answer.close()

    async def _events(self, answer: HttpAnswer, longest_s: float) -> AsyncIterator[Event]:
        end = _now() + longest_s
        rest = b""
        with self._failures():
            while True:
                try:
                    async with asyncio.timeout_at(end):
                        data = await answer.receive()
                except TimeoutError as error:
                    raise KubeError(
                        f"{self.server}: a watch without an end after {longest_s:g} s", reason="Timeout"
                    ) from error
                if not data:
                    return
                *lines, rest = (rest + data).split(b"\n")
                for line in filter(None, lines):
                    yield _event(line)
                if len(rest) > MAX_LINE:
                    raise ValueError(f"an event of a watch is larger than {MAX_LINE} bytes")

    async def _ask(
        self,
        read: Callable[[bytes], T],
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        on_turn: Callable[[], object] = lambda: None,
    ) -> T:
        """Return what `read` makes of the body of the answer to one request."""
        content = json.dumps(body).encode() if body is not None else b""

        async def request() -> T:
            on_turn()
            answer = await self._transport.send(method, path, query, content)
            return read(await answer.read(MAX_BODY))

        return await self._call(request)

    async def _call(self, request: Callable[[], Awaitable[T]]) -> T:
        sent = False
        with self._failures():
            try:
                async with asyncio.timeout(self._timeout_s):
                    await self._wait_for_turn()
                    sent = True
                    return await request()
            except TimeoutError as error:
                if sent:
                    raise KubeError(f"{self.server}: no answer in {self._timeout_s:g} s", reason="Timeout") from error
                cause = "too many requests for --kubeconfig-qps, or the API asked for a pause"
                raise KubeError(
                    f"{self.server}: no turn in {self._timeout_s:g} s: {cause}", reason="Throttled"
                ) from error

    async def _wait_for_turn(self) -> None:
        async with self._turn:  # first come, first served; a caller that gives up takes no token
            while delay := self._bucket.delay():
                await asyncio.sleep(delay)
            self._bucket.take()

    @contextmanager
    def _failures(self) -> Iterator[None]:
        """Raise everything that can go wrong with a request as a `KubeError`."""
        try:
            yield
        except KubeError as error:
            self._bucket.close(min(error.retry_after_s, MAX_PAUSE_S))
            raise
        except (OSError, h11.ProtocolError) as error:
            raise KubeError(f"{self.server}: {_reason(error)}", reason="Unreachable") from error
        except ValueError as error:
            raise KubeError(f"{self.server}: the answer cannot be read: {error}", reason="Unintelligible") from error


def _now() -> float:
    return asyncio.get_running_loop().time()


def _reason(error: BaseException) -> str:
    """Return the reason of a failed request, in words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS: {words_of(error)}"
    return words_of(error)


def _event(line: bytes) -> Event:
    found = api_answers.event(line)
    if isinstance(found, ApiStatus):
        raise KubeError(f"watch: {found.reason}: {found.message}", found.code, found.reason)
    return found


def _leases(namespace: str, name: str = "") -> str:
    path = f"apis/coordination.k8s.io/v1/namespaces/{_part(namespace)}/leases"
    return f"{path}/{_part(name)}" if name else path


def _part(name: str) -> str:
    """Return a name as one part of a path."""
    return quote(name, safe="")
