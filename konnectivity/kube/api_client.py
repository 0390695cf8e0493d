"""The client: token reviews, leases, and a watch on them, with a limited rate and a deadline for each request.

On lightkube; what that lacks (deletion with a precondition, a watch that ends) is a plain request on its transport.
Every failure is a `KubeError`. Owns its connections.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from http import HTTPStatus
from time import monotonic
from typing import NamedTuple, Self, TypeVar

import httpx2
import msgspec
from lightkube import AsyncClient
from lightkube.config.kubeconfig import SingleConfig
from lightkube.config.models import Cluster, Context, User
from lightkube.core.exceptions import NotReadyError
from lightkube.models.authentication_v1 import TokenReviewSpec, TokenReviewStatus
from lightkube.models.meta_v1 import Status
from lightkube.resources.authentication_v1 import TokenReview
from lightkube.resources.coordination_v1 import Lease as LeaseObject

from konnectivity.kube.api_error import KubeError
from konnectivity.kube.api_transport import Transport
from konnectivity.kube.kubeconfig import Access
from konnectivity.kube.lease_objects import lease_of, version_of
from konnectivity.kube.lease_validity import Lease
from konnectivity.net.error_texts import words_of
from konnectivity.net.token_bucket import TokenBucket

DEFAULT_QPS = 5.0
DEFAULT_BURST = 10
TIMEOUT_S = 10.0
MAX_PAUSE_S = 60.0  # the longest Retry-After that is believed
MAX_LINE = 4 * 1024 * 1024  # of a watch; the API stores no object that large
_NO_LIMIT = 1_000_000_000

T = TypeVar("T")


class Review(NamedTuple):
    """What the API says about a token."""

    authenticated: bool
    user: str
    audiences: tuple[str, ...]  # of those asked for, the ones the token is for; none from an API that knows none
    error: str
    extra: Mapping[str, tuple[str, ...]]  # what else is known of the user
    uid: str = ""  # of the user; a service account's is drawn at random


class PodPlace(NamedTuple):
    """Where a pod is."""

    uid: str
    node: str
    addresses: tuple[str, ...]  # its own, and its node's


class Event(NamedTuple):
    """One line of a watch: `kind` is ADDED, MODIFIED, DELETED or BOOKMARK."""

    kind: str
    lease: Lease
    version: str


class KubeClient:
    """The API that an `Access` leads to.

    Args:
        access: where it is and how to log in.
        qps, burst: requests a second, and at once; 0: 5 and 10; less than 0: no limit.
        timeout_s: for each request, and the wait for its turn.

    Raises:
        KubeError: a file that `access` names cannot be used.

    """

    def __init__(self, access: Access, qps: float = 0.0, burst: int = 0, timeout_s: float = TIMEOUT_S) -> None:
        self.server = access.server
        self._timeout_s = timeout_s
        unlimited = qps < 0
        rate, size = (_NO_LIMIT, _NO_LIMIT) if unlimited else (qps or DEFAULT_QPS, max(burst or DEFAULT_BURST, 1))
        self._bucket = TokenBucket(rate, size)
        self._turn = asyncio.Lock()
        self._transport = Transport(access)
        timeout = httpx2.Timeout(timeout_s)
        self._plain = httpx2.AsyncClient(base_url=access.server, transport=self._transport, timeout=timeout)
        # All of TLS and login is the transport's; `insecure` only keeps lightkube from loading CAs that nobody uses.
        config = SingleConfig("-", Context(cluster="-"), Cluster(server=access.server, insecure=True), User())
        self._api = AsyncClient(config, timeout=timeout, trust_env=False, transport=self._transport)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections."""
        await self._plain.aclose()
        await self._api.close()

    async def review_token(self, token: str, audience: str, on_turn: Callable[[], object] = lambda: None) -> Review:
        """Ask whose token it is, and whether it is for an audience. `on_turn` is called when the request goes out."""
        review = TokenReview(spec=TokenReviewSpec(token=token, audiences=[audience]))

        def create() -> Awaitable[TokenReview]:
            on_turn()
            return self._api.create(review)

        answer = await self._call(create)
        status = answer.status or TokenReviewStatus()
        return Review(
            bool(status.authenticated),
            (status.user and status.user.username) or "",
            tuple(status.audiences or ()),
            status.error or "",
            {str(key): tuple(map(str, values)) for key, values in ((status.user and status.user.extra) or {}).items()},
            (status.user and status.user.uid) or "",
        )

    async def get_pod(self, namespace: str, name: str) -> PodPlace | None:
        """Where a pod is; None if there is none of that name."""

        async def get() -> PodPlace:
            response = await self._plain.get(f"api/v1/namespaces/{namespace}/pods/{name}")
            pod = msgspec.json.decode(response.content, type=_Pod)
            status = pod.status
            ips = (status.hostIP, status.podIP, *(each.ip for each in (*status.hostIPs, *status.podIPs)))
            return PodPlace(pod.metadata.uid, pod.spec.nodeName, tuple(dict.fromkeys(filter(None, ips))))

        try:
            return await self._call(get)
        except KubeError as error:
            if error.code == HTTPStatus.NOT_FOUND:
                return None
            raise

    async def list_leases(
        self, namespace: str, labels: Mapping[str, str] | None = None
    ) -> tuple[list[LeaseObject], str]:
        """The leases of a namespace, all or those with these labels, and the version to watch from."""

        async def collect() -> tuple[list[LeaseObject], str]:
            found = self._api.list(LeaseObject, namespace=namespace, labels=dict(labels) if labels else None)
            leases = [lease async for lease in found]
            try:
                return leases, found.resourceVersion
            except NotReadyError as error:  # lightkube's word for a list that has none
                raise ValueError("a list without a resourceVersion") from error

        return await self._call(collect)

    async def get_lease(self, namespace: str, name: str) -> LeaseObject:
        return await self._call(lambda: self._api.get(LeaseObject, name, namespace=namespace))

    async def create_lease(self, lease: LeaseObject) -> LeaseObject:
        """What is stored now. Code 409: it exists."""
        return await self._call(lambda: self._api.create(lease))

    async def replace_lease(self, lease: LeaseObject) -> LeaseObject:
        """What is stored now. Code 409: it is not of the version that was seen; 404: it is gone."""
        return await self._call(lambda: self._api.replace(lease))

    async def delete_lease(self, namespace: str, name: str, version: str) -> None:
        """Delete it, if it still is of this version. Code 409: it is not; 404: it is gone."""
        body = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"resourceVersion": version}}

        async def delete() -> None:
            await self._plain.request("DELETE", f"{_path(namespace)}/{name}", json=body)

        await self._call(delete)

    @asynccontextmanager
    async def watch_leases(self, namespace: str, version: str, seconds: float) -> AsyncGenerator[AsyncIterator[Event]]:
        """Changes since a version, as they happen; the API ends it after so many seconds.

        The block is entered once the API has answered. Code 410, there or while iterating: the version is too old.
        """
        query = {"watch": "true", "allowWatchBookmarks": "true", "resourceVersion": version}
        request = self._plain.build_request(
            "GET",
            _path(namespace),
            params={**query, "timeoutSeconds": str(max(1, round(seconds)))},
            timeout=httpx2.Timeout(self._timeout_s, read=seconds + self._timeout_s),
        )

        response = await self._call(lambda: self._plain.send(request, stream=True))
        try:
            yield self._events(response)
        finally:
            await response.aclose()

    async def _events(self, response: httpx2.Response) -> AsyncIterator[Event]:
        with self._failures():
            rest = b""
            async for data in response.aiter_bytes():
                *lines, rest = (rest + data).split(b"\n")
                for line in filter(None, lines):
                    yield _event(line)
                if len(rest) > MAX_LINE:
                    raise ValueError("a watch event without an end")

    async def _call(self, request: Callable[[], Awaitable[T]]) -> T:
        asked = False
        with self._failures():
            try:
                async with asyncio.timeout(self._timeout_s):
                    await self._wait_for_turn()
                    asked = True
                    return await request()
            except TimeoutError as error:
                if asked:
                    raise KubeError(f"{self.server}: no answer in {self._timeout_s:g} s", reason="Timeout") from error
                why = "too many requests for --kubeconfig-qps, or the API asked for a pause"
                raise KubeError(
                    f"{self.server}: no turn in {self._timeout_s:g} s: {why}", reason="Throttled"
                ) from error

    async def _wait_for_turn(self) -> None:
        async with self._turn:  # first come, first served; whoever gives up takes no token
            while delay := self._bucket.delay(monotonic()):
                await asyncio.sleep(delay)
            self._bucket.take(monotonic())

    @contextmanager
    def _failures(self) -> Iterator[None]:
        """Everything that can go wrong with a request, as a `KubeError`."""
        try:
            yield
        except KubeError as error:
            self._bucket.close(monotonic() + min(error.retry_after_s, MAX_PAUSE_S))
            raise
        except httpx2.TimeoutException as error:
            raise KubeError(f"{self.server}: no answer in {self._timeout_s:g} s", reason="Timeout") from error
        except (httpx2.HTTPError, httpx2.StreamError, OSError) as error:
            raise KubeError(f"{self.server}: {why(error)}", reason="Unreachable") from error
        except (msgspec.MsgspecError, ValueError, LookupError, TypeError, AttributeError) as error:
            text = f"{self.server}: an answer that makes no sense: {error}"
            raise KubeError(text, reason="Unintelligible") from error


