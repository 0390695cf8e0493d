"""Tracing of a server: OpenTelemetry spans of each dial (docs/operate/tracing.md).

dial_spans     spans of one dial
dial_tracing   tracer of one server: decides which dials have spans
span_export    queue of finished spans, and the thread that sends them to a collector
trace_parent   reader of the W3C header that names the parent of a span (pure)

The modules but `trace_parent` need the extra `konnectivity[opentelemetry]`: only `open_tracing` imports them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from konnectivity.errors import StartError

if TYPE_CHECKING:
    from konnectivity_server.tracing.dial_tracing import DialTracing


def open_tracing(endpoint: str, ratio: float, server_id: str) -> DialTracing:
    """Return the tracing of a server that sends a ratio of its dials to the collector at `endpoint`.

    Raises:
        StartError: the extra is not installed.

    """
    try:
        from konnectivity_server.tracing import dial_tracing, span_export
    except ModuleNotFoundError as error:
        text = "--tracing-endpoint needs the extra konnectivity[opentelemetry]; install it, or remove the option"
        raise StartError(text) from error
    return dial_tracing.DialTracing(span_export.to_collector(endpoint), ratio, server_id)
