"""One dial through the server: choose an agent, ask it, hand the answer to whoever asked.

Owns the choice and the bound on the wait. Knows neither frontend protocol.
"""

from __future__ import annotations

from random import Random

from konnectivity.dialing import Caller, Dial
from konnectivity.errors import NO_AGENT, NO_MEMORY, DialError, DialFailure
from konnectivity.ledger import Ledger
from konnectivity_server import strategies
from konnectivity_server.agents import AgentTunnel
from konnectivity_server.registry import Registry


class Dispatcher:
    """Where both frontends bring their dials."""

    def __init__(
        self, registry: Registry[AgentTunnel], names: list[str], dial_timeout_s: float, ledger: Ledger
    ) -> None:
        self._registry = registry
        self._names = names
        self._dial_timeout_s = dial_timeout_s
        self._ledger = ledger
        self._random = Random()

    def dial(self, address: str, caller: Caller, protocol: str = "tcp") -> Dial:
        """Ask an agent for a connection. The caller is called later, never before this returns.

        Raises:
            DialError: it failed at once: no agent, or no buffer memory left.
        """
        agent = strategies.pick(self._names, self._registry, address, self._random)
        if agent is None:
            raise DialError(DialFailure.NO_AGENT, NO_AGENT)
        if self._ledger.exhausted or agent.exhausted:
            self._ledger.refused_dials += 1
            raise DialError(DialFailure.BUDGET, NO_MEMORY)
        return agent.dial(address, caller, self._dial_timeout_s, protocol)

    def __len__(self) -> int:
        return len(self._registry)
