"""Token reviewers in memory, in the place of the Kubernetes API."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable

from konnectivity.kube.api_answers import Review

USER = "system:serviceaccount:kube-system:konnectivity-agent"
AUDIENCE = "system:konnectivity-server"


class MemoryReviewer:
    """Reviewer that reviews tokens after a delay, in order of arrival and at a bounded rate.

    Args:
        delay_s: seconds from a request to its answer.
        per_s: requests sent each second; None: any number.

    """

    def __init__(self, delay_s: float = 0.0, per_s: float | None = None) -> None:
        self.accepted: dict[str, str] = {"good": ""}  # uid of the account by token
        self.requests: list[str] = []
        self.delay_s = delay_s
        self.error: Exception | None = None
        self._pause_s = 0.0 if per_s is None else 1 / per_s
        self._next_at = 0.0

    async def review_token(self, token: str, audience: str, on_turn: Callable[[], object]) -> Review:
        loop = asyncio.get_running_loop()
        self._next_at = max(self._next_at, loop.time())
        turn_at, self._next_at = self._next_at, self._next_at + self._pause_s
        await asyncio.sleep(turn_at - loop.time())
        on_turn()
        self.requests.append(token)
        await asyncio.sleep(self.delay_s)
        if self.error is not None:
            raise self.error
        if token not in self.accepted:
            return Review(False, "", (), "unknown token", {})
        return Review(True, USER, (audience,), "", {}, self.accepted[token])


def jwt(**claims: object) -> str:
    """Return a token with these claims and a signature that is never checked."""
    return f"e30.{base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip('=')}.c2ln"


def service_account_token(number: object, uid: str = "") -> str:
    """Return a token that claims to be of the expected account."""
    account = {"name": "konnectivity-agent", "uid": uid}
    place = {"namespace": "kube-system", "serviceaccount": account}
    return jwt(aud=[AUDIENCE], exp=4e9, n=number, **{"kubernetes.io": place})
