"""Holds an agent's claims against its credential, before it may register.

What a credential vouches for is `identity`'s business; of a pod, the Kubernetes API is asked for its addresses. Owns
the counts of refusals, and what is remembered of pods.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING

from konnectivity import logs
from konnectivity.grpc.status import Code, RpcError
from konnectivity.grpc.stream import Peer
from konnectivity.kube.error import KubeError
from konnectivity_server import identity
from konnectivity_server.identifiers import Identifiers
from konnectivity_server.identity import Account, Pod

if TYPE_CHECKING:
    from konnectivity.kube.client import KubeClient

log = logs.get(__name__)

REMEMBERED_FOR_S = 60.0
MAX_PODS = 10_000
MAX_TOLD = 10_000


@dataclass(slots=True)
class Voucher:
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
    _pods: dict[str, tuple[Identifiers, float]] = field(default_factory=dict)  # by uid, with the time it is good until
    _told: dict[str, str] = field(default_factory=dict)  # agents in the log as refused, and why

    async def check(self, agent_id: str, peer: Peer, account: Account | None, claimed: Identifiers) -> None:
        """Nothing, if every claim is vouched for.

        Raises:
            RpcError: PERMISSION_DENIED, one is not; UNAVAILABLE, that cannot be found out now.
        """
        granted = identity.of_certificate(peer.certificate)
        if self.mode == identity.TOKEN:
            granted = await self._of_pod(agent_id, account, claimed)
        found = identity.excess(claimed, granted)
        if not found:
            self._told.pop(agent_id, None)
            return
        names = identity.shown(list(identity.claims(granted))) or "nothing"
        whose = identity.holder(peer.certificate, account) or "none"
        text = f"agent {agent_id!r} claims {identity.shown(found)}; its credential vouches for {names}"
        self._refuse(agent_id, found[0].kind, f"{text} [{whose}]")
        raise RpcError(Code.PERMISSION_DENIED, text)

    async def _of_pod(self, agent_id: str, account: Account | None, claimed: Identifiers) -> Identifiers:
        """The names and addresses of a token's pod and node. The API is asked only if the claims need it."""
        pod = account.pod if account is not None else None
        if pod is None:
            return Identifiers()
        node = Identifiers(host=(pod.node,) if pod.node else ())
        known, until = self._pods.get(pod.uid, (node, 0.0))
        if not identity.excess(claimed, node):
            return node
        if self.clock() < until and not identity.excess(claimed, known):
            return known
        try:
            found = identity.merged(node, await self._ask(pod))
        except KubeError as error:
            self._refuse(agent_id, "api", f"cannot look up pod {pod.namespace}/{pod.name}: {error}")
            text = f"the Kubernetes API could not say whose pod {pod.name} is; the proxy server's log says more"
            raise RpcError(Code.UNAVAILABLE, text) from error
        self._remember(pod.uid, found)
        return found

    async def _ask(self, pod: Pod) -> Identifiers:
        assert self.client is not None, "token identity has a client"
        found = await self.client.get_pod(pod.namespace, pod.name)
        if found is None or found.uid != pod.uid:
            return Identifiers()  # deleted, or another one of that name
        return Identifiers(ipv4=found.addresses, host=(found.node,) if found.node else ())

    def _remember(self, uid: str, names: Identifiers) -> None:
        self._pods.pop(uid, None)
        while len(self._pods) >= MAX_PODS:
            del self._pods[next(iter(self._pods))]  # the oldest
        self._pods[uid] = names, self.clock() + REMEMBERED_FOR_S

    def _refuse(self, agent_id: str, kind: str, reason: str) -> None:
        """Count, and one line for an agent, and another one when the reason changes."""
        self.refused[kind] = self.refused.get(kind, 0) + 1
        if self._told.get(agent_id) == reason:
            return
        while len(self._told) >= MAX_TOLD:
            del self._told[next(iter(self._told))]
        self._told[agent_id] = reason
        log.warning("Agent's claim refused", agent=agent_id, reason=reason)
