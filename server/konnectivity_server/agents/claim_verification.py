"""Holds an agent's claims against its credential, before it may register.

What a credential vouches for is `identity`'s business; of a pod, the Kubernetes API is asked for its addresses. Owns
the counts of refusals, and what is remembered of pods.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, Any

from konnectivity.grpc.message_stream import Peer
from konnectivity.grpc.status import Code, RpcError
from konnectivity.kube.api_error import KubeError
from konnectivity.net.source_address import source_of
from konnectivity.runtime import logs
from konnectivity.runtime.logs.logged_reasons import LoggedReasons
from konnectivity.untrusted.bounded_map import BoundedMap, size_of
from konnectivity_server.agents import credential_identity
from konnectivity_server.agents.agent_identifiers import Identifiers
from konnectivity_server.agents.credential_identity import Account, Pod

if TYPE_CHECKING:
    from konnectivity.kube.api_client import KubeClient

log = logs.get_peer_log(__name__)

REMEMBERED_FOR_S = 60.0
LOOKUP_PAUSE_S = 2.0  # between two look-ups of one pod, whatever its agent claims
MAX_REMEMBERED = 10_000  # pods, and reasons in the log
MAX_REMEMBERED_BYTES = 16 * 1024 * 1024  # of each


@dataclass(slots=True)
class ClaimVerifier:
    """Refuses agents that claim more than their credential vouches for.

    Args:
        mode: `certificate-san` or `token`.
        client: the API to ask for pods, with `token`.
        clock: seconds, monotonic.

    """

    mode: str
    client: KubeClient | None = None
    clock: Callable[[], float] = monotonic
    refused: dict[str, int] = field(default_factory=dict)  # by the kind of the first claim, or `api`
    _pods: BoundedMap[str, tuple[Identifiers, float]] = field(
        default_factory=lambda: _remembered(_pod_size)
    )  # and when
    _under_way: dict[str, asyncio.Future[Identifiers]] = field(default_factory=dict)  # look-ups, by uid
    _logged: LoggedReasons = field(default_factory=LoggedReasons)  # refusals, by agent

    async def check(self, agent_id: str, peer: Peer, account: Account | None, claimed: Identifiers) -> None:
        """Nothing, if every claim is vouched for.

        Raises:
            RpcError: PERMISSION_DENIED, one is not; UNAVAILABLE, that cannot be found out now.

        """
        granted = credential_identity.of_certificate(peer.certificate)
        if self.mode == credential_identity.TOKEN:
            granted = await self._of_pod(agent_id, peer, account, claimed)
        found = credential_identity.excess(claimed, granted)
        if not found:
            self._logged.clear(agent_id)
            return
        names = credential_identity.shown(list(credential_identity.claims(granted))) or "nothing"
        whose = credential_identity.holder(peer.certificate, account) or "none"
        text = f"agent {agent_id!r} claims {credential_identity.shown(found)}; its credential vouches for {names}"
        self._refuse(agent_id, peer, found[0].kind, f"{text} [{whose}]")
        raise RpcError(Code.PERMISSION_DENIED, text)

    async def _of_pod(self, agent_id: str, peer: Peer, account: Account | None, claimed: Identifiers) -> Identifiers:
        """The names and addresses of a token's pod and node. The API is asked only if the claims need it."""
        pod = account.pod if account is not None else None
        if pod is None:
            return Identifiers()
        node = Identifiers(host=(pod.node,) if pod.node else ())
        known, looked_up_at = self._pods.get(pod.uid) or (node, -REMEMBERED_FOR_S)
        if not credential_identity.excess(claimed, node):
            return node
        age = self.clock() - looked_up_at
        if age < LOOKUP_PAUSE_S or (age < REMEMBERED_FOR_S and not credential_identity.excess(claimed, known)):
            return known
        try:
            return await self._look_up(pod, node)
        except KubeError as error:
            self._refuse(agent_id, peer, "api", f"cannot look up pod {pod.namespace}/{pod.name}: {error}")
            text = f"the Kubernetes API could not say whose pod {pod.name} is; the proxy server's log says more"
            raise RpcError(Code.UNAVAILABLE, text) from error

    async def _look_up(self, pod: Pod, node: Identifiers) -> Identifiers:
        """Ask the API for a pod, once for all agents that wait for the answer, and remember the answer."""
        other = self._under_way.get(pod.uid)
        if other is not None:
            await asyncio.wait([other])
            if other.cancelled():
                raise KubeError("the agent that asked first is gone")
            return other.result()
        answer = self._under_way[pod.uid] = asyncio.get_running_loop().create_future()
        try:
            found = credential_identity.merged(node, await self._ask(pod))
            answer.set_result(found)
        finally:
            answer.cancel()  # without effect on a result
            del self._under_way[pod.uid]
        self._pods[pod.uid] = found, self.clock()
        return found

    async def _ask(self, pod: Pod) -> Identifiers:
        assert self.client is not None, "token identity has a client"
        found = await self.client.get_pod(pod.namespace, pod.name)
        if found is None or found.uid != pod.uid:
            return Identifiers()  # deleted, or another one of that name
        return Identifiers(ipv4=found.addresses, host=(found.node,) if found.node else ())

    def _refuse(self, agent_id: str, peer: Peer, kind: str, reason: str) -> None:
        """Count and log a refusal: a line for an agent, another one when the reason changes, not many for a source."""
        self.refused[kind] = self.refused.get(kind, 0) + 1
        if self._logged.record(agent_id, reason):
            log.warning(source_of(peer.address), "Agent's claim refused", agent=agent_id, peer=peer.name, reason=reason)


def _remembered(size: Callable[[str, Any], int]) -> BoundedMap[str, Any]:
    return BoundedMap(MAX_REMEMBERED, MAX_REMEMBERED_BYTES, size)


def _pod_size(uid: str, known: tuple[Identifiers, float]) -> int:
    names = known[0]
    return size_of(uid, names.ipv4, names.ipv6, names.host) + 300  # of the records
