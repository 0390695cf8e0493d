"""Peer made of grpcio that sends what the test says, packet by packet: a frontend or an agent, honest or not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc

from konnectivity import wire
from konnectivity.proto.client_pb2 import Packet
from konnectivity.testing.deployment import Deployment
from konnectivity.tunnel.extension import EXTENSION

CONNECT = "/AgentService/Connect"
PROXY = "/ProxyService/Proxy"
EXTENDED = ((EXTENSION, "1; window=65536"),)  # metadata of a peer that speaks the extension
Metadata = Sequence[tuple[str, str]]


class Call:
    """Stream of packets. One read is always pending: grpcio ends the call when a read is cancelled."""

    def __init__(self, call: Any) -> None:
        self.call = call
        self._reading: asyncio.Future[Any] | None = None

    async def say(self, packet: bytes) -> None:
        await self.call.write(packet)

    async def hear(self, timeout: float = 10) -> Packet:
        """Return the next packet.

        Raises:
            AssertionError: no packet arrived, or the stream ended.
        """
        reading = await self._read(timeout)
        assert reading.done(), "nothing was said"
        message, self._reading = reading.result(), None
        assert message is not grpc.aio.EOF, f"the stream ended: {await self.call.code()} {await self.call.details()}"
        return Packet.FromString(message)

    async def silence(self, seconds: float = 0.3) -> None:
        """Check that no packet arrives for a number of seconds."""
        reading = await self._read(seconds)
        assert not reading.done(), f"something was said: {reading.result()!r}"

    async def said_something(self) -> bool:
        """Return whether a packet has already arrived."""
        return (await self._read(0)).done()

    async def _read(self, timeout: float) -> asyncio.Future[Any]:
        if self._reading is None:
            self._reading = asyncio.ensure_future(self.call.read())
        await asyncio.wait((self._reading,), timeout=timeout)
        return self._reading


def data(connect_id: int, payload: bytes) -> bytes:
    """Return a DATA packet."""
    return wire.data_head(connect_id, len(payload)) + payload


def credentials(deployment: Deployment) -> grpc.ChannelCredentials:
    """Return the credentials of the deployment's client certificate."""
    ca, key, certificate = (Path(deployment.path(name)).read_bytes() for name in ("ca.crt", "client.key", "client.crt"))
    return grpc.ssl_channel_credentials(ca, key, certificate)


@asynccontextmanager
async def frontend(deployment: Deployment, unix: bool = True, metadata: Metadata = ()) -> AsyncIterator[Call]:
    """Open one ProxyService stream."""
    if unix:
        channel = grpc.aio.insecure_channel(f"unix:{deployment.socket}")
    else:
        channel = grpc.aio.secure_channel(f"localhost:{deployment.server_port}", credentials(deployment))
    async with channel:
        yield Call(channel.stream_stream(PROXY)(metadata=metadata))


@asynccontextmanager
async def agent(
    deployment: Deployment, agent_id: str = "grpcio-agent", identifiers: str = "", metadata: Metadata = ()
) -> AsyncIterator[Call]:
    """Open the stream of an agent and wait until the server has accepted the agent."""
    async with grpc.aio.secure_channel(f"localhost:{deployment.agent_port}", credentials(deployment)) as channel:
        names = (("agentid", agent_id), ("agentidentifiers", identifiers))
        call: Any = channel.stream_stream(CONNECT)(metadata=(*names, *metadata))
        headers = dict(await call.initial_metadata())
        assert headers["serverid"]
        assert int(headers["servercount"]) == 1
        assert (EXTENSION in headers) == bool(metadata), "who did not name the extension does not get it"
        yield Call(call)
