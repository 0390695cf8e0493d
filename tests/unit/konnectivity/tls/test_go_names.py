"""Go's names of TLS versions and cipher suites: OpenSSL knows each of them."""

from __future__ import annotations

import ssl

import pytest

from konnectivity.tls.go_names import CIPHER_SUITES, TLS_VERSIONS


@pytest.mark.parametrize("name", [name for name, suite in CIPHER_SUITES.items() if name != suite])
def test_openssl_knows_each_suite(name):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers(CIPHER_SUITES[name])
    assert CIPHER_SUITES[name] in {each["name"] for each in context.get_ciphers()}


def test_versions_are_in_order():
    assert list(TLS_VERSIONS.values()) == sorted(TLS_VERSIONS.values())
    assert TLS_VERSIONS["VersionTLS12"] is ssl.TLSVersion.TLSv1_2
