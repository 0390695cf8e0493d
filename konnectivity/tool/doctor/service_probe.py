"""Probe of a gRPC listener: which of the two services it offers. Registers no agent and dials nothing."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from konnectivity.grpc import http2_client
from konnectivity.grpc.http2_client import Http2ClientTransport
from konnectivity.grpc.message_stream import StreamReceiver
from konnectivity.grpc.status import Code, RpcError, Status
from konnectivity.grpc.transport_options import TransportOptions
from konnectivity.net.error_texts import words_of

FRONTEND_PATH = "/ProxyService/Proxy"  # a call without packets requests no dial


@dataclass(frozen=True, slots=True)
class ServiceAnswer:
    """Outcome of the probing call."""

    frontend: bool = False  # the call was accepted: kube-apiserver connects to this port
    agents: bool = False  # the service is unknown at this port: agents connect to it
    text: str = ""


class _Receiver(StreamReceiver):
    """Receiver that ignores all messages."""

    def message_received(self, message: memoryview) -> None:
        return

    def stream_closed(self, status: Status) -> None:
        return


async def knock(
    dial: Callable[[], Awaitable[socket.socket]], context: ssl.SSLContext, server_name: str, timeout_s: float
) -> ServiceAnswer:
    """Call a service that only a frontend offers."""
    transport = Http2ClientTransport(TransportOptions(), server_name)
    try:
        async with asyncio.timeout(timeout_s):
            await http2_client.start(transport, await dial(), context, server_name)
            call = transport.open_stream(FRONTEND_PATH, {}, _Receiver())
            call.finish()  # a server of the reference answers a call without packets only at its end
            await call.accepted()
        return ServiceAnswer(frontend=True)
    except RpcError as error:
        if error.status.code is Code.OK:
            return ServiceAnswer(frontend=True)
        return ServiceAnswer(agents=error.status.code is Code.UNIMPLEMENTED, text=str(error))
    except TimeoutError:
        return ServiceAnswer(text=f"no answer in {timeout_s:g} s")
    except OSError as error:
        return ServiceAnswer(text=words_of(error))
    finally:
        transport.abort("the doctor is leaving")
