"""Simulated network: machines, the lines between them, listening sockets, and the making of connections.

Owns every endpoint and line of a run. Faults reach it through `line_between` and the methods at the end.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Callable
from random import Random
from typing import Any

from simulation.endpoints import Endpoint, error_of
from simulation.lines import Line
from simulation.listening_sockets import ListeningSocket, SimulatedServer
from simulation.processes import SimulatedProcess
from simulation.trace import Trace
from simulation.transports import StreamTransport, TlsSession
from simulation.virtual_loop import VirtualLoop

CAPACITIES = (16 * 1024, 64 * 1024, 256 * 1024)  # bytes under way and unread, in one direction of a connection
HANDSHAKE_TIMEOUT_S = 60.0


class Network:
    """The network of one run."""

    def __init__(self, seed: str, loop: VirtualLoop, trace: Trace) -> None:
        self.chance = Random(f"{seed} network")
        self.loop = loop
        self.trace = trace
        self.lines: dict[tuple[str, str], Line] = {}
        self.endpoints: dict[int, Endpoint] = {}  # connected ones, by number
        self._seed = seed
        self._listeners: dict[Any, ListeningSocket] = {}
        self._numbers = 0
        self._ports = 40_000

    def kernel_at(self, moment: float, callback: Callable[..., object], *args: Any) -> Any:
        """Call a function of the network at a moment."""
        before, self.loop.current = self.loop.current, self.loop.kernel
        try:
            return self.loop.call_at(moment, callback, *args)
        finally:
            self.loop.current = before

    def line_between(self, a: str, b: str) -> Line:
        """Return the line between two machines."""
        key = (a, b) if a <= b else (b, a)
        if key not in self.lines:
            self.lines[key] = Line(*key, Random(f"{self._seed} line {key}"), self.kernel_at)
        return self.lines[key]

    def on_line(self, a: str, b: str) -> list[Endpoint]:
        """Return the endpoints of the connections between two machines, in the order of their making."""
        line = self.line_between(a, b)
        return [each for each in list(self.endpoints.values()) if each.line is line and not each.gone]

    # ---- sockets --------------------------------------------------------------------------------------------------

    def new_endpoint(self, process: SimulatedProcess, family: int) -> Endpoint:
        return Endpoint(self, process, family)

    def listen(self, process: SimulatedProcess, bound: Endpoint) -> ListeningSocket:
        """Turn a bound socket into a listening one."""
        key = self._key(process.host, bound.address)
        if key in self._listeners and not isinstance(key, str):
            raise error_of(errno.EADDRINUSE)
        self._listeners[key] = listening = ListeningSocket(self, process, bound)
        return listening

    def unlisten(self, listening: ListeningSocket) -> None:
        key = self._key(listening.process.host, listening.address)
        if self._listeners.get(key) is listening:
            del self._listeners[key]

    def listens_at(self, address: Any) -> bool:
        """Return whether a process listens at the path of a unix socket."""
        return address in self._listeners and os.path.exists(address)

    @staticmethod
    def _key(host: str, address: Any) -> Any:
        return address if isinstance(address, str) else (host, address[1])

    def watch_reading(self, process: SimulatedProcess, sock: Any, reader: Any) -> bool:
        listening = self._behind(process, sock)
        had, listening.reader = listening.reader is not None, reader
        if reader is not None:
            self.loop.call_soon(listening.tell)
        return had

    def watch_writing(self, process: SimulatedProcess, sock: Any, writer: Any) -> bool:
        endpoint = self._behind(process, sock)
        had = endpoint.watcher is not None
        endpoint.watcher = None if writer is None else lambda news: writer._run()
        return had

    @staticmethod
    def _behind(process: SimulatedProcess, sock: Any) -> Any:
        return process.descriptors.open[sock if isinstance(sock, int) else sock.fileno()]

    # ---- connecting -----------------------------------------------------------------------------------------------

    def begin_connect(self, endpoint: Endpoint, address: Any) -> int:
        """Send SYN; the endpoint's watcher is told the outcome."""
        process = endpoint.process
        host = process.host if isinstance(address, str) else address[0]
        if isinstance(address, str) and not self.listens_at(address):
            return errno.ECONNREFUSED if os.path.exists(address) else errno.ENOENT
        self._ports += 1
        if not isinstance(address, str):
            endpoint.address = (process.host, self._ports)
        endpoint.peer_address = address
        endpoint.line = self.line_between(process.host, host)
        endpoint.line.carry(process.host, endpoint, 0, self._syn_arrived, endpoint, host, address)
        return errno.EINPROGRESS

    def _syn_arrived(self, client: Endpoint, host: str, address: Any) -> None:
        listening = self._listeners.get(address if isinstance(address, str) else (host, address[1]))
        if client.gone or client.line is None:
            return
        if listening is None:
            client.line.carry(host, client, 0, client.fail, errno.ECONNREFUSED)
            return
        server = Endpoint(self, listening.process, client.family)
        server.line, server.peer, server.address, server.peer_address = client.line, client, address, client.address
        self._numbers += 1
        server.number, client.number = 2 * self._numbers, 2 * self._numbers + 1
        server.room = server.capacity = self.chance.choice(CAPACITIES)
        client.capacity = self.chance.choice(CAPACITIES)
        self.endpoints[server.number] = server
        self.trace.note("network", "connection", server.number, client.process.name, "to", listening.process.name)
        listening.arrived(server)
        client.line.carry(host, server, 0, self._established, client, server)

    def _established(self, client: Endpoint, server: Endpoint) -> None:
        if client.gone:
            server.reset_arrived()
            return
        client.peer = server
        client.room = client.capacity
        self.endpoints[client.number] = client
        client._tell("writable")

    async def connect(self, sock: Any, address: Any) -> None:
        """Connect a socket.

        Raises:
            OSError: nobody listens there.

        """
        endpoint = sock.behind
        done = self.loop.create_future()
        endpoint.watcher = lambda news: done.done() or done.set_result(None)
        error = self.begin_connect(endpoint, address)
        if error != errno.EINPROGRESS:
            raise error_of(error)
        try:
            await done
        finally:
            endpoint.watcher = None
        if error := endpoint.take_error():
            raise error_of(error)

    async def client_transport(
        self, factory: Any, host: Any = None, port: Any = None, *, sock: Any = None, ssl: Any = None, **options: Any
    ) -> Any:
        """Connect a protocol: what the event loop's `create_connection` and `create_unix_connection` do."""
        if sock is None:
            sock = socket.socket(socket.AF_INET if port is not None else socket.AF_UNIX)
            try:
                await self.connect(sock, host if port is None else (host, port))
            except BaseException:
                sock.close()
                raise
        session = None if ssl is None else TlsSession(sock.behind, None, options.get("server_hostname") or "")
        return await self._transport(factory, sock, session, options.get("ssl_handshake_timeout"))

    async def server_transport(
        self, factory: Any, sock: Any, *, ssl: Any = None, ssl_handshake_timeout: float | None = None
    ) -> Any:
        """Connect a protocol to an accepted socket."""
        session = None if ssl is None else TlsSession(sock.behind, ssl)
        return await self._transport(factory, sock, session, ssl_handshake_timeout)

    def serve(self, factory: Any, host: Any, port: Any, *, sock: Any = None, ssl: Any = None, **_: Any) -> Any:
        """Accept the connections of a listening socket, or of a new one."""
        assert ssl is None, "no product listener leaves TLS to the event loop's server in a simulation"
        if sock is None:
            sock = socket.socket(socket.AF_UNIX if port is None else socket.AF_INET)
            sock.bind(host if port is None else (host, port))
            sock.listen()
        listening = sock.behind

        def accept(endpoint: Endpoint) -> None:
            accepted = socket.socket(fileno=listening.process.descriptors.add(endpoint))
            StreamTransport(self.loop, accepted, factory(), None).begin()

        listening.accept = accept
        self.loop.call_soon(listening.tell)
        return SimulatedServer(listening, sock)

    async def _transport(self, factory: Any, sock: Any, session: TlsSession | None, timeout_s: float | None) -> Any:
        if session is not None:
            try:
                async with asyncio.timeout(timeout_s or HANDSHAKE_TIMEOUT_S):
                    await session.shake_hands(self.loop)
            except TimeoutError:
                sock.close()
                raise ConnectionAbortedError("SSL handshake is taking too long") from None
            except BaseException:
                sock.close()
                raise
        protocol = factory()
        transport = StreamTransport(self.loop, sock, protocol, session)
        done = self.loop.create_future()
        transport.begin(lambda: done.done() or done.set_result(None))
        try:
            await done
        except BaseException:
            transport.abort()
            raise
        return transport, protocol

    # ---- faults ---------------------------------------------------------------------------------------------------

    def process_ended(self, process: SimulatedProcess) -> None:
        """Close everything that a process had open, as the kernel does."""
        for thing in list(process.descriptors.open.values()):
            thing.close()
        process.descriptors.open.clear()

    def silence(self, a: str, b: str, *sources: str) -> None:
        """Let nothing pass from the sources on the line between two machines."""
        line = self.line_between(a, b)
        line.silence(*(sources or line.ends))
        self.trace.note("network", "silent", a, b, *sources)
        for endpoint in self.on_line(a, b):
            endpoint.line_silenced()

    def heal_line(self, a: str, b: str) -> None:
        """Let a line be as at the beginning."""
        line = self.line_between(a, b)
        self.trace.note("network", "healed", a, b)
        if line.silent:
            for endpoint in self.on_line(a, b):
                endpoint.line_healed()
        line.heal()

    def heal(self) -> None:
        """Let every line be as at the beginning."""
        for line in list(self.lines.values()):
            self.heal_line(*line.ends)

    def break_connections(self, a: str, b: str, how: str) -> None:
        """End every connection between two machines: "reset", "closed", or "forgotten" by the machine in the middle.

        Of a forgotten connection neither end is told; whoever sends the next segment gets RST.
        """
        for endpoint in self.on_line(a, b):
            if how == "reset":
                endpoint.fail(errno.ECONNRESET)
            elif how == "closed":
                endpoint.end_arrived(tidy=False)
                endpoint.forget_peer()
            else:
                endpoint.forget_peer()
        self.trace.note("network", how, a, b)
