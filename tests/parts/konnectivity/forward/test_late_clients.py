"""Clients that come while the program ends: their connections are closed, without help of the garbage collector."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from contextlib import suppress

import pytest

from konnectivity.forward.client_listeners import ClientListeners
from konnectivity.forward.client_session import SessionSettings
from konnectivity.forward.names.dns_listener import DnsListener
from konnectivity.testing.deployment import free_port


async def proxy_listener(tasks, port):
    listeners = ClientListeners(SessionSettings(tasks, None, None, 20.0, 20.0, 4096), 10)
    await listeners.open("127.0.0.1", port, "")
    return listeners


async def dns_listener(tasks, port):
    listener = DnsListener(None, tasks, Counter())
    await listener.open("127.0.0.1", port)
    return listener


@pytest.mark.parametrize("listen", [proxy_listener, dns_listener])
async def test_a_client_that_comes_when_no_task_may_begin_reads_the_end(listen):
    port = free_port()
    with suppress(ExceptionGroup):
        async with asyncio.TaskGroup() as tasks:
            listener = await listen(tasks, port)
            raise ValueError("the end of the program")
    gc.disable()
    try:
        async with asyncio.timeout(5):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            assert await reader.read() == b""
            writer.close()
    finally:
        gc.enable()
    listener.close()
