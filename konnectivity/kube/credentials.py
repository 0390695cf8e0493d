"""Credentials for the Kubernetes API: a fixed one, a token file that changes, or a credential plugin.

Each gives the value of the Authorization header. Knows nothing of requests.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from konnectivity.kube.api_access import Access, Plugin
from konnectivity.kube.api_error import KubeError
from konnectivity.untrusted.file_content import read_file

PLUGIN_TIMEOUT_S = 9.0  # less than the timeout of a request, so that the error names the plugin
_EARLY = timedelta(seconds=10)  # before its end a credential is replaced


def _now() -> datetime:
    return datetime.now(UTC)


class Credentials(Protocol):
    """Source of the Authorization header."""

    async def header(self) -> str:
        """Return the value of the header for the next request; empty: no header.

        Raises:
            KubeError: there is no credential.

        """

    def rejected(self, header: str) -> bool:
        """Note that the API refused this value, and return whether `header` may give another one at once."""


class Fixed:
    """Credential that never changes, or none."""

    def __init__(self, header: str) -> None:
        self._header = header

    async def header(self) -> str:
        return self._header

    def rejected(self, header: str) -> bool:
        return False


class TokenFile:
    """Token file, read again when it has changed, as the file of a service account does every hour."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._header = ""

    async def header(self) -> str:
        try:
            self._look()
        except (OSError, UnicodeDecodeError) as error:
            if not self._header:
                why = error.strerror if isinstance(error, OSError) else "it is no text"
                raise KubeError(f"cannot read token file {self._path!r}: {why}") from error
        if not self._header:
            raise KubeError(f"token file {self._path!r} is empty")
        return self._header

    def rejected(self, header: str) -> bool:
        self._seen = None
        return False  # every request looks at the file: the next one has the new token, if there is one

    def _look(self) -> None:
        status = os.stat(self._path)
        seen = (status.st_ino, status.st_mtime_ns, status.st_size)
        if seen != self._seen:
            token = read_file(self._path).decode().strip()
            self._seen, self._header = seen, f"Bearer {token}" if token else self._header


class PluginToken:
    """Token that a credential plugin prints, used until it expires or is refused. One run of the plugin at a time."""

    def __init__(self, plugin: Plugin, now: Callable[[], datetime] = _now, timeout_s: float = PLUGIN_TIMEOUT_S) -> None:
        self._plugin = plugin
        self._now = now
        self._timeout_s = timeout_s
        self._header = ""
        self._ends: datetime | None = None
        self._running = asyncio.Lock()

    async def header(self) -> str:
        async with self._running:
            if not self._header or (self._ends is not None and self._now() >= self._ends):
                self._take(await self._run())
        return self._header

    def rejected(self, header: str) -> bool:
        if header == self._header:
            self._header = ""
        return True

    def _take(self, output: bytes) -> None:
        try:
            status = json.loads(output)["status"]
            token, ends = status.get("token"), status.get("expirationTimestamp")
            self._ends = datetime.fromisoformat(ends) - _EARLY if ends else None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise self._error("printed no ExecCredential") from error
        if self._ends is not None and self._ends.tzinfo is None:
            self._ends = self._ends.replace(tzinfo=UTC)
        if not isinstance(token, str) or not token:
            raise self._error("printed no token (client certificates from a plugin are not supported)")
        self._header = f"Bearer {token}"

    async def _run(self) -> bytes:
        plugin = self._plugin
        spec: dict[str, Any] = {"interactive": False}
        if plugin.cluster is not None:
            spec["cluster"] = dict(plugin.cluster)
        told = json.dumps({"apiVersion": plugin.version, "kind": "ExecCredential", "spec": spec})
        try:
            process = await asyncio.create_subprocess_exec(
                plugin.command,
                *plugin.arguments,
                env={**os.environ, **plugin.environment, "KUBERNETES_EXEC_INFO": told},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
        except OSError as error:
            raise self._error(f"cannot be started: {error.strerror}. {plugin.hint}".rstrip(". ")) from error
        try:
            async with asyncio.timeout(self._timeout_s):
                output, errors = await process.communicate()
        except TimeoutError as error:
            raise self._error(f"did not end in {self._timeout_s:g} s") from error
        finally:
            await _end(process)
        if process.returncode != 0:
            said = errors.decode(errors="replace").strip()[-300:]
            raise self._error(f"exit code {process.returncode}: {said}")
        return output

    def _error(self, text: str) -> KubeError:
        return KubeError(f"credential plugin {self._plugin.command!r}: {text}")


def of(access: Access) -> Credentials:
    """Return the credentials that an access names."""
    if access.token_file:
        return TokenFile(access.token_file)
    if access.plugin is not None:
        return PluginToken(access.plugin)
    if access.basic is not None:
        return Fixed(f"Basic {base64.b64encode(':'.join(access.basic).encode()).decode()}")
    return Fixed(f"Bearer {access.token}" if access.token else "")


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
