"""Identity that an agent's credential vouches for, and the claims of the agent that exceed it. Pure.

A claim is an address, a name, a network, or the default route (`agent_identifiers`). Claims are compared as the
registry reads them: `ipv4=node-1` is a name, `host=10.0.0.7` an address.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any, NamedTuple

from konnectivity_server.agents import agent_identifiers
from konnectivity_server.agents.agent_identifiers import Identifiers
from konnectivity_server.registry import canonical

NONE, CERTIFICATE, TOKEN = "none", "certificate-san", "token"
MODES = (NONE, CERTIFICATE, TOKEN)
GRANT = "konnectivity:"  # a URI in a certificate; what follows is written like --agent-identifiers
_NODE, _NODES = "system:node:", "system:nodes"  # user prefix and group in certificates of kubelets
_EXTRA = "authentication.kubernetes.io/"
MAX_SHOWN = 5  # claims in a text

Network = IPv4Network | IPv6Network
Certificate = Mapping[str, Any]  # as `ssl.SSLSocket.getpeercert` has it


class Pod(NamedTuple):
    """Pod that a token is bound to, and its node, as the token's review names them; empty if it names none."""

    namespace: str
    name: str
    uid: str
    node: str


class Account(NamedTuple):
    """Account of a reviewed token."""

    user: str
    pod: Pod | None = None


class Claim(NamedTuple):
    """Claim of an agent; its kind is a key of `--agent-identifiers`."""

    kind: str
    value: str

    def __str__(self) -> str:
        return f"{self.kind}={self.value}"


def pod_of(namespace: str, extra: Mapping[str, tuple[str, ...]]) -> Pod | None:
    """Return the pod that a reviewed token's `extra` names, or None if the token is bound to no pod."""

    def one(name: str) -> str:
        values = extra.get(f"{_EXTRA}{name}", ())
        return values[0] if len(values) == 1 else ""

    pod = Pod(namespace, one("pod-name"), one("pod-uid"), one("node-name"))
    return pod if pod.name and pod.uid else None


def of_certificate(certificate: Certificate | None) -> Identifiers:
    """Return what a verified certificate vouches for: its SANs, its node, and its `konnectivity:` URIs."""
    found = [Identifiers(host=tuple(_node_names(certificate or {})))]
    for kind, value in (certificate or {}).get("subjectAltName", ()):
        if kind == "IP Address":
            found.append(Identifiers(ipv4=(value,)))
        elif kind == "DNS":
            found.append(Identifiers(host=(value,)))
        elif kind == "URI" and value.startswith(GRANT):
            found.append(_granted(value.removeprefix(GRANT)))
    return merged(*found)


def merged(*each: Identifiers) -> Identifiers:
    """Return the union of some identifiers."""
    return Identifiers(
        ipv4=tuple(value for one in each for value in one.ipv4),
        ipv6=tuple(value for one in each for value in one.ipv6),
        host=tuple(value for one in each for value in one.host),
        cidr=tuple(value for one in each for value in one.cidr),
        default_route=any(one.default_route for one in each),
    )


def holder(certificate: Certificate | None, account: Account | None) -> str:
    """Return the holder of a credential, which stays the same when the credential is renewed."""
    parts = []
    if certificate:
        subject = [f"{key}={value}" for group in certificate.get("subject", ()) for key, value in group]
        names = [f"{kind}={value}" for kind, value in certificate.get("subjectAltName", ())]
        parts.append(f"certificate {','.join(subject)} ({' '.join(names) or 'no names'})")
    if account is not None and account.user:
        node = f" on node {account.pod.node}" if account.pod is not None and account.pod.node else ""
        parts.append(f"token of {account.user}{node}")
    return ", ".join(parts)


def excess(claimed: Identifiers, granted: Identifiers) -> list[Claim]:
    """Return the claims that are not granted."""
    addresses = {canonical(each) for each in granted.addresses}
    networks = [network for network in map(_network, granted.cidr) if network is not None]
    return [claim for claim in claims(claimed) if not _covers(addresses, networks, granted.default_route, claim)]


def claims(names: Identifiers) -> Iterator[Claim]:
    """Yield the claims one by one."""
    for kind in ("ipv4", "ipv6", "host", "cidr"):
        for value in getattr(names, kind):
            yield Claim(kind, value)
    if names.default_route:
        yield Claim("default-route", "true")


def shown(found: list[Claim]) -> str:
    """Return claims as a text for people, of bounded length."""
    listed = [str(each)[:300] for each in found[:MAX_SHOWN]]
    rest = len(found) - len(listed)
    return " ".join(listed) + (f" and {rest} more" if rest else "")


def _covers(addresses: set[str], networks: list[Network], default_route: bool, claim: Claim) -> bool:
    if claim.kind == "default-route":
        return default_route
    if claim.kind != "cidr" and canonical(claim.value) in addresses:
        return True
    network = _network(claim.value if claim.kind == "cidr" else canonical(claim.value))
    if network is None:
        return False
    if network.num_addresses == 1 and str(network.network_address) in addresses:
        return True
    return any(_within(network, each) for each in networks)


def _within(inner: Network, outer: Network) -> bool:
    first, last = inner.network_address, inner.broadcast_address
    return inner.version == outer.version and first in outer and last in outer


def _network(text: str) -> Network | None:
    try:
        return ip_network(text, strict=False)
    except ValueError:
        return None


def _granted(text: str) -> Identifiers:
    try:
        return agent_identifiers.parse(text)
    except ValueError:
        return Identifiers()


def _node_names(certificate: Certificate) -> Iterator[str]:
    subject = [pair for group in certificate.get("subject", ()) for pair in group]
    if ("organizationName", _NODES) in subject:
        for key, value in subject:
            if key == "commonName" and value.startswith(_NODE) and value != _NODE:
                yield value.removeprefix(_NODE)
