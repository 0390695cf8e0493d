"""Verdict on a failed try of a dial: whether another backend may be asked, and what the frontend is told. Pure."""

from __future__ import annotations

from typing import NamedTuple

from konnectivity.errors import NO_AGENT, NO_DESCRIPTORS, NO_MEMORY, TOO_MANY_DIALS, DialError, DialFailure

_UNANSWERED = (DialFailure.TUNNEL_LOST, DialFailure.CLOSED_BY_AGENT)
_DECLINED = {NO_MEMORY: DialFailure.BUDGET, TOO_MANY_DIALS: DialFailure.FLOOD}  # answers of an agent or a peer server
_DECLINED_BY_PEER = _DECLINED | {NO_AGENT: DialFailure.NO_AGENT}  # an agent cannot report that there are no agents


class TryVerdict(NamedTuple):
    """Verdict on one failed try of a dial."""

    error: DialError  # error for the frontend, unless another backend is tried
    try_another: bool = False
    last_resort: bool = False  # whether a backend that is not ready may be asked, too
    counts: bool = True  # whether the try may have harmed the backend
    declined: DialFailure | None = None  # failure that the backend named in its answer


def verdict_of(error: DialError, of_agent: bool) -> TryVerdict:
    """Return the verdict on an error of a backend: an agent, or else a peer server."""
    if error.failure in _UNANSWERED:
        # The agent that replaces one that left may be new, and so not ready yet.
        return TryVerdict(error, True, last_resort=error.failure is DialFailure.TUNNEL_LOST)
    if error.failure is not DialFailure.ENDPOINT:
        return TryVerdict(error)
    text = str(error)
    declined = (_DECLINED if of_agent else _DECLINED_BY_PEER).get(text)
    if of_agent and text.endswith(NO_AGENT):  # text of another server: the frontend must not attribute it to this one
        error = DialError(DialFailure.ENDPOINT, f"the agent answered {text!r}")
    unable = declined is not None or text.endswith((NO_DESCRIPTORS, NO_AGENT))
    return TryVerdict(error, unable, unable, declined is not DialFailure.NO_AGENT, declined)
