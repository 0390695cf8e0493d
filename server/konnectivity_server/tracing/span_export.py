"""Export of finished spans: a bounded queue, and the SDK's thread that sends batches of it to a collector.

A collector that is slow or down never delays a dial: spans beyond the queue, and batches that the collector does not
take, are dropped and counted. The SDK's own log lines are replaced by one line per change.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit, urlunsplit

from opentelemetry.exporter.otlp.proto.http import trace_exporter
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from konnectivity.runtime import logs
from konnectivity.untrusted.untrusted_text import cut

log = logs.get(__name__)

MAX_WAITING = 4096  # spans
BATCH = 512  # spans of one request
DELAY_MS = 1000  # longest time that a span waits for others
CLOSE_S = 1.0  # longest time that the end of the server waits for the collector
_PATH = "/v1/traces"


class SpanExport(SpanProcessor):
    """Queue of finished spans in front of an exporter.

    Args:
        exporter: sends a batch of spans. Called on a thread of its own.
        reason: returns the text of the exporter's last failure, for the log.

    """

    def __init__(self, exporter: SpanExporter, reason: Callable[[], str] = str) -> None:
        self.spans = 0  # finished spans
        self._handed = 0  # to the batches
        self._full = 0  # spans dropped because MAX_WAITING others waited
        self._exporter = CountedExporter(exporter, reason)
        self._batches = BatchSpanProcessor(self._exporter, MAX_WAITING, DELAY_MS, BATCH)

    @property
    def dropped(self) -> int:
        """Number of spans that the collector will not get."""
        return self._full + self._exporter.lost

    def on_end(self, span: ReadableSpan) -> None:
        """Queue a finished span, or drop it if the queue is full."""
        self.spans += 1
        if self._handed - self._exporter.taken >= MAX_WAITING:
            self._full += 1
        else:
            self._handed += 1
            self._batches.on_end(span)

    def shutdown(self) -> None:
        """Send the spans that wait; give up after `CLOSE_S` seconds."""
        sending = threading.Thread(target=self._batches.shutdown, name="last spans", daemon=True)
        sending.start()
        sending.join(CLOSE_S)
        lost = self.dropped + self._handed - self._exporter.taken
        if lost:
            log.warning("Spans were lost; the collector did not take them", lost=lost, spans=self.spans)


class CountedExporter(SpanExporter):
    """Exporter that counts the spans that another one took and lost, and logs when that one begins to fail or to work.

    Args:
        exporter: sends a batch of spans.
        reason: returns the text of the exporter's last failure.

    """

    def __init__(self, exporter: SpanExporter, reason: Callable[[], str]) -> None:
        self.taken = 0  # spans of finished requests
        self.lost = 0  # spans of failed requests
        self._exporter = exporter
        self._failing = False
        self._reason = reason

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send a batch of spans."""
        result = SpanExportResult.FAILURE
        try:
            result = self._exporter.export(spans)
        finally:
            failed = result is not SpanExportResult.SUCCESS
            self.lost += len(spans) * failed
            self.taken += len(spans)
            self._note(failed)
        return result

    def shutdown(self) -> None:
        """Stop to send."""
        self._exporter.shutdown()

    def _note(self, failed: bool) -> None:
        reason = self._reason()
        if failed and not self._failing:
            log.warning("The collector takes no spans; check --tracing-endpoint", reason=reason)
        elif self._failing and not failed:
            log.info("The collector takes spans again", lost=self.lost)
        self._failing = failed


class _LastMessages(logging.Filter):
    """Filter that lets no line pass and keeps the last two: of a request's last try, and of the end of its tries."""

    def __init__(self) -> None:
        super().__init__()
        self._texts: deque[str] = deque(maxlen=2)

    def filter(self, record: logging.LogRecord) -> bool:
        """Keep the text of a line, and drop the line."""
        self._texts.append(record.getMessage())
        return False

    def take(self) -> str:
        """Return the texts and forget them."""
        text = cut("; ".join(self._texts))
        self._texts.clear()
        return text


def _replace_log_lines() -> _LastMessages:
    """Silence the log of the SDK, and return the filter that keeps the last lines of its exporter."""
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    last = _LastMessages()
    exporter = logging.getLogger(trace_exporter.__name__)
    exporter.setLevel(logging.WARNING)
    exporter.addFilter(last)
    return last


def to_collector(endpoint: str) -> SpanExport:
    """Return an export to the collector at a URL, by OTLP over HTTP."""
    last = _replace_log_lines()
    return SpanExport(trace_exporter.OTLPSpanExporter(endpoint=traces_url(endpoint)), last.take)


def traces_url(endpoint: str) -> str:
    """Return the URL for spans of a collector's URL: with the path of OTLP, unless it has a path."""
    parts = urlsplit(endpoint)
    return urlunsplit(parts._replace(path=_PATH)) if parts.path in ("", "/") else endpoint
