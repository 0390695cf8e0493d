"""Dial from end to end through a frontend, with the time of each hop and the meaning of a failure."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from konnectivity.client import DialError, DialFailure, connect
from konnectivity.http1.http_client import ByteStream, FetchRequest, Plain, Url, fetch
from konnectivity.http1.http_exchange import FetchError
from konnectivity.net.error_texts import words_of
from konnectivity.net.hop_timings import TARGET_TLS, HopTimings
from konnectivity.tls.nested_tls import InnerTls
from konnectivity.tool.check_results import CheckResult, failed, ok

DIAL = "dial"
_ADVICE = {
    DialFailure.NO_AGENT: "agents of this server, and --proxy-strategies: `konnectivity explain-route`",
    DialFailure.TIMEOUT: "the agent does not answer, or the target does not: a firewall between agent and target?",
    DialFailure.ENDPOINT: "the agent reached out, and this is what it was told: the target, its port, its firewall",
    DialFailure.TUNNEL_LOST: "the server's socket, port, certificates and --mode; is the server running?",
    DialFailure.PROTOCOL: "another --mode: the frontend does not speak what it was asked in",
    DialFailure.BUDGET: "clients or targets that do not read: `konnectivity top` shows them stalled",
}


@dataclass(frozen=True, slots=True)
class EndToEndDial:
    """Outcome of a dial: the hops that worked, their times, and the error."""

    destination: str
    hops: HopTimings
    error: str = ""
    failure: DialFailure | None = None
    status: int | None = None  # status of the HTTP response


async def travel(frontend: Mapping[str, Any], destination: str, url: Url | None, timeout_s: float) -> EndToEndDial:
    """Dial a destination and, with a URL, fetch it. The target's certificate is not checked: the tunnel is tested."""
    hops = HopTimings()
    seen: list[int] = []
    try:
        async with asyncio.timeout(timeout_s), connect(**frontend) as tunnel:
            reader, writer = await tunnel.dial(destination, timeout_s, hops)
            try:
                if url is not None:
                    await _fetch(url, Plain(reader, writer), (reader, writer), hops, seen)
            finally:
                writer.transport.abort()
    except DialError as error:
        return EndToEndDial(destination, hops, str(error), error.failure)
    except TimeoutError:
        return EndToEndDial(destination, hops, f"no whole answer in {timeout_s:g} s", None, *seen)
    except (FetchError, ssl.SSLError, OSError) as error:
        return EndToEndDial(
            destination, hops, str(error) if isinstance(error, FetchError) else words_of(error), None, *seen
        )
    return EndToEndDial(destination, hops, "", None, *seen)


async def _fetch(
    url: Url,
    stream: ByteStream,
    streams: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    hops: HopTimings,
    seen: list[int],
) -> None:
    if url.scheme == "https":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        inner = InnerTls(*streams, context, url.host)
        await inner.handshake()
        hops.done(TARGET_TLS)
        stream = inner
    await fetch(stream, FetchRequest(url), hops, lambda answer: seen.append(answer.status), lambda data: None)


def judge(where: str, found: EndToEndDial) -> CheckResult:
    """Return the result of a dial in one line."""
    if found.error:
        do = _ADVICE.get(found.failure, "the target") if found.failure else "the target's answer, not the tunnel"
        until = f" (after {found.hops})" if found.hops.seconds else ""
        return failed(DIAL, where, f"{found.destination}: {found.error}{until}", do)
    status = f", HTTP status {found.status}" if found.status is not None else ""
    return ok(DIAL, where, f"{found.destination}: {found.hops}{status}")
