"""Sides of a proxied connection, as RESET packets, logs and metrics name the one that ended it."""

from __future__ import annotations

from konnectivity.proto.client_pb2 import ResetSide

CLIENT = ResetSide.RESET_SIDE_CLIENT
TARGET = ResetSide.RESET_SIDE_TARGET
SERVER = ResetSide.RESET_SIDE_SERVER
AGENT = ResetSide.RESET_SIDE_AGENT
NAMES = {0: "unknown", CLIENT: "client", TARGET: "target", SERVER: "server", AGENT: "agent"}


def name_of(side: int) -> str:
    """Return the name of a side for logs and metrics; "unknown" for a number that names no side."""
    return NAMES.get(side, "unknown")
