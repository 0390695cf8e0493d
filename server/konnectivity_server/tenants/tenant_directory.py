"""Directory of the tenants' files: which tenants it declares, and the content of each.

Reads a tenant again only when the content of one of its files has changed. Owns the state of the files, and says which
files the kernel shall report changes of. Does not serve tenants, and does not compare them with each other.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from konnectivity.kube.api_error import KubeError
from konnectivity.runtime.file_notices import FileNotices
from konnectivity.tls import TlsError
from konnectivity.tls.certificate_reload import Stamp, stamp_of
from konnectivity.untrusted.file_content import read_file
from konnectivity_server.server_options import ServerOptions
from konnectivity_server.tenants.server_names import normal
from konnectivity_server.tenants.tenant_options import (
    FILES,
    TenantOptions,
    inherited,
    peer_names,
    read_tenant,
    share_port,
)
from konnectivity_server.tenants.tenant_tls import SharedPairs, TlsContent

FILE = "tenant.yaml"
SUFFIX = ".yaml"
DIRECTORY = ""  # subject of notices about the directory itself; the others are names of tenants
MAX_TENANT_NAME = 63  # characters, as of a label of DNS
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")


class FileState(NamedTuple):
    """State of a file at one moment: its stamp, and the digest of its content; None: there was none to read."""

    path: str
    stamp: Stamp
    digest: bytes | None


States = tuple[FileState, ...]


class TenantError(Exception):
    """Tenant that cannot be served; `str()` is the reason."""


@dataclass(frozen=True, slots=True)
class DeclaredTenant:
    """Tenant as its files declare it.

    Attributes:
        name: name of the tenant.
        options: its options.
        agents: content of the TLS files for agents.
        frontends: content of the TLS files for frontends; None: no frontend comes by TCP.
        api: URL of the Kubernetes API of its cluster; empty: the tenant asks none.

    """

    name: str
    options: TenantOptions
    agents: TlsContent
    frontends: TlsContent | None
    api: str = ""

    def differs_from(self, other: DeclaredTenant) -> bool:
        """Return whether the tenant must be started anew: its options, or the API of its kubeconfig, are others.

        New TLS files are taken into use as they are, and so are new credentials for the same API.
        """
        return self.api != other.api or self.options.differs_from(other.options)

    def trouble_on_one_port(self) -> str:
        """Return why agents and frontends of the tenant cannot share a port; empty if they can."""
        frontends = self.frontends
        if frontends is None:
            return ""
        if frontends.pair != self.agents.pair:
            return "agents and frontends share a port, which shows one certificate: server-cert and cluster-cert differ"
        ours = set(self.agents.bundle.certificates) if self.agents.bundle is not None else set()
        if frontends.bundle is not None and ours & set(frontends.bundle.certificates):
            return "agents and frontends share a port, which tells them apart by their CA: give each its own"
        return ""


class TenantDirectory:
    """Directory of tenants.

    Args:
        options: options of the server.
        notices: told which files and directories are read; None: the directory is read once.

    """

    def __init__(self, options: ServerOptions, notices: FileNotices | None = None) -> None:
        self.pairs = SharedPairs()
        self._inherited = inherited(options)
        self._notices = notices
        self._directory = options.tenants
        self._one_port = share_port(options)
        self._peer_names = peer_names(options)
        self._states: dict[str, States] = {}  # of the files of each tenant

    def names(self) -> dict[str, Path]:
        """Return the path of each tenant's file by its name; hidden entries are those of a mounted volume itself.

        Raises:
            OSError: the directory cannot be read.

        """
        if self._notices is not None:
            self._notices.watch_directory(DIRECTORY, self._directory)
        found: dict[str, Path] = {}
        with os.scandir(self._directory) as entries:
            for entry in entries:
                path = Path(entry.path)
                if entry.name.startswith("."):
                    continue
                if entry.name.endswith(SUFFIX):
                    found.setdefault(entry.name.removesuffix(SUFFIX), path)
                elif entry.is_dir():
                    found[entry.name] = path / FILE
        return dict(sorted(found.items()))

    def changed(self, name: str, path: Path, noticed: bool = False, renew_watch: bool = False) -> bool:
        """Return whether the content of a tenant's files has changed since the tenant was read; True if it never was.

        Args:
            name: name of the tenant.
            path: path of its file.
            noticed: whether a change was noticed: then the content is compared though the files look the same. The
                kubelet writes all files of a volume anew, with the content that they had, when one of them changes.
            renew_watch: whether the kernel is asked anew to report changes of files that look the same.

        """
        known = self._states.get(name)
        if known is None or known[0].path != str(path):
            return True
        paths = [each.path for each in known]
        if noticed or any(stamp_of(each.path) != each.stamp for each in known):
            now = self._note(name, paths)
            return any(new.digest is None or new.digest != old.digest for new, old in zip(now, known, strict=True))
        if renew_watch and self._notices is not None:
            self._notices.watch_files(name, paths)
        return False

    def read(self, name: str, path: Path) -> DeclaredTenant:
        """Return a tenant as its files declare it now.

        Raises:
            TenantError: the tenant cannot be served.

        """
        first = self._note(name, [str(path)])  # before reading: a later change is found next time
        if len(name) > MAX_TENANT_NAME or not _NAME.fullmatch(name):
            raise TenantError(f"the name has other characters than a-z, 0-9 and -, or more than {MAX_TENANT_NAME}")
        options, problems = read_tenant(self._inherited, path)
        self._note(name, sorted({getattr(options, field) for field in FILES} - {""}), first)
        if problems:
            raise TenantError("; ".join(problems))
        taken = sorted(self._peer_names & set(map(normal, (*options.server_names, *options.frontend_names))))
        if taken:
            raise TenantError(f"the server name {taken[0]!r} is that of the peer servers on the same port")
        try:
            agents = TlsContent(options.agent_files, self.pairs)
            frontends = TlsContent(options.frontend_files, self.pairs, agents) if options.tcp_frontend else None
            api = api_of(options.kubeconfig) if options.needs_kubernetes else ""
        except (TlsError, KubeError) as error:
            raise TenantError(str(error)) from error
        declared = DeclaredTenant(name, options, agents, frontends, api)
        if self._one_port and (why := declared.trouble_on_one_port()):
            raise TenantError(why)
        return declared

    def forget(self, name: str) -> None:
        """Forget a tenant that is gone."""
        self._states.pop(name, None)
        if self._notices is not None:
            self._notices.forget(name)

    def _note(self, name: str, paths: list[str], before: States = ()) -> States:
        """Keep, and return, the state of files of a tenant behind that of files that were noted before."""
        if self._notices is not None:  # first, so that a later change is noticed
            self._notices.watch_files(name, [*(each.path for each in before), *paths])
        found = self._states[name] = before + tuple(_state_of(path) for path in paths)
        return found


def _state_of(path: str) -> FileState:
    """Return the state of a file; a change in between makes the next stamp another one."""
    stamp = stamp_of(path)
    try:
        return FileState(path, stamp, sha256(read_file(path)).digest())
    except (OSError, ValueError):
        return FileState(path, stamp, None)


def api_of(kubeconfig: str) -> str:
    """Return the URL of the API of a kubeconfig file.

    Raises:
        KubeError: the file cannot be used.

    """
    from konnectivity.kube.kubeconfig_files import current_access

    return current_access([kubeconfig]).server
