"""Readiness of the server: the reasons why no dial can pass. Pure.

Owns whether the server is shutting down. Does not know how readiness is published, nor what an agent is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from konnectivity_server import strategies
from konnectivity_server.registry import Registry

SHUTTING_DOWN = "the server is shutting down"
NO_AGENT = "no connection to any proxy agent"
NO_ANSWER = "no proxy agent answers"


def agent_trouble(names: Sequence[str], registry: Registry[Any]) -> str | None:
    """Return why no agent of this server can be used, or None. As in the reference, the first strategy decides."""
    if not strategies.size(names[0], registry):
        return NO_AGENT
    return None if strategies.answers(names[0], registry) else NO_ANSWER


class Readiness:
    """Verdict on whether dials can pass through this server.

    Args:
        agent_trouble: returns why no agent of this server can be used, or None.
        peer_usable: returns whether another server takes dials.
        path_trouble: returns why no agent of this server passes its probes, or None; readiness depends on agents and
            peer servers alone without it.

    """

    def __init__(
        self,
        agent_trouble: Callable[[], str | None],
        peer_usable: Callable[[], bool],
        path_trouble: Callable[[], str | None] | None = None,
    ) -> None:
        self._agent_trouble = agent_trouble
        self._peer_usable = peer_usable
        self._path_trouble = path_trouble
        self._leaving = False

    def leave(self) -> None:
        """Report the server as not ready from now on."""
        self._leaving = True

    def trouble(self) -> str | None:
        """Return why no dial can pass, or None."""
        if self._leaving:
            return SHUTTING_DOWN
        if self._path_trouble is not None:
            return self._agent_trouble() or self._path_trouble()
        return None if self._peer_usable() else self._agent_trouble()
