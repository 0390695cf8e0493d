"""Fixtures of the tests of log lines."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator

import pytest

from konnectivity.runtime import logs


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """Yield the stream to which every log line is written."""
    root = logging.getLogger()
    level = root.level
    stream = io.StringIO()
    logs.configure(0, stream)
    yield stream
    for handler in [each for each in root.handlers if each.name == "konnectivity"]:
        root.removeHandler(handler)
    root.setLevel(level)