def why(error: BaseException) -> str:
    """The innermost cause of a failed request, in words."""
    while cause := _cause(error):
        error = cause
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS: {words_of(error)}"
    return words_of(error)


def _cause(error: BaseException) -> BaseException | None:
    if isinstance(error, BaseExceptionGroup):
        return error.exceptions[0]
    inner = error.__cause__ or next(iter(error.args), None)  # httpcore hands it on as an argument
    return inner if isinstance(inner, BaseException) else None


def _path(namespace: str) -> str:
    return f"apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"


class _Ip(msgspec.Struct):
    ip: str = ""


class _PodMetadata(msgspec.Struct):
    uid: str


class _PodSpec(msgspec.Struct):
    nodeName: str = ""


class _PodStatus(msgspec.Struct):
    hostIP: str = ""
    podIP: str = ""
    hostIPs: list[_Ip] = []
    podIPs: list[_Ip] = []


class _Pod(msgspec.Struct):
    """As much of a Pod as is of interest."""

    metadata: _PodMetadata
    spec: _PodSpec
    status: _PodStatus


class _Line(msgspec.Struct):
    type: str
    object: msgspec.Raw


def _event(text: bytes) -> Event:
    line = msgspec.json.decode(text, type=_Line)
    if line.type == "ERROR":
        status = msgspec.json.decode(line.object, type=Status)
        raise KubeError(f"watch: {status.reason}: {status.message}", status.code or 0, status.reason or "")
    found = msgspec.json.decode(line.object, type=LeaseObject)
    return Event(line.type, lease_of(found), version_of(found))
