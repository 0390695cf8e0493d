"""Reader of Kamaji's TenantControlPlane: the konnectivity addon with Kamaji's defaults and rules, and related fields.

Errors name the path of the field. Fields that are not used here are ignored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from konnectivity.tool.manifests import agent_objects, server_pod
from konnectivity.tool.manifests.object_names import AGENT_PORT, ManifestError, Object

API_VERSION = "kamaji.clastix.io/v1alpha1"
KIND = "TenantControlPlane"
SERVER_IMAGE = "registry.k8s.io/kas-network-proxy/proxy-server"
AGENT_IMAGE = "registry.k8s.io/kas-network-proxy/proxy-agent"
DEFAULT_REPLICAS = 2

T = TypeVar("T")


@dataclass(frozen=True)
class ServerAddon:
    """Fields of `spec.addons.konnectivity.server`."""

    port: int = AGENT_PORT
    image: str = SERVER_IMAGE
    version: str = ""
    resources: Object | None = None
    extra_args: Sequence[str] = ()
    security_context: Object | None = None


@dataclass(frozen=True)
class AgentAddon:
    """Fields of `spec.addons.konnectivity.agent`."""

    image: str = AGENT_IMAGE
    version: str = ""
    tolerations: Sequence[Object] = (agent_objects.CRITICAL_ONLY,)
    extra_args: Sequence[str] = ()
    host_network: bool = False
    mode: str = agent_objects.DAEMON_SET
    replicas: int | None = None


@dataclass(frozen=True)
class Addon:
    """Fields of an existing `spec.addons.konnectivity`."""

    server: ServerAddon = field(default_factory=ServerAddon)
    agent: AgentAddon = field(default_factory=AgentAddon)


@dataclass(frozen=True)
class Gateway:
    """Fields of `spec.controlPlane.gateway`."""

    hostname: str
    parents: Sequence[Object]


@dataclass(frozen=True)
class Tenant:
    """Fields that decide about server and agent."""

    name: str
    namespace: str
    kubernetes_version: str
    replicas: int
    address: str  # address at which agents reach the server; empty: not known yet
    service_type: str
    gateway: Gateway | None
    addon: Addon | None  # absent: disabled


class _Fields:
    """Object of the file with its path. Every read checks the type."""

    def __init__(self, value: Any, path: str) -> None:
        if not isinstance(value, dict):
            raise ManifestError(f"{path}: must be an object, not {_kind(value)}")
        self._value = value
        self._path = path

    def within(self, name: str) -> _Fields:
        """Return the fields of an object that may be absent or null."""
        value = self._value.get(name)
        return _Fields({} if value is None else value, self.path(name))

    def has(self, name: str) -> bool:
        return self._value.get(name) is not None

    def path(self, name: str) -> str:
        return f"{self._path}.{name}".lstrip(".")

    def get(self, name: str, type_: type[T], default: T) -> T:
        value = self._value.get(name)
        if value is None:
            return default
        if not isinstance(value, type_) or (isinstance(value, bool) and type_ is not bool):
            raise ManifestError(f"{self.path(name)}: must be {_word(type_)}, not {_kind(value)}")
        return value

    def listed(self, name: str, type_: type[T], default: Sequence[T]) -> Sequence[T]:
        """Return a list whose items have one type."""
        if not self.has(name):
            return default
        values: list[Any] = self.get(name, list, [])
        for at, value in enumerate(values):
            if not isinstance(value, type_):
                raise ManifestError(f"{self.path(name)}[{at}]: must be {_word(type_)}, not {_kind(value)}")
        return values

    def only(self, *known: str) -> None:
        unknown = [name for name in self._value if name not in known]
        if unknown:
            raise ManifestError(f"{self.path(str(unknown[0]))}: no such field; there are {', '.join(known)}")


def parse(manifest: object) -> Tenant:
    """Return a tenant control plane.

    Raises:
        ManifestError: the object is of another kind, or the addon breaks a rule of Kamaji or of the server.

    """
    top = _Fields(manifest, "")
    kind = f"{top.get('apiVersion', str, '')} {top.get('kind', str, '')}"
    if kind != f"{API_VERSION} {KIND}":
        raise ManifestError(f"is {kind.strip() or 'of no kind'}, not {API_VERSION} {KIND}")
    head, spec = top.within("metadata"), top.within("spec")
    name = head.get("name", str, "")
    if not name:
        raise ManifestError("metadata.name: is needed")
    control_plane, addons = spec.within("controlPlane"), spec.within("addons")
    gateway = _gateway(control_plane.within("gateway")) if control_plane.has("gateway") else None
    return Tenant(
        name=name,
        namespace=head.get("namespace", str, "default"),
        kubernetes_version=spec.within("kubernetes").get("version", str, ""),
        replicas=control_plane.within("deployment").get("replicas", int, DEFAULT_REPLICAS),
        address=_address(top, gateway),
        service_type=control_plane.within("service").get("serviceType", str, ""),
        gateway=gateway,
        addon=_addon(addons) if addons.has("konnectivity") else None,
    )


def _gateway(fields: _Fields) -> Gateway | None:
    hostname = fields.get("hostname", str, "").partition(":")[0]
    return Gateway(hostname, fields.listed("parentRefs", dict, ())) if hostname else None


def _address(top: _Fields, gateway: Gateway | None) -> str:
    """Return the address that Kamaji chooses: the gateway's name, the advertised or the assigned address."""
    network = top.within("spec").within("networkProfile")
    endpoint = top.within("status").get("controlPlaneEndpoint", str, "")
    return (
        (gateway.hostname if gateway else "")
        or network.get("advertiseAddress", str, "")
        or endpoint.rpartition(":")[0].strip("[]")
        or network.get("address", str, "")
    )


