"""Tests run on the event loop that the programs run on."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import uvloop
from hypothesis import settings

from compatibility import recorder
from support import container_engine, image_cache
from support.examples import examples
from support.node_scheduling import NodeScheduling

# No deadline: the time of one example depends on the machine more than on the code.
settings.register_profile("any machine", deadline=None, max_examples=examples(100))
settings.load_profile("any machine")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--nodes-beside", action="store_true", help="the last of the processes runs tests/node alone")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> NodeScheduling | None:
    return NodeScheduling(config, log) if config.getoption("--nodes-beside") else None


def pytest_configure(config: pytest.Config) -> None:
    recorder.register(config)


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}


def pytest_sessionstart() -> None:
    """Behind `nohup` or `&`, Ctrl-C is ignored, by all that is started, too: programs are tested as from a terminal."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """In CI a test that is skipped has not been run: that fails."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("CI") and reporter is not None and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show the figures that tests recorded with `record_property`, also if the tests passed."""
    reports = [
        each for group in terminalreporter.stats.values() for each in group if getattr(each, "when", "") == "call"
    ]
    figures = [value for each in reports for name, value in each.user_properties if name == "figure"]
    if figures:
        terminalreporter.section("figures")
        terminalreporter.write_line("\n".join(map(str, figures)))


@pytest.fixture(scope="session")
def product_image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    """Build the product's image, or take it from the cache; yield its root and a root with a shell."""
    if reason := container_engine.lacking():
        pytest.skip(reason)
    directory = tmp_path_factory.mktemp("image")
    yield image_cache.product(directory)
    container_engine.run("rm", "-rf", directory)
