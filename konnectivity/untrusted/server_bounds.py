"""Bounds of what a server says of itself to agents. Pure."""

from __future__ import annotations

MAX_SERVER_ID = 256  # characters
MAX_SERVER_COUNT = 1024  # servers of one set that are believed to exist
