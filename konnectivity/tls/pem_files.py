"""PEM files of TLS: a certificate with its key, and a CA bundle. Reads each and checks that OpenSSL can use it.

The contents stay usable when their file is changed or removed.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass

from konnectivity.net.error_texts import words_of
from konnectivity.tls import pem
from konnectivity.tls import x509_fields as certificates
from konnectivity.tls.memory_file import memory_file
from konnectivity.tls.x509_fields import Certificate
from konnectivity.untrusted.file_content import read_file

_MISMATCHES = ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED")  # the last: kinds differ


class TlsError(Exception):
    """Certificate, key or CA file that cannot be used; `str()` names the file and the reason."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Certificate with its chain, and its private key."""

    certificate_path: str
    key_path: str
    certificate: bytes
    key: bytes
    shown: Certificate  # first of the chain

    def use(self, context: ssl.SSLContext) -> None:
        """Let the context show this certificate.

        Raises:
            TlsError: OpenSSL cannot use the pair.

        """
        with ExitStack() as stack:
            try:
                paths = [stack.enter_context(memory_file(content)) for content in (self.certificate, self.key)]
            except OSError:
                paths = [self.certificate_path, self.key_path]
            self._load(context, *paths)

    def _load(self, context: ssl.SSLContext, certificate_path: str, key_path: str) -> None:
        certificate, key = self.certificate_path, self.key_path
        try:
            context.load_cert_chain(certificate_path, key_path)
        except ssl.SSLError as error:
            if error.reason in _MISMATCHES:
                raise TlsError(f"private key {key!r} does not belong to certificate {certificate!r}") from error
            raise TlsError(f"cannot use certificate {certificate!r} with key {key!r}: {_text(error)}") from error
        except OSError as error:  # the file was replaced or removed after it was read
            raise TlsError(f"cannot read certificate {certificate!r} or key {key!r}: {words_of(error)}") from error


@dataclass(frozen=True, slots=True)
class Bundle:
    """Certificates of authorities.

    Attributes:
        not_after: when the first of them expires, seconds since 1970.
        unclosed: fault of the last block, which is left out; empty: the file is complete.

    """

    certificates: tuple[bytes, ...]
    not_after: float
    unclosed: str = ""

    def use(self, context: ssl.SSLContext) -> None:
        """Let the context trust these authorities."""
        for der in self.certificates:
            context.load_verify_locations(cadata=der)

    def has(self, chain: Iterable[bytes]) -> bool:
        """Return whether one of the certificates of a chain is one of these."""
        return any(der in self.certificates for der in chain)


def read_pair(certificate: str, key: str) -> Pair:
    """Return the pair that two PEM files hold; they may be one file.

    Raises:
        TlsError: a file is missing or malformed, or key and certificate do not belong together.

    """
    content = _read(certificate, "certificate")
    key_content = _read(key, "private key")
    _check_key(key_content, key)
    try:
        shown = certificates.first(content)
    except ValueError as error:
        raise TlsError(f"cannot use certificate {certificate!r}: {error}") from error
    pair = Pair(certificate, key, content, key_content, shown)
    pair.use(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
    return pair


def read_bundle(path: str, unclosed_end: bool = True) -> Bundle:
    """Return the authorities of a PEM file.

    Args:
        path: the file.
        unclosed_end: whether a last block without an end is left out, as in Go: a file that is being written has one.

    Raises:
        TlsError: the file is missing or malformed.

    """
    content, unclosed = _read(path, "CA bundle"), ""
    if unclosed_end:
        content, unclosed = _closed(content)
    try:
        return _bundle(content, unclosed)
    except ValueError as error:
        raise TlsError(f"cannot use CA bundle {path!r}: {unclosed or error}") from error


def _bundle(content: bytes, unclosed: str) -> Bundle:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    found: list[bytes] = []
    expires: list[float] = []
    for number, der in enumerate(certificates.chain(content), 1):
        try:
            expires.append(certificates.parse(der).not_after)
            context.load_verify_locations(cadata=der)
        except (ValueError, ssl.SSLError) as error:
            raise ValueError(f"certificate {number} of it: {_text(error)}") from error
        found.append(der)
    if not found:
        raise ValueError("holds no certificate")
    return Bundle(tuple(found), min(expires), unclosed)


def _closed(content: bytes) -> tuple[bytes, str]:
    """Return a file without its last block if that has no end, and what is wrong with it."""
    try:
        pem.blocks(content)
    except ValueError as error:
        before = content[: content.rfind(pem.BEGIN)]
        try:
            pem.blocks(before)
        except ValueError:
            return content, ""
        return before, str(error)
    return content, ""


def _check_key(content: bytes, path: str) -> None:
    """Refuse what OpenSSL would ask a password for, and what is no key."""
    try:
        keys = [block for block in pem.blocks(content) if block.label.endswith("PRIVATE KEY")]
    except ValueError as error:
        raise TlsError(f"cannot use private key {path!r}: {error}") from error
    if not keys:
        raise TlsError(f"cannot use private key {path!r}: holds no private key")
    if keys[0].headers or keys[0].label.startswith("ENCRYPTED"):
        raise TlsError(f"cannot use private key {path!r}: it is encrypted; write it without a password")


def _read(path: str, what: str) -> bytes:
    try:
        return read_file(path)
    except OSError as error:
        raise TlsError(f"cannot read {what} {path!r}: {error.strerror}") from error


def _text(error: Exception) -> str:
    return getattr(error, "reason", None) or words_of(error)
