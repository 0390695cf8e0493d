"""Addresses of Services by the Kubernetes API, for names `service.namespace` and `service.namespace.svc`.

Owns the kept addresses. Does not know who needs them.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Protocol

from konnectivity.net.addresses import is_address
from konnectivity.untrusted.bounded_map import BoundedMap

KEPT_S = 5.0  # seconds
MAX_SERVICES, MAX_BYTES = 4096, 1024 * 1024
_SVC = "svc"


class ServiceLookup(Protocol):
    """Kubernetes API, of `konnectivity.kube`."""

    async def get_service_addresses(self, namespace: str, name: str) -> tuple[str, ...] | None: ...


class ServiceAddresses:
    """Addresses of Services.

    Args:
        client: the API.
        clock: seconds, monotonic.

    """

    def __init__(self, client: ServiceLookup, clock: Callable[[], float] = monotonic) -> None:
        self._client = client
        self._clock = clock
        self._kept: BoundedMap[str, tuple[tuple[str, ...], float]] = BoundedMap(MAX_SERVICES, MAX_BYTES)

    async def addresses(self, host: str) -> list[str]:
        """Return the cluster addresses of a Service, IPv4 first; empty if the name is none of a Service with addresses.

        Raises:
            KubeError: the API does not answer.

        """
        labels = host.rstrip(".").lower().split(".")
        if len(labels) < 2 or (len(labels) > 2 and labels[2] != _SVC):
            return []
        key = f"{labels[1]}/{labels[0]}"
        kept = self._kept.get(key)
        if kept is None or self._clock() - kept[1] >= KEPT_S:
            found = await self._client.get_service_addresses(labels[1], labels[0])
            usable = tuple(sorted(filter(is_address, found or ()), key=lambda address: ":" in address))
            kept = usable, self._clock()
            self._kept[key] = kept
        return list(kept[0])
