"""Kubeconfigs that are written: the reader finds the same values in them."""

from __future__ import annotations

import json

import pytest

from konnectivity.kube import kubeconfig_writer
from konnectivity.kube.kubeconfig_files import current_access


def test_the_reader_finds_what_was_written(tmp_path):
    path = tmp_path / "config"
    credential = kubeconfig_writer.with_certificate(b"cert", b"key")
    path.write_text(json.dumps(kubeconfig_writer.document("https://api:6443", b"ca", "me", credential, "kubernetes")))
    access = current_access([str(path)])
    assert (access.server, access.server_name) == ("https://api:6443", "kubernetes")
    assert (access.ca.read(), access.certificate.read(), access.key.read()) == (b"ca", b"cert", b"key")


def test_a_token_file_is_named():
    made = kubeconfig_writer.document("https://api", b"ca", "me", kubeconfig_writer.with_token_file("/run/token"))
    assert made["users"] == [{"name": "me", "user": {"tokenFile": "/run/token"}}]
    assert "tls-server-name" not in made["clusters"][0]["cluster"]


@pytest.mark.parametrize(
    "server", ["http://api", "api:6443", "https://", "https://a:b", "https://u@api", "https://a?x"]
)
def test_a_server_that_is_no_https_address_is_refused(server):
    with pytest.raises(ValueError, match="is no address"):
        kubeconfig_writer.document(server, b"ca", "me", {})
