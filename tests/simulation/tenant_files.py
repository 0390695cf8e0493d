"""Files of the tenants of a simulated server, and the names by which their clients ask for them.

A name carries the address of its machine, since nothing in a simulation answers questions about names.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from simulation.pki_files import DIRECTORY, pki_files

_NAME = re.compile(r"[a-z0-9-]+\.(\d+)-(\d+)-(\d+)-(\d+)\.test")


def directory_of(server: str) -> str:
    """Return the directory of the tenants of a server, in the directory of the run."""
    return f"tenants-{server}"


def host_name(tenant: str, host: str) -> str:
    """Return the TLS server name of a tenant on a machine; without a tenant the address itself."""
    return f"{tenant}.{host.replace('.', '-')}.test" if tenant else host


def address_in(name: str) -> str | None:
    """Return the address that a name carries, or None."""
    found = _NAME.fullmatch(name)
    return ".".join(found.groups()) if found else None


def write(server: str, host: str, tenant: str, socket: str, changes: int = 0) -> None:
    """Declare a tenant; another number of changes makes other options, so that the tenant is replaced."""
    folder = Path(directory_of(server), tenant)
    folder.mkdir(parents=True, exist_ok=True)
    ca, _, _ = pki_files(DIRECTORY.with_name(f"{DIRECTORY.name}-{tenant}"))
    lines = {
        "server-names": host_name(tenant, host),
        "cluster-ca-cert": ca,
        "server-ca-cert": ca,
        "uds-name": socket,
        "delete-existing-uds-file": "true",
        "max-connections": str(1000 + changes),
    }
    made = folder / "new"
    made.write_text("".join(f"{name}: {value}\n" for name, value in lines.items()))
    made.rename(folder / "tenant.yaml")


def remove(server: str, tenant: str) -> None:
    """Declare a tenant no more; that may have happened before."""
    shutil.rmtree(Path(directory_of(server), tenant), ignore_errors=True)
