"""Fixtures with the files of a small PKI and with handshakes in memory."""

from __future__ import annotations

import pytest

from support.small_pki import Handshake, Pki


@pytest.fixture
def pki(tmp_path):
    return Pki(tmp_path)


@pytest.fixture
def shake():
    def shake(server, client, name="proxy.test", session=None):
        return Handshake(server, client, name, session)

    return shake
