"""Claims of a service account token, read without a check of its signature. Pure.

They decide the order of reviews and how long a verdict is kept, and never whether a token is accepted.
"""

from __future__ import annotations

import base64
from typing import NamedTuple

from konnectivity.kube.json_object import JsonObject, decode


class Claims(NamedTuple):
    """Unverified claims of a token; empty or None where the token has none."""

    audiences: tuple[str, ...] = ()
    namespace: str = ""
    account: str = ""
    account_uid: str = ""
    expires: float | None = None  # seconds since 1970


def claims_of(token: str) -> Claims:
    """Return the claims of a token, empty if it is no JWT, in time proportional to the token's length."""
    parts = token.split(".", 3)
    if len(parts) != 3:
        return Claims()
    try:
        return _claims(decode(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4))))
    except ValueError:
        return Claims()


def _claims(payload: JsonObject) -> Claims:
    kubernetes = payload.object("kubernetes.io")
    account = kubernetes.object("serviceaccount")
    single = isinstance(payload.fields.get("aud"), str)
    audiences = (payload.text("aud"),) if single else payload.texts("aud")
    expires = payload.number("exp")
    return Claims(audiences, kubernetes.text("namespace"), account.text("name"), account.text("uid"), expires)
