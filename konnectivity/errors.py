"""Why a connection through the tunnel could not be had. Owns the taxonomy and the texts others match on."""

from __future__ import annotations

import enum


class DialFailure(enum.Enum):
    """Kinds of failed dials; the values are metric labels."""

    NO_AGENT = "no_agent"
    ENDPOINT = "error_response"  # the agent tried and says why not
    TIMEOUT = "backend_dial_timeout"
    TUNNEL_LOST = "backend_close"
    CLOSED_BY_AGENT = "dial_closed"
    CANCELLED = "frontend_close"
    BUDGET = "budget"
    PROTOCOL = "protocol"
    FLOOD = "flood"  # too many dials are under way
    ADDRESS = "address"  # not an address that can be dialled


UNRECOGNIZED = "unrecognized_response"  # counted like a failure: an answer to a dial that nobody waits for
ABANDONED = "send_rsp"  # the same: a connection came, and whoever asked for it is gone
NO_AGENT = "No agent available"
NO_MEMORY = "out of buffer memory: too many stalled connections"
TOO_MANY_DIALS = "too many dials under way"
REFUSED_BY_POLICY = "refused by the agent's policy"  # within the text of an agent that may not dial there
NO_DESCRIPTORS = "socket: too many open files"  # within the text of an agent that can open no socket
DIAL_TIMEOUT = "timed out waiting for backend dial"


class DialError(ConnectionError):
    """A dial failed. `str()` is the text for the one who asked."""

    def __init__(self, failure: DialFailure, text: str) -> None:
        super().__init__(text)
        self.failure = failure


class StartError(Exception):
    """What the program needs cannot be had; `str()` says what and why."""


class TunnelLost(ConnectionResetError):
    """A connection broke: the tunnel under it, or its far end. What was read is complete, the rest is missing."""
