"""Claims that a service account token makes of itself, read without a check of its signature. Pure.

Good for the order of reviews and for the time a verdict is kept; never for a decision to accept.
"""

from __future__ import annotations

import base64
import math
from typing import NamedTuple

import msgspec


class Claims(NamedTuple):
    """Unverified claims of a token; empty or None where the token has none."""

    audiences: tuple[str, ...] = ()
    namespace: str = ""
    account: str = ""
    account_uid: str = ""
    expires: float | None = None  # seconds since 1970


class _Account(msgspec.Struct):
    name: str = ""
    uid: str = ""


class _Kubernetes(msgspec.Struct):
    namespace: str = ""
    serviceaccount: _Account = msgspec.field(default_factory=_Account)


class _Payload(msgspec.Struct):
    aud: str | list[str] = msgspec.field(default_factory=list[str])
    exp: int | float | None = None
    kubernetes: _Kubernetes = msgspec.field(default_factory=_Kubernetes, name="kubernetes.io")


_DECODER = msgspec.json.Decoder(_Payload)


def claims_of(token: str) -> Claims:
    """Return what a token says; nothing if it is no JWT. Takes time in proportion to the token's length."""
    parts = token.split(".", 3)
    if len(parts) != 3:
        return Claims()
    try:
        found = _DECODER.decode(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        expires = None if found.exp is None else float(found.exp)
    except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError):
        return Claims()
    if expires is not None and not math.isfinite(expires):
        expires = None
    account = found.kubernetes.serviceaccount
    audiences = (found.aud,) if isinstance(found.aud, str) else tuple(found.aud)
    return Claims(audiences, found.kubernetes.namespace, account.name, account.uid, expires)
