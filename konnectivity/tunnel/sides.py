"""Sides of a proxied connection, as RESET packets, logs and metrics name the one that ended it."""

from __future__ import annotations

# Numbers of the enum ResetSide in proto/konnectivity/proto/client.proto.
CLIENT = 1
TARGET = 2
SERVER = 3
AGENT = 4
NAMES = {0: "unknown", CLIENT: "client", TARGET: "target", SERVER: "server", AGENT: "agent"}


def name_of(side: int) -> str:
    """Return the name of a side for logs and metrics; "unknown" for a number that names no side."""
    return NAMES.get(side, "unknown")
