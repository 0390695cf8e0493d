"""Users and passwords of the clients of `konnectivity forward`, in a file that is read again when it changes.

Owns the content of the file. A file that cannot be used any more leaves the users of before. A line is
`user:password`; an empty line and a line that begins with `#` are left out.
"""

from __future__ import annotations

import binascii
import hmac
import os
from base64 import b64decode
from collections.abc import Callable
from time import monotonic

from konnectivity.net.error_texts import words_of
from konnectivity.runtime import logs
from konnectivity.untrusted.file_content import read_file

log = logs.get(__name__)

MAX_FILE = 1024 * 1024  # bytes
LOOK_INTERVAL_S = 1.0  # least time between two looks at the file
_BASIC = "basic "


class ProxyCredentials:
    """Users and passwords of one file.

    Args:
        path: of the file.
        clock: seconds, monotonic.

    Raises:
        ValueError: the file cannot be read, or has a line that is no `user:password`.

    """

    def __init__(self, path: str, clock: Callable[[], float] = monotonic) -> None:
        self._path = path
        self._clock = clock
        self._stamp = self._stamp_of_file()
        self._looked_at = clock()
        self._passwords = _parse(path)

    def accepts(self, user: bytes, password: bytes) -> bool:
        """Return whether the user exists and has this password."""
        self._look()
        known = self._passwords.get(user)
        equal = hmac.compare_digest(password, b"" if known is None else known)
        return equal and known is not None

    def accepts_header(self, value: str) -> bool:
        """Return whether the value of a Proxy-Authorization field has a valid user and password (RFC 7617)."""
        if value[: len(_BASIC)].lower() != _BASIC:
            return False
        try:
            pair = b64decode(value[len(_BASIC) :].strip(), validate=True)
        except (binascii.Error, ValueError):
            return False
        user, colon, password = pair.partition(b":")
        return bool(colon) and self.accepts(user, password)

    def _look(self) -> None:
        """Read the file again if it has changed."""
        if self._clock() - self._looked_at < LOOK_INTERVAL_S:
            return
        self._looked_at = self._clock()
        stamp = self._stamp_of_file()
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._passwords = _parse(self._path)
            log.info("Credentials file has changed", file=self._path, users=len(self._passwords))
        except ValueError as error:
            log.warning("Credentials file cannot be used, keeping the users of before", reason=str(error))

    def _stamp_of_file(self) -> tuple[int, int, int] | None:
        try:
            found = os.stat(self._path)
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino


def _parse(path: str) -> dict[bytes, bytes]:
    try:
        content = read_file(path, MAX_FILE)
    except OSError as error:
        raise ValueError(f"cannot read {path}: {words_of(error)}") from error
    passwords: dict[bytes, bytes] = {}
    for number, line in enumerate(content.splitlines(), 1):
        if not line.strip() or line.startswith(b"#"):
            continue
        user, colon, password = line.partition(b":")
        if not (user and colon and password) or max(len(user), len(password)) > 255:
            raise ValueError(f"{path}: line {number} is not user:password with 1 to 255 bytes each")
        passwords[user] = password
    if not passwords:
        raise ValueError(f"{path} has no user: write lines of the form user:password")
    return passwords
