"""Kubeconfig files, read strictly: the current context of one file, or of several in the order of KUBECONFIG.

Opens no connection. Fields that no client here needs are not looked at.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from konnectivity.kube.api_access import Access, Material, Plugin
from konnectivity.kube.api_error import KubeError
from konnectivity.kube.json_object import JsonObject
from konnectivity.untrusted.file_content import read_file

EXEC_VERSIONS = ("client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1")
_NOT_SUPPORTED = ("auth-provider", "as")  # fields of a user


class KubeconfigPart(NamedTuple):
    """Cluster or user, and the file that it is from."""

    path: str
    name: str
    fields: JsonObject

    def error(self, text: str) -> KubeError:
        """Return an error that names the file and the part."""
        return KubeError(f"kubeconfig {self.path}: {self.name}: {text}")

    def file(self, path: str) -> str:
        """Return the absolute form of a path, which is relative to the kubeconfig."""
        return os.path.join(os.path.dirname(os.path.abspath(self.path)), path)

    def material(self, what: str, key: str) -> Material | None:
        """Return the certificate or key in the field `key` (a path) or `key`-data (base64); None: there is neither."""
        if data := self.fields.text(f"{key}-data"):
            try:
                content = base64.b64decode(data, validate=True)
            except ValueError as error:
                raise self.error(f"{key}-data is no base64: {error}") from error
            return Material(f"{key}-data of {self.name} in {self.path}", data=content)
        path = self.fields.text(key)
        return Material(what, self.file(path)) if path else None


def current_access(paths: Sequence[str]) -> Access:
    """Return the access of the current context; of several files the first one that names a thing counts.

    Raises:
        KubeError: a file cannot be read, is malformed, or describes no access that can be used.

    """
    files = [(path, _parse(path)) for path in paths]
    source = ":".join(paths)
    try:
        return replace(_access(source, files), kubeconfigs=tuple(paths))
    except ValueError as error:
        raise KubeError(f"kubeconfig {source}: {error}") from error


def _access(source: str, files: Sequence[tuple[str, JsonObject]]) -> Access:
    name = next(filter(None, (content.text("current-context") for _, content in files)), "")
    if not name:
        raise KubeError(f"kubeconfig {source}: there is no current-context")
    context = _named(source, files, "context", name).fields
    cluster = _named(source, files, "cluster", context.text("cluster"))
    described = _cluster(cluster)
    if not context.text("user"):
        return Access(source, **described)
    user = _named(source, files, "user", context.text("user"))
    return Access(source, **described, **_user(user, cluster))


def _parse(path: str) -> JsonObject:
    import yaml

    try:
        text = read_file(path)
    except OSError as error:
        raise KubeError(f"cannot read kubeconfig {path!r}: {error.strerror}") from error
    try:
        found = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        where = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise KubeError(f"kubeconfig {path} is no YAML: {where}{error.problem}") from error
    except (yaml.YAMLError, ValueError) as error:  # no text, or a date that does not exist
        raise KubeError(f"kubeconfig {path} is no YAML: {str(error).splitlines()[0]}") from error
    except RecursionError as error:
        raise KubeError(f"kubeconfig {path} is nested too deeply") from error
    try:
        return JsonObject(found)
    except ValueError as error:
        raise KubeError(f"kubeconfig {path}: {error}") from error


def _named(source: str, files: Sequence[tuple[str, JsonObject]], kind: str, name: str) -> KubeconfigPart:
    """Return the first context, cluster or user of that name."""
    for path, content in files:
        for item in content.objects(f"{kind}s"):
            if item.required_text("name") == name and kind in item:
                return KubeconfigPart(path, f"{kind} {name!r}", item.object(kind))
    raise KubeError(f"kubeconfig {source}: there is no {kind} {name!r}")


def _cluster(cluster: KubeconfigPart) -> dict[str, Any]:
    """Return the fields of an `Access` that a cluster decides."""
    fields = cluster.fields
    ca = cluster.material("CA bundle", "certificate-authority")
    insecure = fields.flag("insecure-skip-tls-verify")
    if not (server := fields.text("server")):
        raise cluster.error("there is no server")
    if ca is not None and insecure:
        raise cluster.error("insecure-skip-tls-verify and a certificate authority exclude each other: remove one")
    server = server if "://" in server else f"https://{server}"
    if not server.startswith(("https://", "http://")):
        raise cluster.error(f"server {server!r} is neither https:// nor http://")
    if not _names_a_host(server):
        raise cluster.error(f"server {server!r} is no URL of a host, with a port from 1 to 65535 if it has one")
    return {
        "server": server.rstrip("/"),
        "ca": ca,
        "insecure": insecure,
        "server_name": fields.text("tls-server-name"),
        "proxy": fields.text("proxy-url"),
    }


def _names_a_host(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and parts.port != 0
    except ValueError:  # brackets that do not close, a port that is no number or too large
        return False


def _user(user: KubeconfigPart, cluster: KubeconfigPart) -> dict[str, Any]:
    """Return the fields of an `Access` that a user decides."""
    fields = user.fields
    for name in _NOT_SUPPORTED:
        if fields.fields.get(name):
            raise user.error(f"{name!r} is not supported")
    certificate = user.material("client certificate", "client-certificate")
    key = user.material("client key", "client-key")
    if (certificate is None) != (key is None):
        raise user.error("a client certificate needs its key, and a key its certificate")
    found: dict[str, Any] = {"certificate": certificate, "key": key}
    if token_file := fields.text("tokenFile"):
        found["token_file"] = user.file(token_file)
    elif token := fields.text("token"):
        found["token"] = token.strip()
    elif "exec" in fields:
        found["plugin"] = _plugin(user, cluster)
    elif username := fields.text("username"):
        found["basic"] = (username, fields.text("password"))
    return found


def _plugin(user: KubeconfigPart, cluster: KubeconfigPart) -> Plugin:
    fields = user.fields.object("exec")
    version, command = fields.text("apiVersion"), fields.required_text("command")
    if version not in EXEC_VERSIONS:
        raise user.error(f"exec apiVersion {version!r} is none of {', '.join(EXEC_VERSIONS)}")
    if fields.text("interactiveMode") == "Always":
        raise user.error(f"exec {command!r} needs a person to answer it (interactiveMode: Always): choose another one")
    return Plugin(
        user.file(command) if "/" in command else command,  # paths are relative to the kubeconfig, names in $PATH
        fields.texts("args"),
        {each.required_text("name"): each.text("value") for each in fields.objects("env")},
        version,
        fields.text("installHint"),
        _cluster_info(cluster) if fields.flag("provideClusterInfo") else None,
    )


def _cluster_info(cluster: KubeconfigPart) -> dict[str, object]:
    """Return what a plugin receives about the cluster: contents in the place of files."""
    described = _cluster(cluster)
    info: dict[str, object] = {"server": described["server"], "insecure-skip-tls-verify": described["insecure"]}
    if described["ca"] is not None:
        info["certificate-authority-data"] = base64.b64encode(described["ca"].read()).decode()
    if described["server_name"]:
        info["tls-server-name"] = described["server_name"]
    return info
