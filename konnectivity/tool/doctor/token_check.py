"""Check of a service account token by its claims, without verifying the signature. Pure."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from konnectivity.tool.check_results import CheckResult, failed, ok, warning
from konnectivity.untrusted.numbers import finite

TOKEN = "token"
CLOCK = "clock"
SOON_S = 60.0
SKEW_S = 10.0
_PROJECTED = "a projected volume with serviceAccountToken, its audience and expirationSeconds"


def judge(where: str, content: bytes, audience: str, account: str, now: float) -> list[CheckResult]:
    """Return how a server that asks for `audience` would judge the token.

    Args:
        where: path of the token file, for the results.
        content: of the token file.
        audience: that the server asks for.
        now: seconds since the epoch.
        account: "namespace/name" of the service account that the server expects; "" if unknown.

    """
    text = content.decode("utf-8", "replace").strip()
    if not text:
        return [failed(TOKEN, where, "the file is empty", _PROJECTED)]
    claims = payload(text)
    if claims is None:
        return [
            warning(TOKEN, where, "is not a JWT: only the API can say what it is", "--kubeconfig, to have it reviewed")
        ]
    return [_judged(where, claims, audience, account, now), *_clock(where, claims, now)]


def payload(token: str) -> Mapping[str, Any] | None:
    """Return the claims of a JWT, or None if the text is not a JWT."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        found = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, binascii.Error, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _judged(where: str, claims: Mapping[str, Any], audience: str, account: str, now: float) -> CheckResult:
    audiences = _audiences(claims)
    subject = str(claims.get("sub", ""))
    expected = f"system:serviceaccount:{account.replace('/', ':')}"
    if audience not in audiences:
        what = f"is for {', '.join(audiences) or 'no audience'}, and the server asks for {audience}"
        return failed(TOKEN, where, what, f"{_PROJECTED}: {audience}")
    if account and subject != expected:
        do = "serviceAccountName of the agent's pod, or --agent-namespace and --agent-service-account of the server"
        return failed(TOKEN, where, f"is of {subject or 'nobody'}, and the server expects {expected}", do)
    end = _number(claims.get("exp"))
    if end is not None and end < now:
        return failed(
            TOKEN, where, f"has expired at {_moment(end)}", "the kubelet renews a projected token: " + _PROJECTED
        )
    until = "" if end is None else f", valid until {_moment(end)}"
    if end is not None and end - now < SOON_S:
        return warning(TOKEN, where, f"ends in {end - now:.0f} s", "is it renewed? " + _PROJECTED)
    return ok(TOKEN, where, f"for {audience}, of {subject}{until}")


def _clock(where: str, claims: Mapping[str, Any], now: float) -> list[CheckResult]:
    begins = max((_number(claims.get(name)) or 0.0 for name in ("iat", "nbf")), default=0.0)
    if begins <= now + SKEW_S:
        return []
    what = f"the token was issued at {_moment(begins)}, which is {begins - now:.0f} s from now by this machine's clock"
    return [failed(CLOCK, where, what, "set this machine's clock, or that of the API server")]


def _audiences(claims: Mapping[str, Any]) -> list[str]:
    found = claims.get("aud", [])
    return [found] if isinstance(found, str) else [str(each) for each in found] if isinstance(found, list) else []


def _number(value: object) -> float | None:
    return finite(value) if isinstance(value, int | float) else None


def _moment(seconds: float) -> str:
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (ValueError, OverflowError, OSError):
        return f"{seconds:g}"
