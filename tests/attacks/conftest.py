"""Fixtures of deployments under attack. Modules of this folder can import each other."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from attack_site import AttackSite

from support.kubernetes_api import KubernetesApi


@pytest.fixture
def site(tmp_path):
    """Yield a deployment with nothing started, whose agents are authenticated by certificate."""
    site = AttackSite(tmp_path)
    yield site
    site.stop()


@pytest.fixture
def token_site(tmp_path):
    """Yield a deployment with nothing started, whose agents are authenticated by token and have no certificates."""
    with KubernetesApi(tmp_path / "api") as api:
        site = AttackSite(tmp_path)
        site.accept_tokens_of(api)
        yield site
        site.stop()
