"""Tests of a running server's spans: dials that succeed, fail and are retried, and a collector that never answers."""

from __future__ import annotations

import asyncio
import http.server
import signal
import socket
import threading
import time
import urllib.request
from contextlib import contextmanager

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from konnectivity import wire
from konnectivity.client import connect
from konnectivity.errors import NO_MEMORY, DialError
from support import grpc_peer, targets
from support.targets import listening

DECLINING = "127.0.0.2"  # destinations that an agent asked first declines
TRACE_PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
DEADLINE_S = 20
DIALS = 10  # of which each worker has some
PREFIX = "konnectivity_network_proxy_server_"


class Collector(http.server.ThreadingHTTPServer):
    """Receiver of OTLP over HTTP that keeps the spans."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), CollectorRequest)
        self.spans = []
        self.paths = set()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"

    async def dial(self, destination, port, frontend="http-connect"):
        """Return the span of a dial through a frontend, its attributes, and the spans of its tries."""
        end = time.monotonic() + DEADLINE_S
        while True:
            for span in list(self.spans):
                found = attributes(span)
                where = (found.get("server.address"), found.get("server.port"), found.get("konnectivity.frontend"))
                if where == (destination, port, frontend):
                    return span, found, [each for each in self.spans if each.parent_span_id == span.span_id]
            assert time.monotonic() < end, f"no span of {destination}:{port}"
            await asyncio.sleep(0.05)


class CollectorRequest(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.paths.add(self.path)
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            for scope in resource.scope_spans:
                self.server.spans += scope.spans
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def attributes(span):
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in span.attributes}


@contextmanager
def collecting():
    with Collector() as collector:
        thread = threading.Thread(target=collector.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield collector
        finally:
            collector.shutdown()
            thread.join()


def scraped(deployment, name):
    text = urllib.request.urlopen(f"http://127.0.0.1:{deployment.health_port}/metrics", timeout=10).read().decode()
    return next(float(line.split()[1]) for line in text.splitlines() if line.startswith(f"{PREFIX}{name} "))


async def test_a_collector_gets_the_spans_of_dials_that_succeed_fail_and_are_retried(fresh):
    with collecting() as collector:
        server = fresh.start_server(
            f"--tracing-endpoint={collector.url}", "--proxy-strategies=destHost,default", "--server-id=server-1"
        )
        await asyncio.to_thread(fresh.start_agent, "--agent-id=agent-1", "--agent-identifiers=ipv4=127.0.0.1")
        async with (
            listening(targets.echo) as address,
            grpc_peer.agent(fresh, "agent-2", f"ipv4={DECLINING}") as declining,
        ):
            port = int(address.rpartition(":")[2])
            await succeeds_over_grpc(fresh, address)
            await succeeds_with_a_parent(fresh, address)
            await fails(fresh, "127.0.0.1:1")
            retried = asyncio.create_task(fails(fresh, f"{DECLINING}:1"))
            asked = await declining.hear()
            await declining.say(wire.dial_rsp(asked.dialRequest.random, error=NO_MEMORY))
            await retried
            await check_retry(collector)
        await check_success(collector, port, "grpc")
        await check_success(collector, port, "http-connect")
        await check_refusal(collector)
        assert collector.paths == {"/v1/traces"}
        assert scraped(fresh, "tracing_spans_total") == 4 + 5
        assert scraped(fresh, "tracing_spans_dropped_total") == 0
        server.stop()


async def test_a_server_on_grpcio_sends_the_spans_of_a_dial_below_the_parent_of_its_call(fresh):
    with collecting() as collector:
        options = ("--mode=grpc", "--grpc-implementation=grpcio", f"--tracing-endpoint={collector.url}")
        server = await asyncio.to_thread(fresh.start_server, *options, "--server-id=server-1")
        await asyncio.to_thread(fresh.start_agent, "--agent-id=agent-1")
        async with listening(targets.echo) as address:
            await succeeds_over_grpc(fresh, address)
        await check_success(collector, int(address.rpartition(":")[2]), "grpc")
        server.stop()


async def test_the_workers_of_a_server_send_their_spans(fresh):
    """The collector gets the spans of all dials, whichever worker had them, and the metric is the sum of both."""
    with collecting() as collector:
        arguments = fresh.server_arguments("--workers=2", "--server-id=both", f"--tracing-endpoint={collector.url}")
        server = await asyncio.to_thread(fresh.start_package, "konnectivity_server", arguments)
        await asyncio.to_thread(server.wait_for, "Proxy server started", times=2)
        agent = await asyncio.to_thread(fresh.start_agent)
        await asyncio.to_thread(agent.wait_for, "Connected to server", times=2)
        async with listening(targets.echo) as address:
            for _ in range(DIALS):
                await succeeds_with_a_parent(fresh, address)
        end = time.monotonic() + DEADLINE_S
        while len(collector.spans) < 2 * DIALS and time.monotonic() < end:
            await asyncio.sleep(0.05)
        assert len(collector.spans) == 2 * DIALS
        assert scraped(fresh, "tracing_spans_total") == 2 * DIALS
        server.stop()


async def succeeds_over_grpc(deployment, address):
    async with grpc_peer.frontend(deployment, metadata=(("traceparent", TRACE_PARENT),)) as frontend:
        await frontend.say(wire.dial_req(address, 7))
        assert not (await frontend.hear()).dialResponse.error


async def succeeds_with_a_parent(deployment, address):
    reader, writer = await asyncio.open_unix_connection(deployment.socket)
    head = f"CONNECT {address} HTTP/1.1\r\nHost: {address}\r\ntraceparent: {TRACE_PARENT}\r\n\r\n"
    writer.write(head.encode())
    assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
    writer.close()


async def fails(deployment, address):
    async with connect(**deployment.frontend("http-connect", unix=True)) as tunnel:
        with pytest.raises(DialError):
            await tunnel.dial(address)


async def check_success(collector, port, frontend):
    span, found, (ask,) = await collector.dial("127.0.0.1", port, frontend)
    assert (span.name, span.kind, ask.name, ask.kind) == ("dial", Span.SPAN_KIND_SERVER, "ask", Span.SPAN_KIND_CLIENT)
    assert found["network.transport"] == "tcp"
    assert (found["konnectivity.agent_id"], found["konnectivity.tries"]) == ("agent-1", 1)
    assert "error.type" not in found
    assert f"00-{span.trace_id.hex()}-{span.parent_span_id.hex()}-01" == TRACE_PARENT
    assert span.start_time_unix_nano <= ask.start_time_unix_nano <= ask.end_time_unix_nano <= span.end_time_unix_nano
    assert abs(span.end_time_unix_nano / 1e9 - time.time()) < DEADLINE_S


async def check_refusal(collector):
    span, found, (ask,) = await collector.dial("127.0.0.1", 1)
    assert (found["error.type"], attributes(ask)["error.type"]) == ("error_response", "error_response")
    assert span.status.code == ask.status.code == Status.STATUS_CODE_ERROR
    assert "connection refused" in span.status.message


async def check_retry(collector):
    span, found, asks = await collector.dial(DECLINING, 1)
    assert (found["konnectivity.tries"], found["konnectivity.agent_id"]) == (2, "agent-1")
    first, second = sorted(asks, key=lambda each: each.start_time_unix_nano)
    assert attributes(first)["konnectivity.agent_id"] == "agent-2"
    assert first.status.message == NO_MEMORY
    assert first.end_time_unix_nano <= second.start_time_unix_nano <= span.end_time_unix_nano


async def test_a_collector_that_never_answers_delays_neither_dials_nor_the_end(fresh):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        server = fresh.start_server(
            f"--tracing-endpoint=http://127.0.0.1:{silent.getsockname()[1]}", "--graceful-shutdown-timeout=0"
        )
        waits = []
        async with connect(**fresh.frontend("http-connect", unix=True)) as tunnel:
            for _ in range(300):  # without an agent: each dial is answered by the server itself
                began = time.monotonic()
                with pytest.raises(DialError):
                    await tunnel.dial("nobody.example:1")
                waits.append(time.monotonic() - began)
        assert sorted(waits)[len(waits) // 2] < 0.05
        assert max(waits) < 1.0
        assert scraped(fresh, "tracing_spans_total") == 300
        began = time.monotonic()
        server.send(signal.SIGTERM)
        assert await asyncio.to_thread(server.wait) == 0
        assert time.monotonic() - began < 4
        assert "Spans were lost; the collector did not take them" in server.log
        assert "Traceback" not in server.log


async def test_dials_that_are_not_sampled_have_no_spans(fresh):
    fresh.start_server("--tracing-endpoint=http://127.0.0.1:9", "--tracing-sample-ratio=0")
    await fails(fresh, "nobody.example:1")
    assert scraped(fresh, "tracing_spans_total") == 0
