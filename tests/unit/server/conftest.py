"""Event loop for the tests of the server in memory: its clock jumps, so that no test waits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import pytest

from support.jumping_loop import JumpingLoop


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"jumping": JumpingLoop}
