"""Metrics that are counted under other names than they are shown."""

from __future__ import annotations

import pytest

from konnectivity.metrics.tunnel_stats import TunnelStats
from konnectivity.tunnel import sides
from konnectivity.tunnel.states import CAUSES
from konnectivity_server.server_metrics import _close_reasons


@pytest.mark.parametrize("cause", CAUSES)
@pytest.mark.parametrize("side", sides.NAMES.values())
def test_every_end_of_a_connection_has_one_reason_of_the_reference(cause, side):
    traffic = TunnelStats()
    traffic.connection_closed(cause, side, 1.0)
    (reason,) = _close_reasons(traffic)
    if cause == "tunnel_lost" or side == "server":
        assert reason == "stream_shutdown"
    else:
        assert reason == ("frontend_close" if side == "client" else "backend_close")
