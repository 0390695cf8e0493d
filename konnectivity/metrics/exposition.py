"""Metric families of a program, and the text that Prometheus scrapes.

Counts nothing: collectors read plain counters at each scrape. prometheus_client holds the families and collects the
process's own figures; it is loaded at the first scrape, because a program that nobody scrapes need not carry it. The
text is written here, because prometheus_client appends `_total` to every counter, and three names of the reference have
none.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Protocol

from konnectivity.kube.call_counts import CallCounts
from konnectivity.metrics.histograms import Histogram

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry, Metric
    from prometheus_client.samples import Sample

PREFIX = "konnectivity_network_proxy_"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_NOT_IN_TEXT = ("_created", "_gsum", "_gcount")  # OpenMetrics only
_LABEL_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})
_HELP_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n"})


class MetricSource(Protocol):
    """Collector of prometheus_client, without its base class."""

    def collect(self) -> Iterable[Metric]:
        """Return the families with the samples of this moment."""
        ...


class MetricsRegistry:
    """Collectors of one program, with the process's own figures: memory, CPU time, open files.

    Args:
        sources: collectors of the program.

    """

    def __init__(self, *sources: MetricSource) -> None:
        self._sources = sources
        self._registry: CollectorRegistry | None = None

    def text(self) -> bytes:
        """Return all families in the text format, sorted by name. The first call loads prometheus_client."""
        return _text(self.metrics())

    def metrics(self) -> Iterable[Metric]:
        """Return all families. The first call loads prometheus_client."""
        if self._registry is None:
            self._registry = self._load()
        return self._registry.collect()

    def _load(self) -> CollectorRegistry:
        from prometheus_client import CollectorRegistry, ProcessCollector

        made = CollectorRegistry()
        for source in (*self._sources, ProcessCollector(registry=None)):
            made.register(source)
        return made


class Family:
    """Builder of one metric family. A family without samples is not exposed.

    Args:
        kind: gauge, counter or histogram.
        name: of the family, without the common prefix.
        text: HELP of the family.

    """

    def __init__(self, kind: str, name: str, text: str) -> None:
        from prometheus_client import Metric

        self.metric = Metric(PREFIX + name, text, kind)

    def add(self, value: float, **labels: str) -> Family:
        """Add a sample and return the family."""
        self.metric.add_sample(self.metric.name, labels, value)
        return self

    def add_each(self, label: str, values: Mapping[str, float]) -> Family:
        """Add a sample for each value of a label, and return the family."""
        for text, value in sorted(values.items()):
            self.add(value, **{label: text})
        return self


def gauge(name: str, text: str) -> Family:
    """Return an empty gauge."""
    return Family("gauge", name, text)


def counter(name: str, text: str) -> Family:
    """Return an empty counter; its name gets no suffix."""
    return Family("counter", name, text)


def histogram(name: str, text: str, values: Histogram) -> Family:
    """Return a histogram without labels."""
    return histograms(name, text, "", {"": values})


def histograms(name: str, text: str, label: str, values: Mapping[str, Histogram]) -> Family:
    """Return a histogram for each value of a label, in one family."""
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
    """Return the families about requests to the Kubernetes API.

    Args:
        label: name of the label that holds the HTTP status.
        calls: the counts.
        total: name and HELP of the counter.
        latency: name and HELP of the histogram.

    """
    answers = counter(*total)
    for (status, reason), count in sorted(calls.answers.items()):
        answers.add(count, **{label: str(status), "reason": reason})
    return [answers, histograms(*latency, label, {str(status): one for status, one in calls.seconds.items()})]


def metrics_of(families: Iterable[Family]) -> list[Metric]:
    """Return the metrics that families built."""
    return [family.metric for family in families]


def text_of(families: Iterable[Family]) -> bytes:
    """Return families in the text format, sorted by name."""
    return _text(metrics_of(families))


class MetricsText:
    """Text format of families that several owners have, each with labels of its own."""

    def __init__(self) -> None:
        self._families: dict[str, list[str]] = {}

    def add(self, metrics: Iterable[Metric], labels: Mapping[str, str] | None = None) -> None:
        """Add samples. With labels, a histogram without observations is left out."""
        for metric in metrics:
            samples = [sample for sample in metric.samples if not sample.name.endswith(_NOT_IN_TEXT)]
            if not samples or (labels and metric.type == "histogram" and not any(each.value for each in samples)):
                continue
            lines = self._families.get(metric.name)
            if lines is None:
                name = samples[0].name if metric.type == "counter" else metric.name
                kind = "untyped" if metric.type == "unknown" else metric.type
                lines = self._families[metric.name] = [
                    f"# HELP {name} {metric.documentation.translate(_HELP_ESCAPES)}",
                    f"# TYPE {name} {kind}",
                ]
            if labels:
                samples = [each._replace(labels={**labels, **each.labels}) for each in samples]
            lines += map(_line, samples)

    def text(self) -> bytes:
        """Return all families, sorted by name."""
        return "".join(f"{line}\n" for _, lines in sorted(self._families.items()) for line in lines).encode()


def _text(metrics: Iterable[Metric]) -> bytes:
    found = MetricsText()
    found.add(metrics)
    return found.text()


def _line(sample: Sample) -> str:
    labels = ",".join(f'{name}="{value.translate(_LABEL_ESCAPES)}"' for name, value in sample.labels.items())
    return f"{sample.name}{{{labels}}} {_number(sample.value)}" if labels else f"{sample.name} {_number(sample.value)}"


def _number(value: float) -> str:
    """Return a number as Go prints it: whole numbers without a point."""
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if value == int(value) else repr(value)
