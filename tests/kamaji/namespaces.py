"""Network namespaces of a management cluster: a hub, and spokes that reach the hub only.

Owns the namespaces and the file of host names that all of them share. Needs root and the program ip.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

HUB = "192.0.2.1"  # address of the management cluster
_MOUNT_HOSTS = 'mount --bind "$1" /etc/hosts; shift; exec "$@"'


@dataclass(frozen=True)
class Spoke:
    """Namespace with its own address."""

    namespace: str
    address: str


class Namespaces:
    """Hub and spokes. Their names carry the id of this process."""

    def __init__(self, directory: Path) -> None:
        self.hosts = directory / "hosts"
        self.hosts.write_text("127.0.0.1 localhost\n")
        self._made: list[str] = []
        self._links = 0
        self.hub = self._add("hub")
        self.add_address(self.hub, HUB)

    def spoke(self, name: str, *more: str) -> Spoke:
        """Add a namespace that reaches the hub; `more` are addresses to which the hub has no route."""
        self._links += 1
        link, high, low = f"spoke-{self._links}", *divmod(4 * self._links, 256)
        near, far = (f"198.18.{high}.{low + each}" for each in (1, 2))
        inside = self._add(name)
        _ip("-n", self.hub, "link", "add", link, "type", "veth", "peer", "name", "uplink", "netns", inside)
        for namespace, address, device in ((self.hub, near, link), (inside, far, "uplink")):
            _ip("-n", namespace, "address", "add", f"{address}/30", "dev", device)
            _ip("-n", namespace, "link", "set", device, "up")
        _ip("-n", inside, "route", "add", "default", "via", near)
        for each in more:
            self.add_address(inside, each)
        return Spoke(inside, far)

    def add_address(self, namespace: str, address: str) -> None:
        """Add an address to the loopback interface of a namespace."""
        _ip("-n", namespace, "address", "replace", f"{address}/32", "dev", "lo")

    def add_host(self, address: str, *names: str) -> None:
        """Let the names resolve to the address in every namespace, also for programs that are already running."""
        with self.hosts.open("a") as file:
            file.write(f"{address} {' '.join(names)}\n")

    def within(self, namespace: str) -> list[str]:
        """Return the beginning of a command that runs in a namespace, with its host names."""
        nsenter = shutil.which("nsenter") or "nsenter"
        script = ["sh", "-euc", _MOUNT_HOSTS, "sh", str(self.hosts)]
        return [nsenter, f"--net=/run/netns/{namespace}", "unshare", "--mount", *script]

    def remove(self) -> None:
        """Remove all namespaces, and with them their links."""
        for each in reversed(self._made):
            _ip("netns", "delete", each)

    def _add(self, name: str) -> str:
        namespace = f"kamaji-{name}-{os.getpid()}"
        _ip("netns", "add", namespace)
        self._made.append(namespace)
        _ip("-n", namespace, "link", "set", "lo", "up")
        return namespace


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, timeout=10)
