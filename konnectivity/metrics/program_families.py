"""Metric families that every program has, also one without tunnels: build, limits, errors, log lines, certificates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

from konnectivity import __version__
from konnectivity.metrics.exposition import Family, counter, gauge
from konnectivity.runtime import logs, task_guard
from konnectivity.runtime.build_kind import build_kind


class CertificateFiles(Protocol):
    """Facts about the TLS files of one end. Times are seconds since 1970."""

    not_after: float | None
    ca_not_after: float | None
    last_reload: float
    reloads: int
    reload_failures: int


def build_info(program: str) -> Family:
    """Return the version and the kind of build, as labels of a gauge that is always 1."""
    family = gauge(f"{program}_build_info", "Version and build of the program (compiled, or pure Python); always 1.")
    return family.add(1, version=__version__, build=build_kind())


def dropped_log_lines(program: str) -> Iterator[Family]:
    """Yield the counts of log lines that were not written."""
    text = "Log lines that could not be written, or found too many waiting."
    yield counter(f"{program}_log_lines_dropped_total", text).add(logs.dropped())
    text = "Log lines about peers that were left out because one peer, or all together, caused too many."
    yield counter(f"{program}_log_lines_left_out_total", text).add(logs.left_out())


def limits_reached(program: str, reached: Mapping[str, int]) -> Family:
    """Return how often each limit was reached, by the name of the limit."""
    text = "Times a limit on what one peer may take was reached, by limit."
    return counter(f"{program}_limits_reached_total", text).add_each("limit", dict(sorted(reached.items())))


def unexpected_errors(program: str) -> Family:
    """Return the unexpected exceptions, by kind of task."""
    text = "Unexpected errors of this program, by kind of task: each ended one task and has a line in the log."
    return counter(f"{program}_unexpected_errors_total", text).add_each("task", task_guard.counts)


def certificates(program: str, ends: Mapping[str, CertificateFiles]) -> Iterator[Family]:
    """Yield expiry and reloads of certificates.

    Args:
        program: prefix of the names.
        ends: what the files are for -> the facts about them.

    """
    expiry = gauge(
        f"{program}_certificate_expiry_timestamp_seconds", "When a certificate in use expires, in seconds since 1970."
    )
    last = gauge(f"{program}_tls_last_reload_timestamp_seconds", "When TLS files were last taken into use.")
    reloads = counter(f"{program}_tls_reloads_total", "Changes of TLS files that were taken into use.")
    failures = counter(f"{program}_tls_reload_failures_total", "Changes of TLS files that could not be used.")
    for end, files in ends.items():
        for kind, when in (("certificate", files.not_after), ("ca", files.ca_not_after)):
            if when is not None:
                expiry.add(when, end=end, kind=kind)
        last.add(files.last_reload, end=end)
        reloads.add(files.reloads, end=end)
        failures.add(files.reload_failures, end=end)
    yield from (expiry, last, reloads, failures)
