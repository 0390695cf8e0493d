"""Metrics of a program: its own registry, builders of metric families, and the text that Prometheus scrapes.

Nothing is counted here: collectors read plain counters when somebody scrapes. The text is written here and not by
prometheus_client, because that appends `_total` to every counter and three of the established names have none.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from prometheus_client import CollectorRegistry, Metric, ProcessCollector
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from konnectivity.kube.call_counts import CallCounts
from konnectivity.metrics.histograms import Histogram

PREFIX = "konnectivity_network_proxy_"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_NOT_IN_TEXT = ("_created", "_gsum", "_gcount")  # OpenMetrics only
_LABEL_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})
_HELP_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n"})


def registry(*collectors: Collector) -> CollectorRegistry:
    """A registry with the given collectors and the process's own figures (memory, CPU, open files)."""
    made = CollectorRegistry()
    for collector in (*collectors, ProcessCollector(registry=None)):
        made.register(collector)
    return made


class Family:
    """Builds one metric family. A family that gets no sample is not exposed."""

    def __init__(self, kind: str, name: str, text: str) -> None:
        self.metric = Metric(PREFIX + name, text, kind)

    def add(self, value: float, **labels: str) -> Family:
        self.metric.add_sample(self.metric.name, labels, value)
        return self

    def add_each(self, label: str, values: Mapping[str, float]) -> Family:
        """A sample for each value of a label."""
        for text, value in sorted(values.items()):
            self.add(value, **{label: text})
        return self


def gauge(name: str, text: str) -> Family:
    return Family("gauge", name, text)


def counter(name: str, text: str) -> Family:
    """A counter whose name stays as it is given."""
    return Family("counter", name, text)


def histogram(name: str, text: str, values: Histogram) -> Family:
    return histograms(name, text, "", {"": values})


def histograms(name: str, text: str, label: str, values: Mapping[str, Histogram]) -> Family:
    """One for each value of a label."""
    family = Family("histogram", name, text)
    metric = family.metric
    for value, one in sorted(values.items()):
        labels = {label: value} if label else {}
        counts = one.cumulative()
        for bound, count in zip((*one.bounds, math.inf), counts, strict=True):
            metric.add_sample(f"{metric.name}_bucket", {**labels, "le": _number(bound)}, count)
        metric.add_sample(f"{metric.name}_sum", labels, one.total)
        metric.add_sample(f"{metric.name}_count", labels, counts[-1])
    return family


def requests(label: str, calls: CallCounts, total: tuple[str, str], latency: tuple[str, str]) -> list[Family]:
    """Requests to the Kubernetes API, by the label for the HTTP status; `total` and `latency` are (name, HELP)."""
    answers = counter(*total)
    for (status, reason), count in sorted(calls.answers.items()):
        answers.add(count, **{label: str(status), "reason": reason})
    return [answers, histograms(*latency, label, {str(status): one for status, one in calls.seconds.items()})]


def metrics_of(families: Iterable[Family]) -> list[Metric]:
    """What a collector returns."""
    return [family.metric for family in families]


def exposition(source: CollectorRegistry) -> bytes:
    """All families of a registry in the text format, sorted by name."""
    return _text(source.collect())


def text_of(families: Iterable[Family]) -> bytes:
    """The same of these."""
    return _text(metrics_of(families))


def _text(metrics: Iterable[Metric]) -> bytes:
    lines: list[str] = []
    for metric in sorted(metrics, key=lambda each: each.name):
        samples = [sample for sample in metric.samples if not sample.name.endswith(_NOT_IN_TEXT)]
        if samples:
            name = samples[0].name if metric.type == "counter" else metric.name
            kind = "untyped" if metric.type == "unknown" else metric.type
            lines.append(f"# HELP {name} {metric.documentation.translate(_HELP_ESCAPES)}")
            lines.append(f"# TYPE {name} {kind}")
            lines += map(_line, samples)
    return "".join(f"{line}\n" for line in lines).encode()


def _line(sample: Sample) -> str:
    labels = ",".join(f'{name}="{value.translate(_LABEL_ESCAPES)}"' for name, value in sample.labels.items())
    return f"{sample.name}{{{labels}}} {_number(sample.value)}" if labels else f"{sample.name} {_number(sample.value)}"


def _number(value: float) -> str:
    """As Go prints it: whole numbers without a point."""
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if value == int(value) else repr(value)
