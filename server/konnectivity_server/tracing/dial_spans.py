"""Spans of one dial: a span `dial`, and below it a span `ask` for each try.

Names and attributes are those of docs/operate/tracing.md. Knows neither the sampling nor the export.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer, set_span_in_context

from konnectivity.errors import DialError
from konnectivity.tunnel.connection import Connection
from konnectivity.tunnel.dialing import DialingTunnel
from konnectivity.untrusted.numbers import MAX_PORT, parse_decimal
from konnectivity.untrusted.untrusted_text import cut
from konnectivity_server.agents.agent_tunnel import AgentTunnel
from konnectivity_server.audit.audit_records import cause_of

DIAL = "dial"
ASK = "ask"
UNANSWERED = "unanswered"  # error.type of a try that was given up without an answer
_MAX_TEXT = 256  # bytes of one text in a span

Attributes = Mapping[str, str | int | float | bool]


class DialSpans:
    """Observer of one dial that makes its spans.

    Args:
        tracer: makes the span of each try.
        span: span of the dial, which has begun.
        clock: nanoseconds since 1970, which never go backwards during a dial.

    """

    __slots__ = ("_backend", "_clock", "_context", "_over", "_span", "_tracer", "_tries", "_try")

    def __init__(self, tracer: Tracer, span: Span, clock: Callable[[], int]) -> None:
        self._tracer = tracer
        self._span = span
        self._clock = clock
        self._context = set_span_in_context(span, Context())
        self._try: Span | None = None
        self._tries = 0
        self._backend: Attributes = {}
        self._over = False

    def asking(self, tunnel: DialingTunnel) -> None:
        """Begin the span of a try, and end that of the last one if it had no answer."""
        self._end_try(UNANSWERED, "another backend was asked")
        self._tries += 1
        self._backend = backend_attributes(tunnel)
        attributes = {**self._backend, "network.peer.address": cut(tunnel.stream.peer.address, _MAX_TEXT)}
        round_trip_s = tunnel.stream.round_trip_s
        if round_trip_s is not None:
            attributes["konnectivity.tunnel.round_trip"] = round_trip_s
        self._try = self._tracer.start_span(
            ASK, self._context, SpanKind.CLIENT, attributes=attributes, start_time=self._clock()
        )

    def declined(self, error: DialError) -> None:
        """End the span of the last try with its error."""
        self._end_try(cause_of(error), str(error))

    def dialled(self, connection: Connection) -> None:
        """End the spans: there is a connection."""
        self._end(None, "", {"konnectivity.connection": connection.connect_id})

    def refused(self, error: DialError) -> None:
        """End the spans with the error of the dial."""
        self._end(cause_of(error), str(error), {})

    def _end(self, error_type: str | None, text: str, more: Attributes) -> None:
        if self._over:
            return
        self._over = True
        self._end_try(error_type, text)
        self._span.set_attributes({"konnectivity.tries": self._tries, **self._backend, **more})
        self._end_span(self._span, error_type, text)

    def _end_try(self, error_type: str | None, text: str) -> None:
        ended, self._try = self._try, None
        if ended is not None:
            self._end_span(ended, error_type, text)

    def _end_span(self, span: Span, error_type: str | None, text: str) -> None:
        if error_type is not None:
            span.set_attribute("error.type", error_type)
            span.set_status(Status(StatusCode.ERROR, cut(text, _MAX_TEXT)))
        span.end(self._clock())


def backend_attributes(tunnel: DialingTunnel) -> Attributes:
    """Return the attribute that names the agent or the peer server at the far end of a tunnel."""
    if isinstance(tunnel, AgentTunnel):
        return {"konnectivity.agent_id": cut(tunnel.agent_id, _MAX_TEXT)}
    return {"konnectivity.peer_server": cut(str(tunnel.log_fields.get("server", "")), _MAX_TEXT)}


def destination_attributes(destination: str, protocol: str) -> Attributes:
    """Return the attributes of a destination, "host:port" as the client sent it, and of its network."""
    host, _, port = destination.rpartition(":")
    attributes: dict[str, str | int | float | bool] = {
        "network.transport": "tcp" if protocol in ("tcp4", "tcp6") else cut(protocol, _MAX_TEXT),
        "server.address": cut(host.removeprefix("[").removesuffix("]") or destination, _MAX_TEXT),
    }
    number = parse_decimal(port, MAX_PORT)
    if number is not None:
        attributes["server.port"] = number
    return attributes
