"""Verification of an agent's claims against its credential, before the agent may register.

Owns the counts of refusals, and the addresses of pods that were looked up. Does not know what a credential vouches for
(`credential_identity`), nor how the Kubernetes API is reached.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, Protocol

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
    from konnectivity.kube.api_answers import PodPlace

log = logs.get_peer_log(__name__)

REMEMBERED_FOR_S = 60.0
LOOKUP_PAUSE_S = 2.0  # seconds between two lookups of one pod, whatever its agent claims
MAX_PODS = 10_000  # pods that are remembered
MAX_POD_BYTES = 16 * 1024 * 1024  # memory of their names and addresses
_RECORD_BYTES = 300  # bytes of the records that hold a pod's names and addresses


class PodLookup(Protocol):
    """Client of an API that knows pods."""

    async def get_pod(self, namespace: str, name: str) -> PodPlace | None:
        """Return the node and the addresses of a pod, or None if there is no pod of that name.

        Raises:
            KubeError: the API did not answer.

        """


class ClaimVerifier:
    """Verifier that refuses agents whose claims exceed what their credential vouches for.

    Args:
        mode: `certificate-san` or `token`.
        client: looks up pods; required for `token`.
        clock: monotonic seconds.
        max_pods: number of pods that are remembered.
        max_bytes: memory of the remembered pods, in bytes.

    """

    def __init__(
        self,
        mode: str,
        client: PodLookup | None = None,
        clock: Callable[[], float] = monotonic,
        max_pods: int = MAX_PODS,
        max_bytes: int = MAX_POD_BYTES,
    ) -> None:
        self.refused: dict[str, int] = {}  # by the kind of the first claim that exceeds, or `api`
        self.clock = clock
        self._mode = mode
        self._client = client
        # Names and addresses by the pod's uid, and the time of the look-up.
        self._pods: BoundedMap[str, tuple[Identifiers, float]] = BoundedMap(max_pods, max_bytes, _pod_size)
        self._under_way: dict[str, asyncio.Future[Identifiers]] = {}  # look-ups by the pod's uid
        self._logged = LoggedReasons()  # refusals, by agent

    async def check(self, agent_id: str, peer: Peer, account: Account | None, claimed: Identifiers) -> None:
        """Accept the claims of an agent.

        Raises:
            RpcError: PERMISSION_DENIED, the credential does not vouch for a claim; UNAVAILABLE, the API did not answer.

        """
        granted = credential_identity.of_certificate(peer.certificate)
        if self._mode == credential_identity.TOKEN:
            granted = await self._of_pod(agent_id, peer, account, claimed)
        found = credential_identity.excess(claimed, granted)
        if not found:
            self._logged.clear(agent_id)
            return
        names = credential_identity.shown(list(credential_identity.claims(granted))) or "nothing"
        holder = credential_identity.holder(peer.certificate, account) or "none"
        text = f"agent {agent_id!r} claims {credential_identity.shown(found)}; its credential vouches for {names}"
        self._refuse(agent_id, peer, found[0].kind, f"{text} [{holder}]")
        raise RpcError(Code.PERMISSION_DENIED, text)

    async def _of_pod(self, agent_id: str, peer: Peer, account: Account | None, claimed: Identifiers) -> Identifiers:
        """Return the names and addresses of a token's pod and node; ask the API only if the claims require it."""
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
        assert self._client is not None, "token identity has a client"
        found = await self._client.get_pod(pod.namespace, pod.name)
        if found is None or found.uid != pod.uid:
            return Identifiers()  # the pod was deleted, or replaced by another one of that name
        return Identifiers(ipv4=found.addresses, host=(found.node,) if found.node else ())

    def _refuse(self, agent_id: str, peer: Peer, kind: str, reason: str) -> None:
        """Count and log a refusal: one line for an agent, one more when the reason changes, few for a source."""
        self.refused[kind] = self.refused.get(kind, 0) + 1
        if self._logged.record(agent_id, reason):
            log.warning(source_of(peer.address), "Agent's claim refused", agent=agent_id, peer=peer.name, reason=reason)


def _pod_size(uid: str, known: tuple[Identifiers, float]) -> int:
    names = known[0]
    return size_of(uid, names.ipv4, names.ipv6, names.host) + _RECORD_BYTES
