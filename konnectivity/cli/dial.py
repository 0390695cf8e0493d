"""`konnectivity dial HOST:PORT`: netcat through the tunnel."""

from __future__ import annotations

import argparse
import asyncio
import os
import ssl
import sys
import threading
from typing import TYPE_CHECKING

import uvloop

from konnectivity import destination
from konnectivity.client import DIAL_TIMEOUT_S, DialError, TunnelLost, connect, tls_context
from konnectivity.options import parse_duration
from konnectivity.tls import TlsError

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

_CHUNK = 64 * 1024
_EXAMPLE = """\
example:
  printf 'GET / HTTP/1.0\\r\\n\\r\\n' | konnectivity dial 10.0.0.7:8080 --server unix:/run/konnectivity/server.sock
"""


def add_to(commands: Commands) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "dial",
        help="connect standard input and output to HOST:PORT through a proxy server",
        description="Connect standard input and output to HOST:PORT through a proxy server's frontend.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("destination", metavar="HOST:PORT", help="where to connect, as the agent sees it")
    parser.add_argument("--server", required=True, help="the server's frontend: unix:/path, or host:port (TLS)")
    parser.add_argument("--mode", choices=("http-connect", "grpc"), default="http-connect", help="default: %(default)s")
    parser.add_argument("--ca-cert", metavar="FILE", help="CA of the server's certificate (TLS)")
    parser.add_argument("--cert", metavar="FILE", default="", help="client certificate (TLS)")
    parser.add_argument("--key", metavar="FILE", default="", help="its private key")
    parser.add_argument("--server-name", metavar="NAME", help="name in the server's certificate, if not the host")
    parser.add_argument("--timeout", metavar="DURATION", default=f"{DIAL_TIMEOUT_S:g}s", help="default: %(default)s")
    parser.add_argument("--verbose", action="store_true", help="say on stderr when the connection stands")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Exit code: 0 when both directions ended cleanly."""
    try:
        timeout_s = parse_duration(arguments.timeout)
        destination.split(arguments.destination)
        return uvloop.run(_dial(arguments, _context(arguments), timeout_s))
    except (ValueError, TlsError, DialError, TunnelLost) as error:
        print(f"konnectivity dial: {error}", file=sys.stderr)
        return 1
    except (BrokenPipeError, ConnectionError) as error:
        print(f"konnectivity dial: the connection broke: {error}", file=sys.stderr)
        return 1


def _context(arguments: argparse.Namespace) -> ssl.SSLContext | None:
    if arguments.server.startswith("unix:"):
        return None
    if not arguments.ca_cert:
        raise ValueError("--ca-cert is needed for a TCP frontend, which speaks TLS")
    return tls_context(arguments.ca_cert, arguments.cert, arguments.key, arguments.mode)


async def _dial(arguments: argparse.Namespace, tls: ssl.SSLContext | None, timeout_s: float) -> int:
    async with connect(arguments.server, arguments.mode, tls, arguments.server_name) as tunnel:
        reader, writer = await tunnel.dial(arguments.destination, timeout_s)
        if arguments.verbose:
            print(f"connected to {arguments.destination}", file=sys.stderr)
        loop = asyncio.get_running_loop()
        # Standard input may be a file, which no event loop can wait for; and a read of it cannot be cancelled.
        threading.Thread(target=_feed, args=(loop, writer), daemon=True).start()
        while data := await reader.read(_CHUNK):
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
        writer.close()
    return 0


def _feed(loop: asyncio.AbstractEventLoop, writer: asyncio.StreamWriter) -> None:
    """Copy standard input to the connection; at its end, end our direction."""

    async def write(data: bytes) -> None:
        writer.write(data)
        await writer.drain()

    try:
        while data := os.read(0, _CHUNK):
            asyncio.run_coroutine_threadsafe(write(data), loop).result()
        if writer.can_write_eof():
            loop.call_soon_threadsafe(writer.write_eof)
    except (OSError, RuntimeError):
        return  # the connection or the loop is gone; the reader says why
