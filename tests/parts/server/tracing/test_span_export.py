"""Export of spans to a collector that is slow, refuses or is gone: nothing waits, every lost span is counted."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from konnectivity_server.tracing.span_export import CLOSE_S, MAX_WAITING, SpanExport, traces_url


class Collector(SpanExporter):
    """Exporter that waits for the test before it answers."""

    def __init__(self):
        self.spans = 0
        self.result = SpanExportResult.SUCCESS
        self.answers = threading.Event()

    def export(self, spans):
        self.answers.wait(20)
        self.spans += len(spans)
        return self.result


class Traced:
    def __init__(self):
        self.collector = Collector()
        self.export = SpanExport(self.collector)
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(self.export)
        self._tracer = provider.get_tracer("test")

    def end_spans(self, count):
        for _ in range(count):
            self._tracer.start_span("dial").end()


@pytest.fixture
def traced():
    made = Traced()
    yield made
    made.collector.answers.set()
    made.export.shutdown()


def test_waiting_spans_are_sent_at_the_end(traced):
    traced.collector.answers.set()
    traced.end_spans(100)
    traced.export.shutdown()
    assert (traced.collector.spans, traced.export.spans, traced.export.dropped) == (100, 100, 0)


def test_spans_beyond_the_queue_are_dropped_and_counted(traced):
    began = time.monotonic()
    traced.end_spans(MAX_WAITING + 500)
    assert time.monotonic() - began < 5
    assert traced.export.dropped == 500
    traced.collector.answers.set()
    traced.export.shutdown()
    assert traced.collector.spans == MAX_WAITING
    assert traced.export.dropped == 500


def test_spans_that_the_collector_does_not_take_are_counted(traced):
    traced.collector.result = SpanExportResult.FAILURE
    traced.collector.answers.set()
    traced.end_spans(10)
    traced.export.shutdown()
    assert traced.export.dropped == 10


def test_the_end_does_not_wait_for_a_collector_that_does_not_answer(traced):
    traced.end_spans(10)
    began = time.monotonic()
    traced.export.shutdown()
    assert CLOSE_S <= time.monotonic() - began < CLOSE_S + 1


@pytest.mark.parametrize(
    ("endpoint", "url"),
    [
        ("http://otel:4318", "http://otel:4318/v1/traces"),
        ("https://otel/", "https://otel/v1/traces"),
        ("http://otel/own/path", "http://otel/own/path"),
    ],
)
def test_an_endpoint_without_a_path_gets_that_of_otlp(endpoint, url):
    assert traces_url(endpoint) == url


def test_a_missing_extra_is_named():
    code = (
        "import sys; sys.modules['opentelemetry'] = None\n"
        "from konnectivity_server.tracing import open_tracing\n"
        "open_tracing('http://otel:4318', 1.0, 's')"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    text = "--tracing-endpoint needs the extra konnectivity[opentelemetry]; install it, or remove the option"
    assert run.stderr.splitlines()[-1].endswith(f"StartError: {text}")
