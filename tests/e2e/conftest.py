"""Fixtures that run a deployment for the tests of a module: real programs, real sockets, real TLS."""

from __future__ import annotations

import os
import ssl

import pytest

from konnectivity.testing.deployment import Deployment
from support.web_target import web_target


@pytest.fixture(scope="module")
def deployment(tmp_path_factory):
    deployment = Deployment(tmp_path_factory.mktemp("deployment"))
    deployment.start_server("--server-id=server-1")
    deployment.start_agent("--agent-id=agent-1")
    yield deployment
    deployment.stop()


@pytest.fixture
def fresh(tmp_path):
    """Yield a deployment with nothing started yet."""
    deployment = Deployment(tmp_path)
    yield deployment
    deployment.stop()


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Return a directory with a short page and a large one."""
    directory = tmp_path_factory.mktemp("site")
    (directory / "page").write_bytes(b"hello")
    (directory / "large").write_bytes(os.urandom(3_000_000))
    return directory


@pytest.fixture(scope="module")
def plain(site):
    with web_target(site) as target:
        yield target


@pytest.fixture(scope="module")
def secure(deployment, site):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(deployment.path("server.crt"), deployment.path("server.key"))
    with web_target(site, context) as target:
        yield target
