"""Responses of health ports: named checks and their text. Owns the format; does not know what is checked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from konnectivity.http1.handlers import Request, Response, text


class Check(NamedTuple):
    """Named condition of readiness; `failure` returns the reason why it fails now, or None."""

    name: str
    failure: Callable[[], str | None]


def verbose(results: Sequence[tuple[str, str | None]]) -> str:
    """Return one line per check: `[+]name ok` or `[-]name failed: reason`."""
    return "".join(f"[-]{name} failed: {why}\n" if why else f"[+]{name} ok\n" for name, why in results)


def ready(checks: Sequence[Check], not_ready_status: int, terse: bool = False) -> Callable[[Request], Response]:
    """Return the handler of a readiness path.

    Args:
        checks: conditions that must all hold.
        not_ready_status: status of the response when one fails.
        terse: whether that response is only the reason of the first failed check, without `?verbose`.

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
    """Answer a liveness path: any response means alive."""
    return text("ok")
