"""Spans of dials of a server in memory, on a clock that a test moves."""

from __future__ import annotations

import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from konnectivity.errors import NO_MEMORY, REFUSED_BY_POLICY, DialError, DialFailure
from konnectivity.grpc.metadata import Metadata
from konnectivity.tunnel import sides
from konnectivity.tunnel.serving import IncomingDial, ServingTunnel
from konnectivity.tunnel.tunnel_options import TunnelOptions
from konnectivity_server.tracing.dial_spans import destination_attributes
from konnectivity_server.tracing.dial_tracing import DialTracing, origin_of
from support.memory_server import CLIENT, MemoryServer, advance, asked_one, in_still_time
from support.memory_streams import stream_pair

EPOCH = 1_800_000_000 * 10**9
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"00-{TRACE}-{SPAN}-01"


class TracedServer(MemoryServer):
    """Server in memory whose finished spans are kept."""

    def __init__(self, ratio: float = 1.0) -> None:
        super().__init__()
        self.now = 5.0
        self._spans = InMemorySpanExporter()
        self.tracing = DialTracing(
            SimpleSpanProcessor(self._spans),  # type: ignore[arg-type]
            ratio,
            "server-1",
            lambda: int(self.now * 1e9),
            lambda: EPOCH,
        )
        self.dials.trace_in(self.tracing)

    def spans(self, name):
        return [span for span in self._spans.get_finished_spans() if span.name == name]

    @property
    def dial_span(self):
        (found,) = self.spans("dial")
        return found


def seconds(span):
    return (span.end_time - span.start_time) / 1e9


@in_still_time
async def test_a_dial_has_one_span_and_each_try_one_below_it():
    server = TracedServer()
    agent = server.agent("node-1")
    server.dial("[fd00::1]:10250")
    server.now += 0.25
    agent.connects()
    span, (ask,) = server.dial_span, server.spans("ask")
    assert dict(span.attributes) == {
        "network.transport": "tcp",
        "server.address": "fd00::1",
        "server.port": 10250,
        "konnectivity.frontend": "http-connect",
        "client.address": "10.1.1.1",
        "konnectivity.tries": 1,
        "konnectivity.agent_id": "node-1",
        "konnectivity.connection": 1,
    }
    assert dict(ask.attributes) == {"konnectivity.agent_id": "node-1", "network.peer.address": "node-1.test:1"}
    assert (span.kind, span.parent, span.status.status_code) == (SpanKind.SERVER, None, StatusCode.UNSET)
    assert (ask.kind, ask.parent.span_id, ask.status.status_code) == (
        SpanKind.CLIENT,
        span.context.span_id,
        StatusCode.UNSET,
    )
    assert (span.start_time, seconds(span), seconds(ask)) == (EPOCH, 0.25, 0.25)
    assert span.resource.attributes["service.instance.id"] == "server-1"


@in_still_time
async def test_a_retried_dial_has_the_time_and_the_error_of_each_try():
    server = TracedServer()
    agents = server.agents(2)
    server.dial()
    first = asked_one(agents)
    server.now += 1.0
    first.fails(NO_MEMORY)
    second = asked_one(agents)
    server.now += 0.5
    second.connects()
    span, asks = server.dial_span, server.spans("ask")
    assert [each.attributes["konnectivity.agent_id"] for each in asks] == [
        first.tunnel.agent_id,
        second.tunnel.agent_id,
    ]
    assert [(seconds(each), each.attributes.get("error.type")) for each in asks] == [
        (1.0, "error_response"),
        (0.5, None),
    ]
    assert asks[0].status.description == NO_MEMORY
    assert span.attributes["konnectivity.tries"] == 2
    assert span.attributes["konnectivity.agent_id"] == second.tunnel.agent_id
    assert span.status.status_code is StatusCode.UNSET


@in_still_time
async def test_a_try_that_is_given_up_without_an_answer_says_so():
    server = TracedServer()
    agents = server.agents(2)
    server.dial()
    first = asked_one(agents)
    server.dials.retry_all_of(first.tunnel)
    assert [each.attributes["error.type"] for each in server.spans("ask")] == ["unanswered"]


