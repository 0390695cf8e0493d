"""Fixture with the test API."""

from __future__ import annotations

import pytest

from support.kubernetes_api import KubernetesApi


@pytest.fixture
def api(tmp_path):
    with KubernetesApi(tmp_path) as api:
        yield api
