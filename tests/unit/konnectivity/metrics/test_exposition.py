"""Text that Prometheus scrapes: checked with the library's own parser, and byte for byte where clients compare."""

from __future__ import annotations

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from konnectivity.metrics.exposition import Family, MetricsRegistry, counter, gauge, histogram, metrics_of
from konnectivity.metrics.histograms import Histogram


def shown(*families: Family) -> str:
    class Fixed(Collector):
        def collect(self) -> list[Metric]:
            return metrics_of(families)

    text = MetricsRegistry(Fixed()).text().decode()
    list(text_string_to_metric_families(text))  # the text parses
    return "".join(f"{line}\n" for line in text.splitlines() if "konnectivity" in line)


def test_a_counter_keeps_its_name():
    text = shown(counter("server_dial_failure_count", "Failures.").add_each("reason", {"b": 2, "a": 1}))
    assert text == (
        "# HELP konnectivity_network_proxy_server_dial_failure_count Failures.\n"
        "# TYPE konnectivity_network_proxy_server_dial_failure_count counter\n"
        'konnectivity_network_proxy_server_dial_failure_count{reason="a"} 1\n'
        'konnectivity_network_proxy_server_dial_failure_count{reason="b"} 2\n'
    )


def test_a_family_without_samples_is_not_shown():
    assert shown(counter("x_total", "X.").add_each("reason", {})) == ""


def test_numbers_look_like_gos():
    text = shown(gauge("whole", "W.").add(3.0), gauge("part", "P.").add(0.25))
    assert "whole 3\n" in text
    assert "part 0.25\n" in text


def test_label_values_and_help_are_escaped():
    text = shown(gauge("odd", "two\nlines").add(1, name='a"b\\c\nd'))
    assert "two\\nlines" in text
    assert r'name="a\"b\\c\nd"' in text


def test_a_histogram():
    values = Histogram((0.5, 1))
    for value in (0.1, 0.5, 0.7, 9):
        values.observe(value)
    assert values.count == 4
    text = shown(histogram("server_x_seconds", "X.", values))
    for line in ('_bucket{le="0.5"} 2', '_bucket{le="1"} 3', '_bucket{le="+Inf"} 4', "_sum 10.3", "_count 4"):
        assert f"konnectivity_network_proxy_server_x_seconds{line}\n" in text
