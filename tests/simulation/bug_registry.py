"""Register of the faults that can be put into the product. Each names the place that it changes and the new value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Change = tuple[Any, str, Any]
OLD: dict[str, Callable[[], Change]] = {}
NEW: dict[str, Callable[[], Change]] = {}


def old(make: Callable[[], Change]) -> Callable[[], Change]:
    """Register a fault of the past."""
    OLD[make.__name__.replace("_", " ")] = make
    return make


def new(make: Callable[[], Change]) -> Callable[[], Change]:
    """Register a new fault."""
    NEW[make.__name__.replace("_", " ")] = make
    return make


def nothing(*_: Any, **__: Any) -> None:
    """Stand for a method that does nothing."""
