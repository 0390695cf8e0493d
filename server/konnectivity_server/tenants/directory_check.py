"""Check of a directory of tenants without a server: which tenants would be served, and why others would not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from konnectivity.net.error_texts import words_of
from konnectivity.untrusted.untrusted_text import visible
from konnectivity_server.tenants.tenant_claims import TenantClaims, claims_of
from konnectivity_server.tenants.tenant_directory import TenantDirectory, TenantError

if TYPE_CHECKING:
    from konnectivity_server.server_options import ServerOptions


def verdicts(options: ServerOptions) -> Iterator[tuple[str, str]]:
    """Yield each tenant of the directory with the reason why it would be refused; empty: it would be served."""
    directory, claims = TenantDirectory(options), TenantClaims()
    try:
        found = directory.names()
    except OSError as error:
        yield options.tenants, f"cannot be read: {words_of(error)}"
        return
    for name, path in found.items():
        try:
            declared = directory.read(name, path)
            own = claims_of(declared)
            why = claims.conflict(name, own) or ""
            claims.take(name, own)
        except TenantError as error:
            why = str(error)
        yield name, why


def report(options: ServerOptions) -> tuple[str, bool]:
    """Return one line for each tenant, and whether all would be served."""
    found = list(verdicts(options))
    lines = [
        f"# tenant {visible(name)}: {f'refused: {visible(why)}' if why else 'can be served'}" for name, why in found
    ]
    return "".join(f"{line}\n" for line in lines), not any(why for _, why in found)