def _addon(addons: _Fields) -> Addon:
    found = addons.within("konnectivity")
    found.only("server", "agent")
    return Addon(
        server=_server(found.within("server")) if found.has("server") else ServerAddon(),
        agent=_agent(found.within("agent")),
    )


def _server(fields: _Fields) -> ServerAddon:
    fields.only("port", "image", "version", "resources", "extraArgs", "securityContext")
    if not fields.has("port"):
        raise ManifestError(f"{fields.path('port')}: is needed where server is given")
    port = fields.get("port", int, AGENT_PORT)
    try:
        server_pod.check_port(port)
    except ManifestError as error:
        raise ManifestError(f"{fields.path('port')}: {error}") from None
    return ServerAddon(
        port=port,
        image=fields.get("image", str, SERVER_IMAGE),
        version=fields.get("version", str, ""),
        resources=_resources(fields),
        extra_args=fields.listed("extraArgs", str, ()),
        security_context=fields.get("securityContext", dict, {}) if fields.has("securityContext") else None,
    )


def _agent(fields: _Fields) -> AgentAddon:
    fields.only("image", "version", "tolerations", "extraArgs", "hostNetwork", "mode", "replicas")
    mode = fields.get("mode", str, agent_objects.DAEMON_SET)
    replicas = fields.get("replicas", int, 0) if fields.has("replicas") else None
    try:
        agent_objects.check_replicas(mode, replicas)
    except ManifestError as error:
        raise ManifestError(
            f"{fields.path('mode' if mode not in agent_objects.MODES else 'replicas')}: {error}"
        ) from None
    return AgentAddon(
        image=fields.get("image", str, AGENT_IMAGE),
        version=fields.get("version", str, ""),
        tolerations=fields.listed("tolerations", dict, (agent_objects.CRITICAL_ONLY,)),
        extra_args=fields.listed("extraArgs", str, ()),
        host_network=fields.get("hostNetwork", bool, False),
        mode=mode,
        replicas=replicas,
    )


def _resources(fields: _Fields) -> Object | None:
    if not fields.has("resources"):
        return None
    fields.within("resources").only("limits", "requests", "claims")
    return fields.get("resources", dict, {})


def _kind(value: object) -> str:
    return "nothing" if value is None else _word(type(value))


def _word(type_: type) -> str:
    words = {dict: "an object", list: "a list", str: "a text", bool: "true or false", int: "a whole number"}
    return words.get(type_, type_.__name__)
