"""Tracing of a server's dials: decides which dials have spans, and makes them.

Owns the tracer of one server. Does not know how a dial runs, nor how spans reach a collector.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, TraceFlags, set_span_in_context

from konnectivity import __version__
from konnectivity.grpc.message_stream import Peer
from konnectivity.tunnel.dialing import DialOutcome
from konnectivity.tunnel.serving import IncomingDial
from konnectivity_server.frontends.connect_frontend import ConnectProtocol
from konnectivity_server.tracing.dial_spans import DIAL, DialSpans, destination_attributes
from konnectivity_server.tracing.span_export import SpanExport
from konnectivity_server.tracing.trace_parent import HEADER, TraceParent, parse_trace_parent

SERVICE = "konnectivity-server"
HTTP_CONNECT, GRPC, PEER = "http-connect", "grpc", "peer"  # values of konnectivity.frontend


class DialTracing:
    """Tracing of one server: makes the spans of a dial, if the dial is among those that are sampled.

    Args:
        export: takes the finished spans.
        ratio: part of the dials without a parent that have spans, from 0 to 1.
        server_id: id of this server.
        clock: nanoseconds, monotonic.
        wall: nanoseconds since 1970.

    """

    def __init__(
        self,
        export: SpanExport,
        ratio: float,
        server_id: str,
        clock: Callable[[], int] = time.monotonic_ns,
        wall: Callable[[], int] = time.time_ns,
    ) -> None:
        self.export = export
        self._clock = clock
        self._wall = wall
        about = {
            "service.name": os.environ.get("OTEL_SERVICE_NAME") or SERVICE,
            "service.version": __version__,
            "service.instance.id": server_id,
        }
        sampler = ParentBased(TraceIdRatioBased(ratio))
        provider = TracerProvider(sampler, Resource.create(about), shutdown_on_exit=False)
        provider.add_span_processor(export)
        self._tracer = provider.get_tracer("konnectivity", __version__)

    def record(
        self, destination: str, protocol: str, client: Peer, relayed: bool, frontend: DialOutcome
    ) -> DialSpans | None:
        """Return the spans of a dial that begins, or None if the dial is not sampled."""
        kind, parent = origin_of(frontend, relayed)
        kind = client.frontend or kind
        clock = self._dial_clock()
        span = self._tracer.start_span(DIAL, _context_of(parent), SpanKind.SERVER, start_time=clock())
        if not span.is_recording():
            return None
        span.set_attributes(destination_attributes(destination, protocol))
        span.set_attributes({"konnectivity.frontend": kind, "client.address": client.source})
        return DialSpans(self._tracer, span, clock)

    def close(self) -> None:
        """Send the spans that wait, within a bounded time."""
        self.export.shutdown()

    def _dial_clock(self) -> Callable[[], int]:
        """Return a clock of nanoseconds since 1970 that a change of the machine's time does not affect."""
        clock, offset = self._clock, self._wall() - self._clock()
        return lambda: offset + clock()


def origin_of(frontend: DialOutcome, relayed: bool) -> tuple[str, TraceParent | None]:
    """Return the kind of the frontend that a dial came through, and the parent that its client named, if any.

    A peer server names no parent: all its dials share one call.
    """
    if relayed:
        return PEER, None
    if isinstance(frontend, IncomingDial):
        named = frontend.tunnel.stream.metadata.get_all(HEADER)
        return GRPC, parse_trace_parent(named[0]) if len(named) == 1 else None
    text = frontend.traceparent if isinstance(frontend, ConnectProtocol) else ""
    return HTTP_CONNECT, parse_trace_parent(text)


def _context_of(parent: TraceParent | None) -> Context:
    if parent is None:
        return Context()
    flags = TraceFlags(TraceFlags.SAMPLED if parent.sampled else TraceFlags.DEFAULT)
    named = SpanContext(parent.trace_id, parent.span_id, is_remote=True, trace_flags=flags)
    return set_span_in_context(NonRecordingSpan(named), Context())
