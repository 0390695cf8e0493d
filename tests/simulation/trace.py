"""Trace of a run: the hash of every event, and the last events in words."""

from __future__ import annotations

import hashlib
from collections import deque

from simulation.machine import FIRST_S, MACHINE

KEPT = 4000  # events that are kept in words


class Trace:
    """Record of one run. Two runs of one seed have the same `digest`."""

    def __init__(self, kept: int = KEPT) -> None:
        self.events: deque[tuple[float, str, str]] = deque(maxlen=kept)
        self._hash = hashlib.sha256()

    def note(self, who: str, *words: object) -> None:
        """Record an event in words."""
        text = " ".join(map(str, words))
        self.events.append((MACHINE.now, who, text))
        self._hash.update(f"{MACHINE.now:.9f} {who} {text}\n".encode())

    def count(self, number: int, size: int) -> None:
        """Record that bytes of a connection moved, for the hash only."""
        self._hash.update(f"{MACHINE.now:.9f} {number} {size}\n".encode())

    @property
    def digest(self) -> str:
        """Return the hash of all events so far."""
        return self._hash.hexdigest()

    def lines(self, last: int) -> list[str]:
        """Return the last events as lines."""
        return [f"{moment - FIRST_S:10.4f} s  {who:<14} {text}" for moment, who, text in list(self.events)[-last:]]
