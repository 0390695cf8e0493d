"""Files that are no certificates or keys: the error names their actual content."""

from __future__ import annotations

import base64
import re
import subprocess

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.hazmat.primitives.serialization.pkcs12 import serialize_key_and_certificates
from hypothesis import given
from hypothesis import strategies as st

from konnectivity.tool.pki import certificate_parsing
from konnectivity.tool.pki.authority import Authority

AUTHORITY = Authority.create("authority")
ISSUED = AUTHORITY.issue("agent", client=True)
KEY = load_pem_private_key(ISSUED.key_pem, None)
ENCRYPTED = BestAvailableEncryption(b"secret")
DER = AUTHORITY.certificate.public_bytes(Encoding.DER)
PKCS12 = serialize_key_and_certificates(b"a", AUTHORITY.key, AUTHORITY.certificate, None, ENCRYPTED)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "holds no certificate: it is empty"),
        (b"hello\n", "holds no certificate: it is not a PEM file"),
        (ISSUED.key_pem, "holds no certificate: it holds PRIVATE KEY"),
        (DER, "it is DER or PKCS #12, not PEM"),
        (PKCS12, "it is DER or PKCS #12, not PEM"),
        (ISSUED.cert_pem[:200], "line 1: the CERTIFICATE has no end"),
        (ISSUED.cert_pem.replace(b"MII", b"M!!", 1), "line 1: the CERTIFICATE is malformed"),
        (
            AUTHORITY.certificate_pem + b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            "certificate 2 is malformed",
        ),
    ],
)
def test_no_certificate(content, text):
    with pytest.raises(ValueError, match=re.escape(text)):
        certificate_parsing.certificates(content)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "holds no private key: it is empty"),
        (ISSUED.cert_pem, "holds no private key: it holds CERTIFICATE"),
        (KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, ENCRYPTED), "the key has a password"),
        (KEY.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, ENCRYPTED), "the key has a password"),
        (ISSUED.key_pem.replace(b"MI", b"AA", 1), "line 1: the key is malformed"),
    ],
)
def test_no_key(content, text):
    with pytest.raises(ValueError, match=re.escape(text)):
        certificate_parsing.private_key(content)


def test_a_key_behind_other_blocks():
    parameters = subprocess.run(
        ["openssl", "ecparam", "-name", "prime256v1"], capture_output=True, check=True, timeout=10
    ).stdout
    key = certificate_parsing.private_key(b"a comment\n" + parameters + ISSUED.cert_pem + ISSUED.key_pem)
    assert certificate_parsing.is_pair(certificate_parsing.certificates(ISSUED.cert_pem)[0].public_key(), key)


@given(st.data())
def test_what_is_damaged_is_an_error_or_a_certificate(data):
    damaged = bytearray(DER)
    for _ in range(data.draw(st.integers(1, 5))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    pem = b"-----BEGIN CERTIFICATE-----\n" + base64.b64encode(damaged) + b"\n-----END CERTIFICATE-----\n"
    try:
        found = certificate_parsing.certificates(pem)[0]
    except ValueError as error:
        assert str(error)
        return
    assert isinstance(certificate_parsing.names(found), list)
    assert isinstance(certificate_parsing.usages(found), list)
    assert certificate_parsing.subject(found)
