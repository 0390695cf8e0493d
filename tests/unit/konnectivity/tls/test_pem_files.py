"""Certificates, keys and CA bundles of files: read, or refused with the file and the reason."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

import pytest

from konnectivity.tls.memory_file import memory_file
from konnectivity.tls.pem_files import TlsError, read_bundle, read_pair
from konnectivity.tool.pki.authority import Authority


def test_a_pair_is_used_after_its_files_are_gone(pki):
    pair = read_pair(*pki.server_files)
    for path in pki.server_files:
        os.unlink(path)
    pair.use(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
    assert pair.shown.subject == "CN=server"


def test_a_bundle_is_trusted_and_says_when_its_first_certificate_expires(pki):
    bundle = read_bundle(pki.ca)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    bundle.use(context)
    assert [dict(part[0] for part in each["subject"]) for each in context.get_ca_certs()] == [
        {"commonName": "first authority"}
    ]
    assert bundle.not_after > 0
    assert bundle.unclosed == ""


def test_what_is_no_pair_is_refused_with_the_file(pki):
    certificate, key = pki.server_files
    encrypted = pki.file(
        "encrypted.key", b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAA==\n-----END ENCRYPTED PRIVATE KEY-----\n"
    )
    for files, words in (
        ((certificate, pki.client_files[1]), "does not belong to certificate"),
        ((certificate, certificate), "holds no private key"),
        ((key, key), "holds no certificate"),
        ((certificate, encrypted), "write it without a password"),
        (("/nowhere", key), "cannot read certificate '/nowhere': No such file"),
    ):
        with pytest.raises(TlsError, match=words):
            read_pair(*files)


def test_a_bundle_without_certificates_is_refused(pki):
    with pytest.raises(TlsError, match=r"cannot use CA bundle .*: holds no certificate"):
        read_bundle(pki.server_files[1])


def test_the_end_of_a_bundle_that_is_still_written_is_left_out_or_refused(pki):
    second = Authority.create("second").certificate_pem
    path = pki.file("bundle", Path(pki.ca).read_bytes() + second[:100])
    found = read_bundle(path)
    assert (len(found.certificates), "has no end" in found.unclosed) == (1, True)
    with pytest.raises(TlsError, match="has no end"):
        read_bundle(path, unclosed_end=False)


def test_a_file_in_memory_lives_for_its_block():
    with memory_file(b"content") as path:
        assert Path(path).read_bytes() == b"content"
    assert not os.path.exists(path)
