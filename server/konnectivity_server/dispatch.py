"""One dial through the server: choose an agent, ask it, hand the answer to whoever asked.

Owns the choice, the bound on the wait and the second try. Knows neither frontend protocol.
"""

from __future__ import annotations

from random import Random
from time import monotonic

from konnectivity import logs
from konnectivity.dialing import Caller, Dial
from konnectivity.errors import ABANDONED, NO_AGENT, NO_MEMORY, DialError, DialFailure
from konnectivity.ledger import Ledger
from konnectivity.link import Link
from konnectivity.traffic import Traffic
from konnectivity_server import strategies
from konnectivity_server.agents import AgentTunnel
from konnectivity_server.registry import Registry

log = logs.get(__name__)

_UNANSWERED = (DialFailure.TUNNEL_LOST, DialFailure.CLOSED_BY_AGENT)


class Route:
    """A dial on its way: through one agent and, if that gives no answer, once more through another."""

    __slots__ = ("_address", "_agent", "_caller", "_dial", "_dispatcher", "_due", "_moved", "_origin", "_protocol")

    def __init__(self, dispatcher: Dispatcher, address: str, caller: Caller, origin: str, protocol: str) -> None:
        self._dispatcher = dispatcher
        self._address = address
        self._caller = caller
        self._origin = origin
        self._protocol = protocol
        self._due = monotonic() + dispatcher.dial_timeout_s if dispatcher.dial_timeout_s else None
        self._agent: AgentTunnel | None = None
        self._dial: Dial | None = None
        self._moved = False

    def start(self, agent: AgentTunnel) -> None:
        timeout_s = None if self._due is None else max(self._due - monotonic(), 0.001)
        self._agent = agent
        self._dial = agent.dial(self._address, self, timeout_s, self._protocol, self._origin)

    def cancel(self) -> None:
        """Nobody wants the connection any more. No callback follows."""
        if self._dial is not None:
            self._dial.cancel()

    def move(self) -> bool:
        """Go through another agent, if there is one that answers; the first is told to forget it."""
        other = None if self._moved else self._dispatcher.choose(self._address, self._agent)
        if other is None:
            return False
        self._moved = True
        if self._dial is not None:
            self._dial.withdraw()
        if log.v(2):
            log.info("Dialing through another agent", destination=self._address, agent=other.agent_id)
        self.start(other)
        return True

    # ---- Caller ---------------------------------------------------------------------------------------------------

    def dial_succeeded(self, link: Link) -> None:
        self._caller.dial_succeeded(link)

    def dial_failed(self, error: DialError) -> None:
        if error.failure in _UNANSWERED and self.move():
            return
        self._caller.dial_failed(error)


class Dispatcher:
    """Where both frontends bring their dials."""

    def __init__(
        self,
        registry: Registry[AgentTunnel],
        names: list[str],
        dial_timeout_s: float,
        ledger: Ledger,
        traffic: Traffic,
    ) -> None:
        self.dial_timeout_s = dial_timeout_s
        self.http_connections = 0  # CONNECT clients that are being served
        self._traffic = traffic
        self._registry = registry
        self._names = names
        self._ledger = ledger
        self._random = Random()

    def dial(self, address: str, caller: Caller, origin: str, protocol: str = "tcp") -> Route:
        """Ask an agent for a connection, for `origin`. The caller is called later, never before this returns.

        Raises:
            DialError: it failed at once: no agent, or no buffer memory left.
        """
        agent = self.choose(address)
        if agent is None:
            raise self._refused(DialFailure.NO_AGENT, NO_AGENT)
        if self._ledger.exhausted or agent.exhausted:
            self._ledger.refused_dials += 1
            raise self._refused(DialFailure.BUDGET, NO_MEMORY)
        route = Route(self, address, caller, origin, protocol)
        route.start(agent)
        return route

    def choose(self, address: str, instead_of: AgentTunnel | None = None) -> AgentTunnel | None:
        """The agent for an address, as the strategies have it."""
        return strategies.pick(self._names, self._registry, address, self._random, instead_of)

    def suspected(self, agent: AgentTunnel) -> None:
        """The agent does not answer: what it was asked for goes through others, where there are any."""
        for dial in list(agent.pending.values()):
            if isinstance(dial.caller, Route):
                dial.caller.move()

    def abandoned(self, link: Link) -> None:
        """A connection came, and whoever asked for it is gone."""
        self._traffic.dial_failed(ABANDONED)
        link.local_lost("the frontend is gone")

    def _refused(self, failure: DialFailure, text: str) -> DialError:
        self._traffic.dial_failed(failure.value)
        return DialError(failure, text)