@in_still_time
async def test_a_dial_that_fails_has_its_error_in_all_spans_that_are_open():
    server = TracedServer()
    with pytest.raises(DialError):
        server.dial("node:1")
    agent = server.agent()
    for number, text in ((2, "connection refused"), (3, f"dial: {REFUSED_BY_POLICY}: x" + "y" * 5000)):
        server.dial(f"node:{number}")
        agent.fails(text)
    server.dial("node:4")[1].cancel()
    server.dial("node:5")
    await advance(60.0)
    dials, asks = server.spans("dial"), server.spans("ask")
    causes = ["error_response", "policy", "frontend_close", "backend_dial_timeout"]
    assert [each.attributes["error.type"] for each in dials] == ["no_agent", *causes]
    assert [each.attributes["error.type"] for each in asks] == causes
    assert {each.status.status_code for each in (*dials, *asks)} == {StatusCode.ERROR}
    assert [each.attributes["konnectivity.tries"] for each in dials] == [0, 1, 1, 1, 1]
    assert max(len(each.status.description) for each in dials) <= 256


@in_still_time
async def test_a_peer_server_is_named_instead_of_an_agent():
    server = TracedServer()
    peer = server.peer("server-2")
    server.dial()
    peer.connects()
    attributes = server.dial_span.attributes
    assert attributes["konnectivity.peer_server"] == "server-2"
    assert "konnectivity.agent_id" not in attributes


@in_still_time
async def test_a_dial_that_is_not_sampled_has_no_observer():
    server = TracedServer(ratio=0.0)
    server.agent()
    assert server.tracing.record("node:1", "tcp", CLIENT, False, server.dial()[0]) is None
    assert server.spans("dial") == []


def incoming(*values):
    """Return a dial of a gRPC call with these values of `traceparent`."""
    stream, _ = stream_pair()
    stream.metadata = Metadata(("traceparent", value) for value in values)
    tunnel = ServingTunnel(stream, TunnelOptions(), sides.SERVER, sides.CLIENT, lambda dial: None)
    return IncomingDial(tunnel, 1, "tcp", "node:1")


@in_still_time
async def test_the_parent_of_a_grpc_call_decides_whether_its_dials_have_spans():
    server = TracedServer(ratio=0.0)
    observer = server.tracing.record("node:1", "tcp", CLIENT, False, incoming(PARENT))
    observer.refused(DialError(DialFailure.NO_AGENT, "No agent available"))
    span = server.dial_span
    assert (f"{span.context.trace_id:032x}", f"{span.parent.span_id:016x}") == (TRACE, SPAN)
    assert span.attributes["konnectivity.frontend"] == "grpc"
    server = TracedServer(ratio=1.0)
    assert server.tracing.record("node:1", "tcp", CLIENT, False, incoming(PARENT[:-1] + "0")) is None


@in_still_time
async def test_only_one_well_formed_parent_of_a_frontend_counts():
    assert origin_of(incoming(PARENT), False)[1] is not None
    for values in ((), (PARENT, PARENT), ("nonsense",)):
        assert origin_of(incoming(*values), False) == ("grpc", None)
    assert origin_of(incoming(PARENT), True) == ("peer", None)


@pytest.mark.parametrize(
    ("destination", "protocol", "expected"),
    [
        ("10.0.0.1:80", "tcp4", ("tcp", "10.0.0.1", 80)),
        ("nonsense", "tcp", ("tcp", "nonsense", None)),
        ("a:http", "udp", ("udp", "a", None)),
        ("a:٣", "tcp", ("tcp", "a", None)),
        (f"{'a' * 5000}:1", "tcp", ("tcp", "a" * 253 + "…", 1)),
    ],
)
def test_a_destination_that_a_client_made_up_stays_bounded(destination, protocol, expected):
    found = destination_attributes(destination, protocol)
    assert (found["network.transport"], found["server.address"], found.get("server.port")) == expected
