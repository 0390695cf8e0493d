"""Access to a Kubernetes API: its address, its certificates and the credentials for it. Plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from konnectivity.kube.api_error import KubeError
from konnectivity.untrusted.file_content import read_file


class Material(NamedTuple):
    """A certificate, a key or a CA bundle: a file, or the content of a field of the kubeconfig."""

    what: str
    path: str = ""
    data: bytes = b""

    def read(self) -> bytes:
        """Return the content.

        Raises:
            KubeError: the file cannot be read.

        """
        if not self.path:
            return self.data
        try:
            return read_file(self.path)
        except OSError as error:
            raise KubeError(f"cannot read {self.what} {self.path!r}: {error.strerror}") from error


class Plugin(NamedTuple):
    """A credential plugin: a program that prints a credential."""

    command: str
    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    version: str  # API version of the ExecCredential that the plugin prints
    hint: str  # how to install the plugin
    cluster: Mapping[str, object] | None  # spec.cluster for the plugin; None: the plugin receives none


@dataclass(frozen=True)
class Access:
    """Address and credentials of the API. At most one of token, token_file, plugin and basic is set."""

    source: str  # the file or directory that everything is from
    server: str
    ca: Material | None = None  # None: the system's authorities
    insecure: bool = False
    server_name: str = ""  # host name in the API's certificate; empty: the host of `server`
    proxy: str = ""
    certificate: Material | None = None
    key: Material | None = None
    token: str = field(default="", repr=False)
    token_file: str = ""
    plugin: Plugin | None = None
    basic: tuple[str, str] | None = field(default=None, repr=False)
    kubeconfigs: tuple[str, ...] = field(default=(), compare=False)  # files that say all this, if files do
