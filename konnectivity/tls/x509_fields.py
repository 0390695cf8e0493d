"""Subject, issuer and validity of a certificate, read from its DER (RFC 5280). Pure.

Verifies nothing: signatures, names and purposes are left to OpenSSL.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from konnectivity.tls import pem

LABEL = "CERTIFICATE"

_TIME = "(?!0000)[0-9]{4}(0[1-9]|1[0-2])(0[1-9]|[12][0-9]|3[01])([01][0-9]|2[0-3])([0-5][0-9]){2}Z"
_DAYS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)  # in each month of a year that is not a leap year
_LEAP_DAYS_TO_1970 = 477  # leap days before 1970, from year 1 on

_INTEGER, _OID, _UTC_TIME, _GENERALIZED_TIME, _SEQUENCE, _SET, _VERSION = 0x02, 0x06, 0x17, 0x18, 0x30, 0x31, 0xA0
_TEXT_ENCODINGS = {0x14: "latin-1", 0x1C: "utf-32-be", 0x1E: "utf-16-be"}  # codec by ASN.1 tag
_TEXT_ENCODINGS |= dict.fromkeys((0x0C, 0x12, 0x13, 0x16, 0x1A), "utf-8")
_NAMES = {  # RFC 4514 section 3
    "2.5.4.3": "CN",
    "2.5.4.6": "C",
    "2.5.4.7": "L",
    "2.5.4.8": "ST",
    "2.5.4.9": "STREET",
    "2.5.4.10": "O",
    "2.5.4.11": "OU",
    "0.9.2342.19200300.100.1.1": "UID",
    "0.9.2342.19200300.100.1.25": "DC",
}
_ESCAPED = re.compile(r'[,+"\\<>;]|^[ #]| $')


class Certificate(NamedTuple):
    """Subject, validity and issuer of a certificate. Times are seconds since 1970."""

    subject: str  # distinguished name in the form of RFC 4514: `CN=agent,O=kubernetes`
    not_before: float
    not_after: float
    issuer: str  # as the subject


def first(content: bytes) -> Certificate:
    """Return the first certificate of a PEM file; in a chain, the one that the others vouch for.

    Raises:
        ValueError: there is none, or it is malformed.

    """
    for der in chain(content):
        return parse(der)
    raise ValueError("holds no certificate")


def chain(content: bytes) -> Iterator[bytes]:
    """Return the DER of each certificate of a PEM file, without those that have PEM headers, as in Go.

    Raises:
        ValueError: a block is malformed.

    """
    return (block.data() for block in pem.blocks(content) if block.label == LABEL and not block.headers)


def parse(der: bytes) -> Certificate:
    """Return the subject, the issuer and the validity of a certificate in DER.

    Raises:
        ValueError: it is malformed.

    """
    body = _behind_algorithm(der)
    issuer = _name(_DerReader(body.take(_SEQUENCE)))
    validity = _DerReader(body.take(_SEQUENCE))
    not_before, not_after = _time(validity), _time(validity)
    return Certificate(_name(_DerReader(body.take(_SEQUENCE))), not_before, not_after, issuer)


def public_key(der: bytes) -> bytes:
    """Return the public key of a certificate in DER, with its algorithm: equal for two certificates of one key.

    Raises:
        ValueError: the certificate is malformed.

    """
    body = _behind_algorithm(der)
    for _ in ("issuer", "validity", "subject"):
        body.take(_SEQUENCE)
    return body.take(_SEQUENCE)


def _behind_algorithm(der: bytes) -> _DerReader:
    """Return the reader of a certificate's fields from the issuer on."""
    outer = _DerReader(der)
    body = _DerReader(_DerReader(outer.take(_SEQUENCE)).take(_SEQUENCE))
    outer.expect_end()
    if body.tag == _VERSION:
        body.take(_VERSION)
    for tag in (_INTEGER, _SEQUENCE):  # serial number, signature algorithm
        body.take(tag)
    return body


class _DerReader:
    """Reader of DER elements, one after the other."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def tag(self) -> int | None:
        """Tag of the next element; None at the end."""
        return self._data[self._at] if self._at < len(self._data) else None

    def take(self, *tags: int) -> bytes:
        """Return the content of the next element, which must have one of these tags (none given: any tag)."""
        tag = self.tag
        if tag is None or (tags and tag not in tags):
            raise ValueError(f"malformed certificate: {'no element' if tag is None else f'tag {tag:#x}'} at {self._at}")
        start, size = self._at + 2, self._byte(self._at + 1)
        if size >= 0x80:
            start, digits = start + size - 0x80, self._data[start : start + size - 0x80]
            size = int.from_bytes(digits) if 0 < len(digits) <= 4 else len(self._data)
        self._at = start + size
        if self._at > len(self._data):
            raise ValueError("malformed certificate: cut off")
        return self._data[start : self._at]

    def expect_end(self) -> None:
        """Raise ValueError unless all elements were taken."""
        if self.tag is not None:
            raise ValueError("malformed certificate: something follows it")

    def _byte(self, at: int) -> int:
        if at >= len(self._data):
            raise ValueError("malformed certificate: cut off")
        return self._data[at]


def _time(reader: _DerReader) -> float:
    tag = reader.tag
    text = reader.take(_UTC_TIME, _GENERALIZED_TIME).decode("latin-1")
    if tag == _UTC_TIME:
        text = ("19" if text[:2] >= "50" else "20") + text
    if not re.fullmatch(_TIME, text):
        raise ValueError(f"malformed certificate: time {text!r}")
    year, month, day = int(text[:4]), int(text[4:6]), int(text[6:8])
    hour, minute, second = int(text[8:10]), int(text[10:12]), int(text[12:14])
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    if day > _DAYS[month - 1] + (leap and month == 2):
        raise ValueError(f"malformed certificate: time {text!r}")
    past = year - 1
    leap_days = past // 4 - past // 100 + past // 400 - _LEAP_DAYS_TO_1970
    days = 365 * (year - 1970) + leap_days + sum(_DAYS[: month - 1]) + (leap and month > 2) + day - 1
    return float(86_400 * days + 3600 * hour + 60 * minute + second)


def _name(names: _DerReader) -> str:
    sets = []
    while names.tag is not None:
        parts, pairs = _DerReader(names.take(_SET)), []
        while parts.tag is not None:
            pair = _DerReader(parts.take(_SEQUENCE))
            kind = _oid(pair.take(_OID))
            pairs.append(f"{_NAMES.get(kind, kind)}={_text(pair)}")
        sets.append("+".join(pairs))
    return ",".join(reversed(sets))


def _text(reader: _DerReader) -> str:
    tag = reader.tag or 0
    content = reader.take()
    if tag not in _TEXT_ENCODINGS:
        return "#" + content.hex()
    text = content.decode(_TEXT_ENCODINGS[tag], "replace")
    return _ESCAPED.sub(lambda match: "\\" + match[0], text).replace("\0", "\\00")


def _oid(content: bytes) -> str:
    numbers = [0]
    for byte in content:
        numbers[-1] = numbers[-1] << 7 | byte & 0x7F
        if byte < 0x80:
            numbers.append(0)
    first_two = min(numbers[0] // 40, 2)
    return ".".join(map(str, [first_two, numbers[0] - 40 * first_two, *numbers[1:-1]]))
