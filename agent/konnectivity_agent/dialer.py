"""Opens targets: name resolution, IPv4 and IPv6 raced (RFC 8305), one deadline over all of it.

A name is looked up once. The policy judges the addresses that were found, and those that pass are what is dialled.
Error texts are the ones that clients of the established agent match on.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import os
import socket
import time
from dataclasses import dataclass, field

import aiohappyeyeballs

from konnectivity import destination, logs, task_guard
from konnectivity.counters import Histogram
from konnectivity.errors import NO_DESCRIPTORS, REFUSED_BY_POLICY
from konnectivity.relay import Relay
from konnectivity.serving import DialIn
from konnectivity_agent.policy import Policy, Refusal
from konnectivity_agent.resolver import Resolver

log = logs.get(__name__)

DIAL_TIMEOUT_S = 5.0  # including name resolution
ATTEMPT_DELAY_S = 0.25  # RFC 8305 section 5
_FAMILIES = {"tcp": socket.AF_UNSPEC, "tcp4": socket.AF_INET, "tcp6": socket.AF_INET6}
_NO_DESCRIPTORS = {errno.EMFILE: NO_DESCRIPTORS, errno.ENFILE: f"{NO_DESCRIPTORS} in system"}
_TEXTS = {
    errno.ECONNREFUSED: "connect: connection refused",
    errno.ENETUNREACH: "connect: network is unreachable",
    errno.EHOSTUNREACH: "connect: no route to host",
    errno.ECONNRESET: "connect: connection reset by peer",
    errno.ETIMEDOUT: "connect: connection timed out",
    errno.EACCES: "connect: permission denied",
    errno.EPERM: "connect: operation not permitted",
    errno.EADDRNOTAVAIL: "connect: cannot assign requested address",
    **_NO_DESCRIPTORS,
}


DIAL_BOUNDS = (0.005, 0.025, 0.1, 0.5, 2.5, 10, 30)


@dataclass(slots=True)
class Dials:
    """Plain counters of what a dialer did, read when somebody scrapes."""

    seconds: Histogram = field(default_factory=lambda: Histogram(DIAL_BOUNDS))
    failures: dict[str, int] = field(default_factory=dict)  # by reason: timeout, unknown
    denied: dict[str, int] = field(default_factory=dict)  # by the policy's reason

    def failed(self, reason: str) -> None:
        self.failures[reason] = self.failures.get(reason, 0) + 1

    def refused(self, reason: str) -> None:
        self.denied[reason] = self.denied.get(reason, 0) + 1


class Refused(Exception):
    """The policy leaves no address to dial."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.text)
        self.refusal = refusal


class Dialer:
    """The opener of an agent's serving tunnels. Its dials live in the given task group."""

    def __init__(
        self, tasks: asyncio.TaskGroup, dials: Dials, policy: Policy, timeout_s: float = DIAL_TIMEOUT_S
    ) -> None:
        self._tasks = tasks
        self._dials = dials
        self._policy = policy
        self._timeout_s = timeout_s
        self._resolver = Resolver()

    def open(self, dial: DialIn) -> None:
        """Start to open what the server asks for."""
        try:
            host, port = destination.parse(dial.protocol, dial.address)  # an agent does not rely on a server's check
        except ValueError as error:
            self._dials.failed("unknown")
            dial.failed(str(error))
            return
        task = task_guard.start(
            self._tasks,
            lambda: self._dial(dial, host, port),
            "dial",
            f"dial {dial.address}",
            failed=lambda: self._failed(dial),
        )
        dial.on_cancel = task.cancel

    def _failed(self, dial: DialIn) -> None:
        """Answer a dial that raised an unexpected exception."""
        self._dials.failed("unknown")
        dial.failed(f"dial {dial.protocol} {dial.address}: internal error of the agent")

    async def _dial(self, dial: DialIn, host: str, port: int) -> None:
        started = time.monotonic()
        relay = Relay()
        try:
            async with asyncio.timeout(self._timeout_s):
                transport = await self._connect(relay, dial.protocol, host or "127.0.0.1", port)  # as Go: this host
        except Refused as refused:
            self._dials.refused(refused.refusal.reason)
            text = f"dial {dial.protocol} {dial.address}: {REFUSED_BY_POLICY}: {refused}"
            log.warning("Dial refused", destination=dial.address, reason=str(refused))
            dial.failed(text)
            return
        except (OSError, TimeoutError, UnicodeError) as error:
            text = _text(error, dial, host)
            if log.v(2):
                log.info("Dial failed", destination=dial.address, reason=text)
            self._dials.failed("timeout" if isinstance(error, TimeoutError) else "unknown")
            dial.failed(text)
            return
        took = time.monotonic() - started
        self._dials.seconds.observe(took)
        link = dial.connected(relay)
        if link is None:
            transport.abort()
            return
        relay.attach(link)
        if log.v(4):
            log.info("Dialled", destination=dial.address, connection=link.connect_id, seconds=round(took, 6))

    async def _connect(self, relay: Relay, protocol: str, host: str, port: int) -> asyncio.Transport:
        loop = asyncio.get_running_loop()
        if _is_literal(host):
            if refusal := self._policy.refusal(host, host, port):
                raise Refused(refusal)
            transport, _ = await loop.create_connection(lambda: relay, host, port)
            return transport
        found = await self._resolver.addresses(host, port, _FAMILIES[protocol])
        refusals = [self._policy.refusal(host, str(each[4][0]), port) for each in found]
        allowed = [each for each, refusal in zip(found, refusals, strict=True) if refusal is None]
        if not allowed:
            raise Refused(next(filter(None, refusals)))
        sock = await aiohappyeyeballs.start_connection(allowed, happy_eyeballs_delay=ATTEMPT_DELAY_S, interleave=1)
        transport, _ = await loop.create_connection(lambda: relay, sock=sock)
        return transport


def _is_literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _descriptor_errno() -> int:
    """Why no file can be opened; 0: one can. The resolver calls every name unknown when it cannot read its files."""
    try:
        os.close(os.open("/", os.O_RDONLY))
    except OSError as error:
        return error.errno or 0
    return 0


def _text(error: BaseException, dial: DialIn, host: str) -> str:
    network, address = dial.protocol, dial.address
    if isinstance(error, TimeoutError) and not isinstance(error, OSError):
        return f"dial {network} {address}: i/o timeout"
    if isinstance(error, socket.gaierror):
        why = _NO_DESCRIPTORS.get(_descriptor_errno())
        if why is None:
            why = "server misbehaving" if error.errno == socket.EAI_AGAIN else "no such host"
        return f"dial {network}: lookup {host}: {why}"
    if isinstance(error, UnicodeError):
        return f"dial {network}: lookup {host}: no such host"
    number = getattr(error, "errno", None)
    if number is None and isinstance(error, TimeoutError):
        return f"dial {network} {address}: i/o timeout"
    known = _TEXTS.get(number) if number is not None else None
    return f"dial {network} {address}: {known or str(error)}"
