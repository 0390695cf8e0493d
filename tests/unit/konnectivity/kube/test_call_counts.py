"""Counts of requests to the API, by status and reason."""

from __future__ import annotations

import asyncio

import pytest

from konnectivity.kube.api_error import KubeError
from konnectivity.kube.call_counts import CallCounts


def test_answers_and_failures_are_counted_and_a_cancelled_request_is_not():
    counts = CallCounts((1.0, 10.0))
    with counts.one():
        pass
    for error in (KubeError("no", 403, "Forbidden"), KubeError("away", reason="Unreachable"), asyncio.CancelledError()):
        with pytest.raises(type(error)), counts.one():
            raise error
    assert counts.answers == {(200, ""): 1, (403, "Forbidden"): 1, (0, "Unreachable"): 1}
    assert {status: each.count for status, each in counts.seconds.items()} == {200: 1, 403: 1, 0: 1}
