"""Metrics of a running program, read from the port that serves /metrics."""

from __future__ import annotations

import http.client


def metrics(port: int) -> dict[str, float]:
    """Return the samples on the metrics page of a loopback port, by name and labels, without the common prefix."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    lines = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    return {name.removeprefix("konnectivity_network_proxy_"): float(value) for name, _, value in lines}
