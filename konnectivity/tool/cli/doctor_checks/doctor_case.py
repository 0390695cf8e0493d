"""Request to the doctor (programs, hosts, time limits), and checks of a program's options alone."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field

from konnectivity import tls
from konnectivity.runtime.options import Options, declared
from konnectivity.runtime.options.value_checks import existing_file
from konnectivity.tool.admin_client import AdminClient
from konnectivity.tool.check_results import CheckResult, failed, ok
from konnectivity.tool.pki import certificate_check

DEFAULT_AUDIENCE = "system:konnectivity-server"
_OPEN = ("", "0.0.0.0", "::", "[::]")  # noqa: S104 - compared with, not bound to  # nosec


@dataclass(frozen=True)
class Case:
    """Request to the doctor, without the programs' arguments."""

    clock: certificate_check.Clock
    timeout_s: float
    kubeconfig: str = ""
    token: str = ""  # file
    audience: str = DEFAULT_AUDIENCE
    account: str = ""  # namespace/name
    admins: tuple[str, ...] = ()
    expected: tuple[str, ...] = ()
    agent_hosts: tuple[str, ...] = ()  # hosts that agents dial and the server's certificate must name
    client: AdminClient = field(default_factory=AdminClient)  # of the admin ports
    tenant: str = ""  # tenant of a server with --tenants; empty: the servers serve one cluster

    @property
    def now(self) -> float:
        return self.clock.now.timestamp()


def options(program: str, given: Options, problems: Sequence[str]) -> list[CheckResult]:
    """Report options that the program would refuse, and files that do not exist."""
    results = [failed("options", program, each, "correct it: the program does not start") for each in problems]
    for each in declared(type(given)):
        path = getattr(given, each.field)
        if each.check is existing_file and path and (why := existing_file(path)):
            do = "check the path, the mounts, and who may read it"
            results.append(failed("file", f"--{each.flag}", f"{path}: {why.partition(';')[0]}", do))
    return [*(results or [ok("options", program, "the program takes them")]), _key_exchange()]


def _key_exchange() -> CheckResult:
    """Report whether this Python's TLS offers the hybrid key exchange that Go's TLS offers since version 1.24."""
    what = tls.key_exchange()
    return ok("key-exchange", "TLS of this Python", f"{what} ({ssl.OPENSSL_VERSION})")


def here(host: str) -> str:
    """Return the address by which a listener on `host` is reached from the same machine."""
    return "127.0.0.1" if host in _OPEN else host


def there(*paths: str) -> bool:
    """Return whether every path is set and names a file."""
    return all(path and not existing_file(path) for path in paths)
