"""Users and passwords of the clients of a forward proxy, in a file that is read again when it changes.

Owns the file and the count of wrong passwords. A line is `user:password`; an empty line and a line that begins with `#`
are left out. Does not know how a client sends its password.
"""

from __future__ import annotations

import binascii
import hmac
from base64 import b64decode
from collections.abc import Callable
from time import monotonic

from konnectivity.forward.password_guesses import PasswordGuesses
from konnectivity.net.error_texts import words_of
from konnectivity.runtime.changing_file import ChangingFile
from konnectivity.untrusted.file_content import read_file

MAX_FILE = 1024 * 1024  # bytes
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
        self._file = ChangingFile("Credentials file", path, _parse, len, clock)
        self._guesses = PasswordGuesses(clock)

    def accepts(self, user: bytes, password: bytes, source: str = "") -> bool:
        """Return whether the user exists and has this password.

        Raises:
            TooManyGuesses: the source gave too many wrong passwords of this user, so that this one is not looked at.

        """
        known = self._file.newest().get(user)
        key = f"{source} {user.decode('utf-8', 'replace')}" if known is not None else source
        self._guesses.check(key)
        equal = hmac.compare_digest(password, b"" if known is None else known)
        if equal and known is not None:
            return True
        self._guesses.wrong(key)
        return False

    def user_of_header(self, value: str, source: str = "") -> str | None:
        """Return the user of a Proxy-Authorization field with a valid user and password (RFC 7617), else None.

        Raises:
            TooManyGuesses: as `accepts`.

        """
        if value[: len(_BASIC)].lower() != _BASIC:
            return None
        try:
            pair = b64decode(value[len(_BASIC) :].strip(), validate=True)
        except (binascii.Error, ValueError):
            return None
        user, colon, password = pair.partition(b":")
        return user.decode("utf-8", "replace") if colon and self.accepts(user, password, source) else None


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
