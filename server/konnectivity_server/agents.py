"""AgentService: one agent's stream, from its metadata to its end. Owns registration."""

from __future__ import annotations

from dataclasses import dataclass

from konnectivity import link as links
from konnectivity import logs
from konnectivity.capabilities import Capabilities
from konnectivity.dialing import DialingTunnel
from konnectivity.grpc.metadata import Metadata
from konnectivity.grpc.status import Code, RpcError, Status
from konnectivity.grpc.stream import MessageStream
from konnectivity.tunnel import TunnelOptions
from konnectivity_server import identifiers
from konnectivity_server.identifiers import Identifiers
from konnectivity_server.registry import Registry

log = logs.get(__name__)

PATH = "/AgentService/Connect"
AGENT_ID = "agentid"
AGENT_IDENTIFIERS = "agentidentifiers"
SERVER_ID = "serverid"
SERVER_COUNT = "servercount"


class AgentTunnel(DialingTunnel):
    """The server's end of one agent's stream."""

    def __init__(
        self, stream: MessageStream, options: TunnelOptions, agent_id: str, names: Identifiers, agents: AgentService
    ) -> None:
        super().__init__(stream, options, links.SIDE_SERVER, links.SIDE_CLIENT)
        self.agent_id = agent_id
        self.identifiers = names
        self._agents = agents

    def stream_closed(self, status: Status) -> None:
        self._agents.gone(self, status)
        super().stream_closed(status)


@dataclass(slots=True)
class AgentService:
    """What the server tells every agent, and where it keeps them."""

    registry: Registry[AgentTunnel]
    options: TunnelOptions
    server_id: str
    server_count: int

    def connect(self, stream: MessageStream) -> AgentTunnel:
        """Service of `PATH`.

        Raises:
            RpcError: the agent does not say who it is.
        """
        agent_id, names = _introduction(stream.metadata)
        tunnel = AgentTunnel(stream, self.options, agent_id, names, self)
        offer = Capabilities(self.options.ledger.initial_window)
        answer = {SERVER_ID: self.server_id, SERVER_COUNT: str(self.server_count)}
        capabilities = Capabilities.of(stream.metadata) if self.options.extension else None
        stream.accept(answer | offer.header() if capabilities is not None else answer)
        tunnel.negotiated(capabilities)
        self.registry.add(tunnel)
        log.info("Agent connected", agent=agent_id, peer=stream.peer.address, extension=capabilities is not None)
        return tunnel

    def gone(self, tunnel: AgentTunnel, status: Status) -> None:
        self.registry.remove(tunnel)
        log.info(
            "Agent disconnected",
            agent=tunnel.agent_id,
            peer=tunnel.stream.peer.address,
            connections=len(tunnel.links),
            reason=str(status),
        )


def _introduction(metadata: Metadata) -> tuple[str, Identifiers]:
    ids = metadata.get_all(AGENT_ID)
    if len(ids) != 1:
        raise RpcError(Code.UNKNOWN, f"expected one agent ID in the context, got {_listed(ids)}")
    texts = metadata.get_all(AGENT_IDENTIFIERS)
    if len(texts) > 1:
        text = f"expected at most one set of agent identifiers in the context, got {_listed(texts)}"
        raise RpcError(Code.UNKNOWN, text)
    try:
        return ids[0], identifiers.parse(texts[0] if texts else "")
    except ValueError as error:
        raise RpcError(Code.UNKNOWN, f"agent identifiers cannot be decoded: {error}") from error


def _listed(values: list[str]) -> str:
    return f"[{' '.join(values)}]"
