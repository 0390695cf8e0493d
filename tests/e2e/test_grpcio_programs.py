"""Tests of the programs on grpcio instead of our HTTP/2, in every combination, as an independent transport oracle."""

from __future__ import annotations

import asyncio

import pytest

from konnectivity.client import DialError, DialFailure, connect
from support import targets
from support.targets import listening

GRPCIO = "--grpc-implementation=grpcio"


@pytest.mark.parametrize("mode", ["http-connect", "grpc"])
@pytest.mark.parametrize(
    ("server", "agent"),
    [((), (GRPCIO,)), ((GRPCIO,), ()), ((GRPCIO,), (GRPCIO,))],
    ids=["native-grpcio", "grpcio-native", "grpcio-grpcio"],
)
async def test_echo_half_close_and_refusal(fresh, server, agent, mode):
    await asyncio.to_thread(fresh.start_server, *server, f"--mode={mode}")
    await asyncio.to_thread(fresh.start_agent, *agent)
    size = 2_000_000

    async def talk(tunnel, address):
        reader, writer = await tunnel.dial(address)
        for piece in targets.pattern(size):
            writer.write(piece)
        writer.write_eof()
        answer = (await reader.read()).decode().strip()
        writer.close()
        return answer

    async with listening(targets.digest) as address, connect(**fresh.frontend(mode, unix=True)) as tunnel:
        answers = await asyncio.gather(*(talk(tunnel, address) for _ in range(5)))
        assert set(answers) == {targets.pattern_digest(size)}
        with pytest.raises(DialError) as caught:
            await tunnel.dial("127.0.0.1:9")
        assert caught.value.failure is DialFailure.ENDPOINT
        assert "connection refused" in str(caught.value)
