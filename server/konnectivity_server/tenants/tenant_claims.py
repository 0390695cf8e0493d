"""Claims of tenants to what only one tenant may have: server names, authorities, service accounts, unix sockets. Pure.

Two tenants with one authority, or with one service account for the same audience, could not be told apart by their
credentials: the second one is refused. Owns the claims of the tenants that are served.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256

from konnectivity.tls import x509_fields
from konnectivity.tls.pem_files import Bundle
from konnectivity_server.tenants.server_names import normal
from konnectivity_server.tenants.tenant_directory import DeclaredTenant

Claim = tuple[str, str]  # kind, value
SERVER_NAME, AUTHORITY, ISSUED, ISSUER = "server name", "authority", "issued authority", "issuer"


class TenantClaims:
    """Claims of the tenants that are served."""

    def __init__(self) -> None:
        self._holders: dict[Claim, dict[str, None]] = {}
        self._claims: dict[str, frozenset[Claim]] = {}

    def conflict(self, tenant: str, claims: frozenset[Claim]) -> str | None:
        """Return why a tenant may not have its claims, beside those of the other tenants; None if it may."""
        for kind, value in sorted(claims):
            rival = _RIVALS.get(kind, kind)
            for holder in self._holders.get((rival, value), ()):
                if holder != tenant:
                    return f"the {_WORDS.get(kind, kind)} {value!r} belongs to tenant {holder}"
        return None

    def take(self, tenant: str, claims: frozenset[Claim]) -> None:
        """Let a tenant have its claims, in place of those that it had."""
        self.release(tenant)
        self._claims[tenant] = claims
        for claim in claims:
            self._holders.setdefault(claim, {})[tenant] = None

    def holders(self, claim: Claim) -> tuple[str, ...]:
        """Return the tenants that have a claim."""
        return tuple(self._holders.get(claim, ()))

    def release(self, tenant: str) -> None:
        """Take the claims of a tenant away."""
        for claim in self._claims.pop(tenant, ()):
            holders = self._holders[claim]
            del holders[tenant]
            if not holders:
                del self._holders[claim]


def claims_of(declared: DeclaredTenant) -> frozenset[Claim]:
    """Return what a tenant claims for itself alone."""
    options = declared.options
    found: set[Claim] = {(SERVER_NAME, normal(name)) for name in (*options.server_names, *options.frontend_names)}
    agents, frontends = declared.agents.bundle, declared.frontends.bundle if declared.frontends is not None else None
    for bundle in (agents, frontends if frontends is not agents else None):
        if bundle is not None:
            found |= set(_authorities(bundle))
    if options.reviews_tokens:
        account = f"{options.agent_namespace}:{options.agent_service_account} for {options.authentication_audience}"
        found.add(("service account", f"{account} of {declared.api}"))
    found |= set(map(admin_token, options.admin_token_sha256))
    if options.uds_name:
        found.add(("unix socket", options.uds_name))
    return frozenset(found)


def admin_token(digest: str) -> Claim:
    """Return the claim to an admin token, which shows a part of its digest."""
    return "admin token with the digest", f"{digest[:16]}..."


def _authorities(bundle: Bundle) -> Iterator[Claim]:
    """Yield the key of each authority, and the names by which one authority may have issued another one."""
    for der in bundle.certificates:
        shown = x509_fields.parse(der)
        yield AUTHORITY, f"{shown.subject} (key {sha256(x509_fields.public_key(der)).hexdigest()[:16]})"
        yield ISSUER, shown.subject
        if shown.issuer != shown.subject:
            yield ISSUED, shown.issuer


# A tenant that trusts an authority trusts the authorities that it issued, too. Authorities of one name are no rivals.
_RIVALS = {ISSUED: ISSUER, ISSUER: ISSUED}
_WORDS = {ISSUED: "issuer of an authority", ISSUER: "issuer of an authority"}
