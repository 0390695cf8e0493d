"""Rules for agents' tokens: how a request must show a token, and which reviewed tokens are accepted. Pure.

Owns the words of each refusal. Does not know how a token is reviewed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from konnectivity.grpc.metadata import Metadata
from konnectivity.grpc.status import Code
from konnectivity.kube.api_error import KubeError
from konnectivity_server.agents.credential_identity import Pod
from konnectivity_server.agents.token_claims import Claims

if TYPE_CHECKING:
    from konnectivity.kube.api_answers import Review

AUTHORIZATION = "authorization"
BEARER = "Bearer "
MAX_TOKEN = 8 * 1024  # characters
MAX_ERROR = 300  # characters of the API's words in a refusal


class TokenRefusal(NamedTuple):
    """Refusal of a token: `reason` is a metric label, `text` is for the agent, `detail` for the log."""

    reason: str
    text: str
    detail: str = ""
    code: Code = Code.UNKNOWN


class TokenVerdict(NamedTuple):
    """Verdict on a token: the user, or a refusal."""

    user: str
    refusal: TokenRefusal | None = None
    pod: Pod | None = None


class ExpectedAccount(NamedTuple):
    """Service account whose tokens are accepted, and the audience that they must be for."""

    namespace: str
    service_account: str
    audience: str

    def named_by(self, claims: Claims) -> bool:
        """Return whether a token claims to be of this account and for this audience."""
        account = (claims.namespace, claims.account)
        return self.audience in claims.audiences and account == (self.namespace, self.service_account)

    def refusal(self, review: Review) -> TokenRefusal | None:
        """Return why a reviewed token is refused, or None."""
        if review.error:
            return TokenRefusal("invalid", f"the token is not valid: {review.error[:MAX_ERROR]}")
        if not review.authenticated:
            return TokenRefusal("invalid", "the token is not valid")
        if self.audience not in review.audiences:
            # An API that does not support audiences returns none: then the token's audience has not been checked.
            return TokenRefusal("audience", f"the token is not for the audience {self.audience!r}")
        return self._user_refusal(review.user)

    def _user_refusal(self, user: str) -> TokenRefusal | None:
        parts = user.split(":")
        if len(parts) != 4:
            return TokenRefusal("user", f"unexpected user name {user!r}")
        if parts[:2] != ["system", "serviceaccount"]:
            return TokenRefusal("user", f"user {user!r} is no service account")
        if parts[2] != self.namespace:
            text = f"the service account is of namespace {parts[2]!r}, not {self.namespace!r}"
            return TokenRefusal("namespace", text)
        if parts[3] != self.service_account:
            text = f"the service account is {parts[3]!r}, not {self.service_account!r}"
            return TokenRefusal("service_account", text)
        return None


def token_of(metadata: Metadata) -> str | TokenRefusal:
    """Return the token that an agent sent, or the refusal of a request that shows none properly."""
    values = metadata.get_all(AUTHORIZATION)
    if not values:
        return TokenRefusal("missing", "Authentication context was not found in metadata")
    if len(values) > 1:
        return TokenRefusal("several", f"too many ({len(values)}) tokens are received")
    if len(values[0]) > MAX_TOKEN:
        text = f"the token has {len(values[0])} characters; at most {MAX_TOKEN} are allowed"
        return TokenRefusal("length", text)
    token = values[0].removeprefix(BEARER).strip()
    if not values[0].startswith(BEARER) or not token:
        return TokenRefusal("scheme", f"the token has to follow {BEARER!r}")
    if not (token.isascii() and token.isprintable()):
        return TokenRefusal("scheme", "the token has characters that no token has")
    return token


BUSY = TokenRefusal("busy", "too many agents at once, come back later", code=Code.UNAVAILABLE)
FAILED = TokenRefusal("error", "the server could not check the token; its log says more")


def refusal_of_error(error: KubeError) -> TokenRefusal:
    """Return the refusal of a token that the Kubernetes API could not review."""
    what = f"{error.code} {error.reason}" if error.code else error.reason
    text = f"the Kubernetes API could not check the token ({what}); the proxy server's log says more"
    busy = error.code == 429 or error.reason == "Throttled"
    return TokenRefusal("api", text, f"cannot check the token: {error}", Code.UNAVAILABLE if busy else Code.UNKNOWN)
