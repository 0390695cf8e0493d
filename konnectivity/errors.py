"""Errors of dials and programs: the kinds of failed dials, and the texts that other programs match on."""

from __future__ import annotations

import enum


class DialFailure(enum.Enum):
    """Kinds of failed dials; the values are metric labels."""

    NO_AGENT = "no_agent"
    ENDPOINT = "error_response"  # the agent tried, and its error text tells why it failed
    TIMEOUT = "backend_dial_timeout"
    TUNNEL_LOST = "backend_close"
    CLOSED_BY_AGENT = "dial_closed"
    CANCELLED = "frontend_close"
    BUDGET = "budget"
    PROTOCOL = "protocol"
    FLOOD = "flood"  # too many dials under way
    ADDRESS = "address"  # malformed address
    POLICY = "policy"  # refused by the policy of the server


UNRECOGNIZED = "unrecognized_response"  # metric label of an answer to a dial that is over
ABANDONED = "send_rsp"  # metric label of a connection whose frontend is gone
NO_AGENT = "No agent available"
NO_MEMORY = "out of buffer memory: too many stalled connections"
TOO_MANY_DIALS = "too many dials under way"
REFUSED_BY_POLICY = "refused by the agent's policy"  # within the text of an agent that may not dial there
REFUSED_BY_SERVER = "refused by the server's policy"  # within the text for a frontend that may not dial there
NO_DESCRIPTORS = "socket: too many open files"  # within the text of an agent that can open no socket
DIAL_TIMEOUT = "timed out waiting for backend dial"


class DialError(ConnectionError):
    """Failure of a dial; `str()` is the text for the client."""

    def __init__(self, failure: DialFailure, text: str) -> None:
        super().__init__(text)
        self.failure = failure


class StartError(Exception):
    """Failure of a program's start; `str()` names what is missing and why."""


class TunnelLost(ConnectionResetError):
    """Loss of a connection: its tunnel or its far end broke. The data read before is complete, the rest is missing."""
