"""Fixtures that run a deployment for the tests of a module: real programs, real sockets, real TLS."""

from __future__ import annotations

import pytest

from konnectivity.testing.deployment import Deployment


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
