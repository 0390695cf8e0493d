"""Answers of health ports: named checks, and the text about them. Owns the format, not what is checked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from konnectivity.http1.handlers import Request, Response, text


class Check(NamedTuple):
    """One thing that must be true. `failure` says what is wrong now, or None."""

    name: str
    failure: Callable[[], str | None]


def verbose(results: Sequence[tuple[str, str | None]]) -> str:
    """A line for each check: `[+]name ok` or `[-]name failed: why`."""
    return "".join(f"[-]{name} failed: {why}\n" if why else f"[+]{name} ok\n" for name, why in results)


def ready(checks: Sequence[Check], not_ready_status: int, terse: bool = False) -> Callable[[Request], Response]:
    """Handler of a readiness path.

    Args:
        checks: all of them must hold.
        not_ready_status: of the answer when one does not.
        terse: whether that answer is only the reason of the first failed check, unless `?verbose` is asked for.

    """

    def handle(request: Request) -> Response:
        results = [(check.name, check.failure()) for check in checks]
        failures = [why for _, why in results if why]
        if not failures:
            return text(verbose(results) + "check passed\n" if request.asks("verbose") else "ok")
        if terse and not request.asks("verbose"):
            return text(failures[0], not_ready_status)
        return text(verbose(results), not_ready_status)

    return handle


def alive(request: Request) -> Response:
    """Handler of a liveness path: that it answers is the answer."""
    return text("ok")
