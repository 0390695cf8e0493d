"""Waits for conditions that nothing announces: a condition is polled until it holds or a deadline has passed."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
WAIT_TIMEOUT_S = 75.0
PAUSE_S = 0.25


def until(
    condition: Callable[[], T],
    expected: str | Callable[[], str],
    timeout_s: float = WAIT_TIMEOUT_S,
    pause_s: float = PAUSE_S,
) -> T:
    """Call a condition until its result is true, and return the result.

    Args:
        condition: function that is called again after each pause.
        expected: text that says what the condition stands for, or a function that returns the text after a failure.
        timeout_s: seconds until the wait fails.
        pause_s: seconds between two calls.

    Raises:
        AssertionError: the condition did not hold in time.
    """
    end = time.monotonic() + timeout_s
    while not (found := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"not within {timeout_s:g} s: {expected if isinstance(expected, str) else expected()}")
        time.sleep(pause_s)
    return found
