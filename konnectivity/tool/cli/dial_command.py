"""Command `konnectivity dial HOST:PORT`: connects standard input and output to a destination through the tunnel."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import threading
from typing import TYPE_CHECKING

import uvloop

from konnectivity.client import DIAL_TIMEOUT_S, DialError, TunnelLost, connect
from konnectivity.net import addresses, hop_timings
from konnectivity.net.error_texts import words_of
from konnectivity.net.hop_timings import HopTimings
from konnectivity.runtime.options import positive_duration
from konnectivity.tls import TlsError
from konnectivity.tool.cli import frontend_arguments, output
from konnectivity.tool.cli.plain_stream import Payload

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

_CHUNK = 64 * 1024
_EXAMPLE = """\
exit code: 0, both directions ended cleanly; 1, they did not; 2, wrong usage

example:
  printf 'GET / HTTP/1.0\\r\\n\\r\\n' | konnectivity dial 10.0.0.7:8080 --server unix:/run/konnectivity/server.sock
  konnectivity dial 10.0.0.7:10250 --server unix:/run/konnectivity/server.sock --verbose < /dev/null
"""


def add_to(commands: Commands) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "dial",
        help="connect standard input and output to HOST:PORT through a proxy server",
        description="Connect standard input and output to HOST:PORT through a proxy server's frontend. Received bytes "
        "go unchanged to a file or a pipe; on a terminal, control characters are shown as escapes.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "destination", metavar="HOST:PORT", help="Destination, a host and port that the agent can reach."
    )
    frontend_arguments.add_to(parser)
    parser.add_argument(
        "--timeout",
        metavar="DURATION",
        default=f"{DIAL_TIMEOUT_S:g}s",
        help="Limit for connecting, such as 500ms or 10s (default: %(default)s).",
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="Print the time of each hop on standard error.")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return 0 if both directions ended cleanly."""
    try:
        timeout_s = positive_duration("--timeout", arguments.timeout)
        addresses.split(arguments.destination)
        found = frontend_arguments.of(arguments)
    except (ValueError, TlsError) as error:
        output.complain("dial", error)
        return 2
    try:
        return uvloop.run(_dial(arguments.destination, found, timeout_s, arguments.verbose))
    except (DialError, TunnelLost) as error:
        output.complain("dial", error)
    except OSError as error:
        output.complain("dial", f"the connection broke: {words_of(error)}")
    return 1


async def _dial(address: str, way: frontend_arguments.FrontendArguments, timeout_s: float, verbose: bool) -> int:
    taken, payload = HopTimings(), Payload()
    async with connect(**way.keywords()) as tunnel:
        try:
            reader, writer = await tunnel.dial(address, timeout_s, taken)
        except DialError:
            if verbose and taken.seconds:
                print(f"came as far as {taken}", file=sys.stderr)
            raise
        if verbose:
            print(f"connected to {address}: {taken}", file=sys.stderr)
        loop = asyncio.get_running_loop()
        # Standard input may be a file, which no event loop can wait for; and a read of it cannot be cancelled.
        threading.Thread(target=_feed, args=(loop, writer), daemon=True).start()
        while data := await reader.read(_CHUNK):
            if verbose and hop_timings.FIRST_BYTE not in taken.seconds:
                taken.done(hop_timings.FIRST_BYTE)
                print(f"first byte after {taken.seconds[hop_timings.FIRST_BYTE] * 1000:.2f} ms", file=sys.stderr)
            payload.write(data)
        if verbose:
            taken.done(hop_timings.TRANSFER)
            print(f"ended: {taken}", file=sys.stderr)
        writer.close()
    return 0


def _feed(loop: asyncio.AbstractEventLoop, writer: asyncio.StreamWriter) -> None:
    """Copy standard input to the connection, then send the end of data."""

    async def write(data: bytes) -> None:
        writer.write(data)
        await writer.drain()

    try:
        while data := os.read(0, _CHUNK):
            asyncio.run_coroutine_threadsafe(write(data), loop).result()
        if writer.can_write_eof():
            loop.call_soon_threadsafe(writer.write_eof)
    except (OSError, RuntimeError):
        return  # the connection or the loop has ended; the reader reports the reason
