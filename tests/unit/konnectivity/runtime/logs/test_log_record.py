"""Records of lines with fields serve handlers and formatters of other libraries."""

from __future__ import annotations

import io
import logging
import os

import pytest

from konnectivity.runtime import logs

DOCUMENTED = (  # in the standard library's table of the attributes of a record
    *("asctime", "created", "filename", "funcName", "levelname", "levelno", "lineno", "message", "module", "msecs"),
    *("name", "pathname", "process", "processName", "relativeCreated", "thread", "threadName"),
)


@pytest.fixture
def foreign():
    """Yield the stream of a handler that another library has added, with every attribute of a record in its format."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("|".join(f"{name}=%({name})s" for name in DOCUMENTED)))
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    yield stream
    root.removeHandler(handler)
    root.setLevel(level)


def test_a_formatter_of_another_library_finds_every_attribute(foreign):
    logs.get("some.module").warning("words", value=1)
    shown = dict(each.split("=", 1) for each in foreign.getvalue().strip().split("|"))
    assert (shown["levelname"], shown["levelno"], shown["name"]) == ("WARNING", "30", "some.module")
    assert shown["filename"] == "test_log_record.py"
    assert (shown["message"], shown["process"]) == ("words", str(os.getpid()))
    assert shown["pathname"] == __file__
    assert float(shown["msecs"]) == pytest.approx(float(shown["created"]) % 1 * 1000, abs=1)


def test_a_formatter_of_another_library_shows_the_traceback(foreign):
    try:
        raise ValueError("of the test")
    except ValueError:
        logs.get("some.module").exception("words")
    assert "ValueError: of the test" in foreign.getvalue()


def test_a_line_below_the_level_of_its_logger_is_not_made(foreign):
    logging.getLogger("quiet.module").setLevel(logging.ERROR)
    logs.get("quiet.module").info("words")
    logs.get_peer_log("quiet.module").warning("10.0.0.1", "words")
    assert foreign.getvalue() == ""
