"""Faults of paths: the reason why a probe failed, the layer at fault, and the reason in an agent's error text. Pure."""

from __future__ import annotations

from typing import NamedTuple

from konnectivity.errors import (
    NO_DESCRIPTORS,
    NO_MEMORY,
    REFUSED_BY_POLICY,
    TOO_MANY_DIALS,
    DialError,
    DialFailure,
)
from konnectivity.untrusted.untrusted_text import cut

MAX_TEXT = 300  # bytes of the text of a fault, which a peer may have chosen

FROZEN = "agent_frozen"
AGENT_LOST = "agent_lost"
OVERLOADED = "agent_overloaded"
POLICY = "policy"
LOOKUP = "dns"
NO_ROUTE = "no_route"
REFUSED = "refused"
NO_ANSWER = "no_answer"
CLOSED = "closed"
SILENT = "silent"
NO_TLS = "tls"
CERTIFICATE = "certificate"
AUTHORISATION = "authorisation"
STATUS = "http"
OTHER = "other"

LAYERS = {
    FROZEN: "agent",
    AGENT_LOST: "agent",
    OVERLOADED: "agent",
    POLICY: "policy",
    LOOKUP: "dns",
    NO_ROUTE: "route",
    REFUSED: "tcp",
    NO_ANSWER: "tcp",
    CLOSED: "target",
    SILENT: "target",
    NO_TLS: "tls",
    CERTIFICATE: "tls",
    AUTHORISATION: "authorisation",
    STATUS: "http",
    OTHER: "target",
}
_NETWORK = (  # in the words of the agent's system, at the end of its text
    ("connection refused", REFUSED),
    ("no route to host", NO_ROUTE),
    ("network is unreachable", NO_ROUTE),
    ("cannot assign requested address", NO_ROUTE),
    ("i/o timeout", NO_ANSWER),
    ("connection timed out", NO_ANSWER),
    ("connection reset by peer", CLOSED),
)


class PathFault(NamedTuple):
    """Fault of a path: `reason` is a metric label, `text` is for people and may hold a peer's words."""

    reason: str
    text: str

    @property
    def layer(self) -> str:
        """Layer at fault."""
        return LAYERS[self.reason]


def fault(reason: str, text: str) -> PathFault:
    """Return a fault whose text is cut to a bounded length."""
    return PathFault(reason, cut(text, MAX_TEXT))


def of_dial(error: DialError) -> PathFault:
    """Return the fault that the error of a probe's dial means."""
    text = str(error)
    if error.failure is DialFailure.TUNNEL_LOST:
        return fault(AGENT_LOST, f"the agent's tunnel ended: {text}")
    if error.failure is not DialFailure.ENDPOINT:
        return fault(OTHER, text)
    return fault(_reason_of(text), text)


def _reason_of(text: str) -> str:
    if REFUSED_BY_POLICY in text:
        return POLICY
    if text in (NO_MEMORY, TOO_MANY_DIALS) or text.endswith(NO_DESCRIPTORS):
        return OVERLOADED
    if text.startswith("dial ") and ": lookup " in text:
        return LOOKUP
    return next((reason for words, reason in _NETWORK if text.endswith(words)), OTHER)
