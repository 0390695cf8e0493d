"""Bounds of the values that a server announces to agents. Pure."""

from __future__ import annotations

MAX_SERVER_ID = 256  # characters
MAX_SERVER_COUNT = 1024  # servers of one set; a larger announcement counts as this number
