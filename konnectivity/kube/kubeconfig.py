"""Where the Kubernetes API is and how to log in: kubeconfig files, or a pod's service account.

Reads and checks; opens no connection. The shape of the files is lightkube's, with the fields that it leaves out.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import msgspec
import yaml
from lightkube.config import models

from konnectivity.kube.api_error import KubeError
from konnectivity.untrusted.file_content import read_file

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
DEFAULT_FILE = "~/.kube/config"
EXEC_VERSIONS = ("client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1")


class Material(NamedTuple):
    """A certificate, a key or a CA bundle: a file, or what was written into the kubeconfig itself."""

    what: str
    path: str = ""
    data: bytes = b""

    def read(self) -> bytes:
        """Raises:
        KubeError: the file cannot be read.

        """
        if not self.path:
            return self.data
        try:
            return read_file(self.path)
        except OSError as error:
            raise KubeError(f"cannot read {self.what} {self.path!r}: {error.strerror}") from error


class Plugin(NamedTuple):
    """A program that prints a credential."""

    command: str
    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    version: str  # of the API it speaks
    hint: str  # what the kubeconfig says about installing it
    cluster: Mapping[str, object] | None  # told to it, if it wants to know


@dataclass(frozen=True)
class Access:
    """How to reach the API. At most one of token, token_file, plugin and basic is set."""

    source: str  # where all of it comes from
    server: str
    ca: Material | None = None  # None: the system's
    insecure: bool = False
    server_name: str = ""  # that the API's certificate has to name, if not the host of `server`
    proxy: str = ""
    certificate: Material | None = None
    key: Material | None = None
    token: str = field(default="", repr=False)
    token_file: str = ""
    plugin: Plugin | None = None
    basic: tuple[str, str] | None = field(default=None, repr=False)


def load(path: str = "", environ: Mapping[str, str] = os.environ, service_account: Path = SERVICE_ACCOUNT) -> Access:
    """The access that a kubeconfig describes; without `path`: a pod's service account, else the user's kubeconfig.

    Raises:
        KubeError: there is none, or it is not usable.

    """
    if path:
        return from_files([path])
    host, port = environ.get("KUBERNETES_SERVICE_HOST"), environ.get("KUBERNETES_SERVICE_PORT")
    if host and port and os.path.exists(service_account / "token"):
        return in_cluster(host, port, service_account)
    named = [each for each in environ.get("KUBECONFIG", "").split(os.pathsep) if each]
    found = [each for each in named or [os.path.expanduser(DEFAULT_FILE)] if os.path.exists(each)]
    if not found:
        tried = ", ".join(named) or DEFAULT_FILE
        raise KubeError(f"no --kubeconfig, no service account at {service_account}, and no kubeconfig at {tried}")
    return from_files(found)


def in_cluster(host: str, port: str, service_account: Path) -> Access:
    """What every pod has."""
    return Access(
        source=f"the service account at {service_account}",
        server=f"https://{f'[{host}]' if ':' in host else host}:{port}",
        ca=Material("CA bundle", str(service_account / "ca.crt")),
        token_file=str(service_account / "token"),
    )


def from_files(paths: Sequence[str]) -> Access:
    """The current context of one kubeconfig, or of several of which the first to name something wins. Same errors."""
    files = [(path, _parse(path)) for path in paths]
    source = paths[0] if len(paths) == 1 else ":".join(paths)
    name = next((content.current_context for _, content in files if content.current_context), "")
    if not name:
        raise KubeError(f"kubeconfig {source}: there is no current-context")
    _, context = _named(source, "context", name, [(path, file.contexts) for path, file in files])
    path, cluster = _named(source, "cluster", context.cluster or "", [(path, file.clusters) for path, file in files])
    access = _cluster(_KubeconfigReader(path, f"cluster {context.cluster!r}"), cluster)
    if not context.user:
        return Access(source, **access)
    path, user = _named(source, "user", context.user, [(path, file.users) for path, file in files])
    return Access(source, **access, **_user(_KubeconfigReader(path, f"user {context.user!r}"), user, cluster))


# The library insists on fields that one file may lack and the next one of the list has: hence the ignores.
class _Cluster(models.Cluster, omit_defaults=True):
    server: str | None = None  # type: ignore[assignment]
    insecure: bool | None = msgspec.field(name="insecure-skip-tls-verify", default=None)  # type: ignore[assignment]
    server_name: str | None = msgspec.field(name="tls-server-name", default=None)
    proxy: str | None = msgspec.field(name="proxy-url", default=None)


class _Exec(models.UserExec, omit_defaults=True):
    interactive: str | None = msgspec.field(name="interactiveMode", default=None)
    wants_cluster: bool | None = msgspec.field(name="provideClusterInfo", default=None)


class _User(models.User, omit_defaults=True):
    exec: _Exec | None = None
    impersonate: str | None = msgspec.field(name="as", default=None)


class _Context(models.Context, omit_defaults=True):
    cluster: str | None = None  # type: ignore[assignment]


class _NamedCluster(msgspec.Struct):
    name: str
    cluster: _Cluster | None = None


class _NamedUser(msgspec.Struct):
    name: str
    user: _User | None = None


class _NamedContext(msgspec.Struct):
    name: str
    context: _Context | None = None


class _KubeconfigFile(msgspec.Struct):
    clusters: list[_NamedCluster] | None = None
    users: list[_NamedUser] | None = None
    contexts: list[_NamedContext] | None = None
    current_context: str | None = msgspec.field(name="current-context", default=None)


def _parse(path: str) -> _KubeconfigFile:
    try:
        text = read_file(path)
    except OSError as error:
        raise KubeError(f"cannot read kubeconfig {path!r}: {error.strerror}") from error
    try:
        return msgspec.convert(yaml.safe_load(text) or {}, _KubeconfigFile)
    except yaml.MarkedYAMLError as error:
        where = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise KubeError(f"kubeconfig {path} is no YAML: {where}{error.problem}") from error
    except msgspec.ValidationError as error:
        raise KubeError(f"kubeconfig {path}: {error}") from error
    except (yaml.YAMLError, ValueError) as error:  # not even text, or a date that there is not
        raise KubeError(f"kubeconfig {path} is no YAML: {str(error).splitlines()[0]}") from error
    except RecursionError as error:
        raise KubeError(f"kubeconfig {path} is nested too deeply") from error


def _named(source: str, kind: str, name: str, lists: Sequence[tuple[str, Sequence[Any] | None]]) -> tuple[str, Any]:
    """The first item of that name, and its file."""
    for path, items in lists:
        for item in items or ():
            if item.name == name and getattr(item, kind) is not None:
                return path, getattr(item, kind)
    raise KubeError(f"kubeconfig {source}: there is no {kind} {name!r}")


class _KubeconfigReader(NamedTuple):
    """Where a part of a kubeconfig stands."""

    path: str
    part: str

    def error(self, text: str) -> KubeError:
        return KubeError(f"kubeconfig {self.path}: {self.part}: {text}")

    def file(self, path: str) -> str:
        """A path in the kubeconfig is relative to that."""
        return os.path.join(os.path.dirname(os.path.abspath(self.path)), path)

    def material(self, what: str, key: str, path: str | None, data: str | None) -> Material | None:
        if data:
            try:
                return Material(f"{key}-data of {self.part} in {self.path}", data=base64.b64decode(data, validate=True))
            except ValueError as error:
                raise self.error(f"{key}-data is no base64: {error}") from error
        return Material(what, self.file(path)) if path else None


def _names_a_host(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and parts.port != 0
    except ValueError:  # brackets that do not close, a port that is no number or too large
        return False


def _cluster(reader: _KubeconfigReader, cluster: _Cluster) -> dict[str, Any]:
    ca = reader.material("CA bundle", "certificate-authority", cluster.certificate_auth, cluster.certificate_auth_data)
    if not cluster.server:
        raise reader.error("there is no server")
    if ca is not None and cluster.insecure:
        raise reader.error("insecure-skip-tls-verify beside a certificate authority makes no sense")
    server = cluster.server if "://" in cluster.server else f"https://{cluster.server}"
    if not server.startswith(("https://", "http://")):
        raise reader.error(f"server {server!r} is neither https:// nor http://")
    if not _names_a_host(server):
        raise reader.error(f"server {server!r} is no URL of a host, with a port from 1 to 65535 if it has one")
    return {
        "server": server.rstrip("/"),
        "ca": ca,
        "insecure": bool(cluster.insecure),
        "server_name": cluster.server_name or "",
        "proxy": cluster.proxy or "",
    }


def _user(reader: _KubeconfigReader, user: _User, cluster: _Cluster) -> dict[str, Any]:
    for name, value in (("auth-provider", user.auth_provider), ("as", user.impersonate)):
        if value:
            raise reader.error(f"{name!r} is not supported")
    certificate = reader.material("client certificate", "client-certificate", user.client_cert, user.client_cert_data)
    key = reader.material("client key", "client-key", user.client_key, user.client_key_data)
    if (certificate is None) != (key is None):
        raise reader.error("a client certificate needs its key, and a key its certificate")
    found: dict[str, Any] = {"certificate": certificate, "key": key}
    if user.token_file:
        found["token_file"] = reader.file(user.token_file)
    elif user.token:
        found["token"] = user.token.strip()
    elif user.exec is not None:
        found["plugin"] = _plugin(reader, user.exec, cluster)
    elif user.username:
        found["basic"] = (user.username, user.password or "")
    return found


def _plugin(reader: _KubeconfigReader, plugin: _Exec, cluster: _Cluster) -> Plugin:
    if plugin.apiVersion not in EXEC_VERSIONS:
        raise reader.error(f"exec apiVersion {plugin.apiVersion!r} is none of {', '.join(EXEC_VERSIONS)}")
    if plugin.interactive == "Always":
        raise reader.error(f"exec {plugin.command!r} wants to ask questions, and nobody is there to answer")
    # With a slash it is a path, relative to the kubeconfig; else it is looked up in $PATH.
    command = reader.file(plugin.command) if "/" in plugin.command else plugin.command
    return Plugin(
        command,
        tuple(plugin.args or ()),
        {each.name: each.value for each in plugin.env or ()},
        plugin.apiVersion,
        plugin.installHint or "",
        _told(reader, cluster) if plugin.wants_cluster else None,
    )


def _told(reader: _KubeconfigReader, cluster: _Cluster) -> dict[str, object]:
    """The cluster, as a plugin is told of it: without files."""
    described = _cluster(reader, cluster)
    told: dict[str, object] = {"server": described["server"], "insecure-skip-tls-verify": described["insecure"]}
    if described["ca"] is not None:
        told["certificate-authority-data"] = base64.b64encode(described["ca"].read()).decode()
    if described["server_name"]:
        told["tls-server-name"] = described["server_name"]
    return told
