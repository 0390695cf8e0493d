"""Same conversations over every pair of our two gRPC implementations: each must understand the other.

Real sockets and real TLS. A `Side` is one end of a call: its stream, and the calls of its receiver.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import stat
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import pytest

from konnectivity import tls
from konnectivity.grpc import grpcio_transport, http2_client, http2_server
from konnectivity.grpc.message_stream import MessageStream, Service, StreamReceiver
from konnectivity.grpc.status import OK, Code, RpcError, Status
from konnectivity.grpc.transport import Channel, Destination
from konnectivity.grpc.transport_options import TransportOptions
from konnectivity.net.socket_listeners import ListenError
from konnectivity.tls import TlsError
from konnectivity.tool.pki.authority import Authority

# grpcio has one poller per process, which may still hold events for an event loop: so there is one loop for all.
pytestmark = pytest.mark.asyncio(loop_scope="module")

PATH = "/Conversation/Talk"
PATIENCE_S = 15.0
MEETING_S = 50.0
SILENCE_S = 0.3
OPTIONS = TransportOptions()
MIB = 1024 * 1024
SIZES = (0, 1, 4, 5, 6, 0, 1000, 16_383, 16_384, 65_535, 65_536, 300_000, MIB, 3 * MIB, 0, 7)
REFUSAL = "nein: 100 % für Dich geschlossen — 閉店"
LOST = (Code.UNAVAILABLE, Code.CANCELLED)  # a grpcio server cannot tell a lost connection from a cancelled call


class Side(StreamReceiver):
    """One end of a call."""

    stream: MessageStream

    def __init__(self, echo: bool = False) -> None:
        self.echo = echo
        self.heard: asyncio.Queue[bytes] = asyncio.Queue()
        self.heard_bytes = 0
        self.writable = asyncio.Event()
        self.writable.set()
        self.closed: asyncio.Future[Status] = asyncio.get_running_loop().create_future()

    def message_received(self, message: memoryview) -> None:
        assert not self.closed.done()
        self.heard_bytes += len(message)
        self.heard.put_nowait(bytes(message))
        if self.echo:
            self.say(bytes(message))

    def pause_writing(self) -> None:
        assert self.writable.is_set(), "told twice"
        self.writable.clear()

    def resume_writing(self) -> None:
        assert not self.closed.done()
        assert not self.writable.is_set(), "told twice"
        self.writable.set()

    def stream_closed(self, status: Status) -> None:
        self.closed.set_result(status)  # a second call fails here

    def say(self, *messages: bytes) -> None:
        for message in messages:
            self.stream.send(message[:7], memoryview(message)[7:])

    async def hears(self, *messages: bytes) -> None:
        """Check that exactly these events arrive next, in this order."""
        for expected in messages:
            async with asyncio.timeout(PATIENCE_S):
                heard = await self.heard.get()
            assert (len(heard), heard == expected) == (len(expected), True)

    async def ends(self) -> Status:
        async with asyncio.timeout(PATIENCE_S):
            return await asyncio.shield(self.closed)

    async def talks_until_stopped(self, message: bytes) -> int:
        """Send `message` until the stream pauses; return the number of messages sent."""
        said = 0
        async with asyncio.timeout(PATIENCE_S):
            while True:
                while self.writable.is_set():
                    self.say(message)
                    said += 1
                    await asyncio.sleep(0.002)
                try:
                    async with asyncio.timeout(SILENCE_S):
                        await self.writable.wait()
                except TimeoutError:
                    return said


@dataclass(frozen=True)
class Place:
    """Address of the server, and the TLS files of both ends."""

    address: tuple[str, int] | str
    server_files: tuple[str, str, str] | None = None
    client_files: tuple[str, str, str] | None = None

    @property
    def destination(self) -> Destination:
        return Destination(self.address)

    @property
    def server_tls(self) -> tls.ServerTls | None:
        return None if self.server_files is None else tls.ServerTls(*self.server_files, ("h2",))

    @property
    def client_tls(self) -> tls.ClientTls | None:
        return None if self.client_files is None else tls.ClientTls(*self.client_files, ("h2",))

    def at_port(self, port: int) -> Place:
        """Return the place with the port that its server listens on."""
        return self if isinstance(self.address, str) else replace(self, address=(self.address[0], port))


class Line:
    """Network path to the server that a test can cut."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._ends: list[asyncio.StreamWriter] = []

    async def lay(self, directory: Path) -> Place:
        """Listen for clients; return the place with the address at which they connect."""
        if isinstance(self._place.address, str):
            path = str(directory / "line")
            self._server = await asyncio.start_unix_server(self._carry, path)
            return replace(self._place, address=path)
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        return replace(self._place, address=self._server.sockets[0].getsockname())

    def cut(self) -> None:
        self._server.close()
        for end in self._ends:
            end.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if isinstance(self._place.address, str):
            there, back = await asyncio.open_unix_connection(self._place.address)
        else:
            there, back = await asyncio.open_connection(*self._place.address)
        self._ends += (writer, back)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._pipe(reader, back))
            tasks.create_task(self._pipe(there, writer))

    async def _pipe(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        writer.close()


# ---- the four ends: a function opens each of them, and returns how to close the end ----------------------------------


async def native_server(services: dict[str, Service], place: Place) -> tuple[Place, Callable[[], Awaitable[None]]]:
    server = await http2_server.serve("friends", services, place.address, place.server_tls, OPTIONS)

    async def close() -> None:
        await server.close("the server is shutting down")
        async with asyncio.timeout(PATIENCE_S):
            await server.wait_closed()

    return place.at_port(server.port), close


async def grpcio_server(services: dict[str, Service], place: Place) -> tuple[Place, Callable[[], Awaitable[None]]]:
    server = await grpcio_transport.serve("friends", services, place.address, place.server_tls, OPTIONS)
    return place.at_port(server.port), server.close


async def native_client(place: Place, tasks: asyncio.TaskGroup, on_closed: Callable[[], object]) -> Channel:
    return await http2_client.connect(place.destination, place.client_tls, OPTIONS, tasks, on_closed)


async def grpcio_client(place: Place, tasks: asyncio.TaskGroup, on_closed: Callable[[], object]) -> Channel:
    return await grpcio_transport.connect(place.destination, place.client_tls, OPTIONS, tasks, on_closed)


SERVERS = {"native": native_server, "grpcio": grpcio_server}
CLIENTS = {"native": native_client, "grpcio": grpcio_client}


class Meeting:
    """Running server, a client connected to it, and the calls between them."""

    def __init__(self, client_kind: str, server_kind: str, place: Place) -> None:
        self.client_kind = client_kind
        self.server_kind = server_kind
        self.place = place
        self.answer: Callable[[MessageStream], None] = lambda stream: stream.accept({"ServerID": "host"})
        self.gone: asyncio.Event  # set when the client's connection is lost
        self.close_server: Callable[[], Awaitable[None]]
        self._accepted: asyncio.Queue[Side] = asyncio.Queue()
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(asyncio.timeout(MEETING_S))
        self._tasks = await self._stack.enter_async_context(asyncio.TaskGroup())
        self.place, self.close_server = await SERVERS[self.server_kind]({PATH: self._service}, self.place)
        self._stack.push_async_callback(self.close_server)
        self.channel = await self.connect()
        return self

    async def __aexit__(self, *what: object) -> bool | None:
        return await self._stack.__aexit__(*what)

    async def connect(self, place: Place | None = None):
        self.gone = gone = asyncio.Event()
        channel = await CLIENTS[self.client_kind](place or self.place, self._tasks, gone.set)

        async def close() -> None:
            channel.close()
            await self.parts(gone)

        self._stack.push_async_callback(close)
        return channel

    async def parts(self, gone: asyncio.Event | None = None) -> None:
        """Lose the client's connection."""
        async with asyncio.timeout(PATIENCE_S):
            await (gone or self.gone).wait()

    def asks(self, metadata: dict[str, str] | None = None, path: str = PATH, timeout_s: float | None = None) -> Side:
        """Make a call of the client, without waiting for an answer."""
        side = Side()
        side.stream = self.channel.open_stream(path, metadata or {}, side, timeout_s=timeout_s)
        return side

    async def call(self, metadata: dict[str, str] | None = None, timeout_s: float | None = None) -> tuple[Side, Side]:
        """Make a call that the server accepts; return both ends."""
        asking = self.asks(metadata, timeout_s=timeout_s)
        async with asyncio.timeout(PATIENCE_S):
            await asking.stream.accepted()
        return asking, await self.accepted()

    async def accepted(self) -> Side:
        async with asyncio.timeout(PATIENCE_S):
            return await self._accepted.get()

    def _service(self, stream: MessageStream) -> Side:
        self.answer(stream)
        side = Side()
        side.stream = stream
        self._accepted.put_nowait(side)
        return side


@pytest.fixture(scope="module")
def identities(tmp_path_factory: pytest.TempPathFactory) -> Place:
    directory = tmp_path_factory.mktemp("identities")
    authority = Authority.create("a test")
    ca = str(authority.write(directory))
    host = authority.issue("host", ips=["127.0.0.1"], server=True).write(directory, "host")
    guest = authority.issue("guest", client=True).write(directory, "guest")
    return Place(("127.0.0.1", 0), (*map(str, host), ca), (ca, *map(str, guest)))


@pytest.fixture(params=["tls", "unix"])
def place(request: pytest.FixtureRequest, identities: Place, tmp_path: Path) -> Place:
    return identities if request.param == "tls" else Place(str(tmp_path / "socket"))


@pytest.fixture(params=["native", "grpcio"])
def client_kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=["native", "grpcio"])
def server_kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def meeting(client_kind: str, server_kind: str, place: Place, caplog: pytest.LogCaptureFixture) -> Iterator[Meeting]:
    yield Meeting(client_kind, server_kind, place)
    assert [text for _, level, text in caplog.record_tuples if level >= logging.WARNING] == []


# ---- conversations ---------------------------------------------------------------------------------------------------


async def test_messages_of_every_size_come_whole_and_in_order_both_ways(meeting: Meeting) -> None:
    async with meeting:
        client, server = await meeting.call()
        server.echo = True
        messages = [os.urandom(size) for size in SIZES]

        client.say(*messages)

        await client.hears(*messages)
        await server.hears(*messages)


async def test_both_introduce_themselves_before_the_first_message(meeting: Meeting) -> None:
    async with meeting:
        client, server = await meeting.call({"AgentID": "guest-1", "x-empty": ""})

        assert server.stream.path == PATH
        assert server.stream.metadata.get_all("agentid") == ["guest-1"]
        assert server.stream.metadata.get_all("x-empty") == [""]
        assert client.stream.metadata.get("serverid") == "host"
        peer = server.stream.peer
        if isinstance(meeting.place.address, str):
            assert (peer.address, peer.certificate) == ("unix", None)
        else:
            assert peer.address.startswith("127.0.0.1:")
            assert peer.certificate is not None
            assert peer.certificate["subject"] == ((("commonName", "guest"),),)


async def test_a_server_may_have_nothing_to_say_of_itself(meeting: Meeting) -> None:
    async with meeting:
        meeting.answer = lambda stream: stream.accept({})
        client, server = await meeting.call()
        server.say(b"hello")
        await client.hears(b"hello")


async def test_the_server_refuses_and_says_why(meeting: Meeting) -> None:
    async with meeting:

        def refuse(_: MessageStream) -> None:
            raise RpcError(Code.PERMISSION_DENIED, REFUSAL)

        meeting.answer = refuse
        client = meeting.asks()

        with pytest.raises(RpcError) as caught:
            await client.stream.accepted()
        assert caught.value.status == await client.ends() == Status(Code.PERMISSION_DENIED, REFUSAL)


async def test_nobody_answers_on_an_unknown_path(meeting: Meeting) -> None:
    async with meeting:
        client = meeting.asks(path="/Conversation/Elsewhere")

        with pytest.raises(RpcError) as caught:
            await client.stream.accepted()
        assert caught.value.status.code == (await client.ends()).code == Code.UNIMPLEMENTED


async def test_the_client_has_no_more_to_say(meeting: Meeting) -> None:
    async with meeting:
        client, server = await meeting.call()

        client.say(b"one", b"", b"x" * MIB)
        client.stream.finish()
        client.say(b"too late")

        await server.hears(b"one", b"", b"x" * MIB)
        assert await server.ends() == OK
        assert await client.ends() == OK
        assert server.heard.empty()


@pytest.mark.parametrize("status", [OK, Status(Code.NOT_FOUND, REFUSAL)], ids=["OK", "NOT_FOUND"])
async def test_the_server_ends_behind_its_last_message(meeting: Meeting, status: Status) -> None:
    async with meeting:
        client, server = await meeting.call()

        server.say(b"one", b"x" * 3 * MIB, b"two")
        server.stream.finish(status)
        server.say(b"too late")

        await client.hears(b"one", b"x" * 3 * MIB, b"two")
        assert await client.ends() == status
        assert await server.ends() == status
        assert client.heard.empty()


async def test_the_server_ends_while_the_client_still_talks(meeting: Meeting) -> None:
    async with meeting:
        client, server = await meeting.call()
        client.say(*[b"x" * 100_000] * 50)
        await server.hears(b"x" * 100_000)

        server.say(b"x" * MIB, b"last words")
        server.stream.finish(Status(Code.RESOURCE_EXHAUSTED, "enough"))

        await client.hears(b"x" * MIB, b"last words")
        assert await client.ends() == Status(Code.RESOURCE_EXHAUSTED, "enough")
        assert (await server.ends()).code == Code.RESOURCE_EXHAUSTED


async def test_the_client_drops_the_call(meeting: Meeting) -> None:
    async with meeting:
        client, server = await meeting.call()

        client.stream.abort("no longer wanted")

        assert await client.ends() == Status(Code.CANCELLED, "no longer wanted")
        assert (await server.ends()).code == Code.CANCELLED


async def test_the_client_drops_the_call_at_once(meeting: Meeting) -> None:
    async with meeting:
        client = meeting.asks()
        client.stream.abort("a mistake")

        assert await client.ends() == Status(Code.CANCELLED, "a mistake")
        with pytest.raises(RpcError):
            await client.stream.accepted()


async def test_the_server_drops_the_call_and_what_it_had_to_say(meeting: Meeting) -> None:
    async with meeting:
        client, server = await meeting.call()

        server.say(*[b"x" * MIB] * 20)
        server.stream.abort("no longer wanted")

        assert await server.ends() == Status(Code.CANCELLED, "no longer wanted")
        assert (await client.ends()).code == Code.CANCELLED
        assert client.heard_bytes < 10 * MIB


async def test_after_the_end_nothing_can_be_said(meeting: Meeting) -> None:
    async with meeting:
        client, server = await meeting.call()
        client.stream.abort()
        for side in (client, server):
            await side.ends()
            side.stream.accept({"late": "yes"})
            side.say(b"late" * MIB)
            assert side.writable.is_set()
            side.stream.hold()
            side.stream.release()
            side.stream.widen(1)
            side.stream.measure()
            side.stream.finish(Status(Code.INTERNAL, "late"))
            side.stream.abort("late")

        client, server = await meeting.call()  # and the connection is as good as before
        server.echo = True
        client.say(b"hello")
        await client.hears(b"hello")


async def test_a_message_of_the_largest_size_passes(meeting: Meeting) -> None:
    async with meeting:
        client, server = await meeting.call()
        server.echo = True
        client.say(b"x" * 4 * MIB)
        await client.hears(b"x" * 4 * MIB)


async def test_the_server_refuses_a_message_over_the_limit(meeting: Meeting) -> None:
    async with meeting:
        client, server = await meeting.call()
        client.say(b"x" * (4 * MIB + 1))

        assert (await client.ends()).code == Code.RESOURCE_EXHAUSTED
        assert (await server.ends()).code in (Code.RESOURCE_EXHAUSTED, Code.CANCELLED)
        assert server.heard.empty()


async def test_the_client_refuses_a_message_over_the_limit(meeting: Meeting) -> None:
    async with meeting:
        client, server = await meeting.call()
        server.say(b"x" * (4 * MIB + 1))

        assert (await client.ends()).code == Code.RESOURCE_EXHAUSTED
        assert (await server.ends()).code in (Code.CANCELLED, Code.RESOURCE_EXHAUSTED)
        assert client.heard.empty()


async def test_the_line_is_cut(meeting: Meeting, tmp_path: Path) -> None:
    async with meeting:
        line = Line(meeting.place)
        meeting.channel = await meeting.connect(await line.lay(tmp_path))
        client, server = await meeting.call()
        held, held_server = await meeting.call()
        held.stream.hold()
        held_server.stream.hold()

        line.cut()

        for side in (client, held):
            assert (await side.ends()).code == Code.UNAVAILABLE
        for side in (server, held_server):
            assert (await side.ends()).code == Code.CANCELLED
        await meeting.parts()
        with pytest.raises(RpcError) as caught:
            meeting.asks()
        assert caught.value.status.code == Code.UNAVAILABLE


async def test_the_client_closes_its_connection(meeting: Meeting) -> None:
    async with meeting:
        client, server = await meeting.call()

        meeting.channel.close("good night")

        assert await client.ends() == Status(Code.UNAVAILABLE, "good night")
        assert (await server.ends()).code == Code.CANCELLED
        await meeting.parts()


async def test_the_server_shuts_down(meeting: Meeting) -> None:
    async with meeting:
        client, server = await meeting.call()
        held, _ = await meeting.call()
        held.stream.hold()

        await meeting.close_server()

        assert (await client.ends()).code == Code.UNAVAILABLE
        assert (await held.ends()).code == Code.UNAVAILABLE
        assert await server.ends() == Status(Code.UNAVAILABLE, "the server is shutting down")
        await meeting.parts()


@pytest.mark.parametrize("talker", ["client", "server"])
async def test_who_does_not_listen_stops_who_talks(meeting: Meeting, talker: str) -> None:
    async with meeting:
        client, server = await meeting.call()
        talking, listening = (client, server) if talker == "client" else (server, client)
        message = os.urandom(64 * 1024)
        listening.stream.hold()

        said = await talking.talks_until_stopped(message)

        assert said * len(message) < 16 * MIB  # kernel buffers of both sockets, one window, our own queue
        assert listening.heard_bytes < 8 * MIB
        assert not talking.writable.is_set()
        listening.say(b"but the other way is free")
        await talking.hears(b"but the other way is free")

        listening.stream.release()

        await listening.hears(*[message] * said)
        async with asyncio.timeout(PATIENCE_S):
            await talking.writable.wait()
        talking.say(b"go on")
        await listening.hears(b"go on")


@pytest.mark.parametrize("talker", ["client", "server"])
async def test_who_talks_gives_up_on_who_does_not_listen(meeting: Meeting, talker: str) -> None:
    async with meeting:
        client, server = await meeting.call()
        talking, listening = (client, server) if talker == "client" else (server, client)
        listening.stream.hold()
        await talking.talks_until_stopped(os.urandom(64 * 1024))

        talking.stream.abort("tired")

        assert await talking.ends() == Status(Code.CANCELLED, "tired")
        listening.stream.release()
        assert (await listening.ends()).code == Code.CANCELLED


async def test_the_time_for_a_call_runs_out(meeting: Meeting) -> None:
    async with meeting:
        client, server = await meeting.call(timeout_s=0.3)
        client.say(b"hello")
        await server.hears(b"hello")

        assert (await client.ends()).code == Code.DEADLINE_EXCEEDED
        assert (await server.ends()).code in (Code.DEADLINE_EXCEEDED, Code.CANCELLED)


async def test_many_calls_do_not_mix(meeting: Meeting) -> None:
    async with meeting:
        calls = [await meeting.call() for _ in range(20)]
        texts = [[os.urandom(5000 * (number % 3) + index) for index in range(20)] for number in range(len(calls))]
        for (client, server), messages in zip(calls, texts, strict=True):
            server.echo = True
            client.say(*messages)
        for (client, _), messages in zip(calls, texts, strict=True):
            await client.hears(*messages)
        for client, _ in calls:
            client.stream.finish()
        for client, server in calls:
            assert await client.ends() == await server.ends() == OK


# ---- grpcio alone ----------------------------------------------------------------------------------------------------


async def test_a_busy_port_is_an_error_that_says_so(identities: Place) -> None:
    place, close = await grpcio_server({}, identities)
    host, port = place.address
    with pytest.raises(ListenError, match=rf"cannot listen on {host}:{port} for friends: .*[Aa]ddress already in use"):
        await grpcio_server({}, place)
    await close()


async def test_a_missing_certificate_is_an_error_that_says_so(identities: Place) -> None:
    _, key, ca = identities.server_files
    with pytest.raises(TlsError, match=r"cannot read certificate '/no/such.crt'"):
        await grpcio_server({}, replace(identities, server_files=("/no/such.crt", key, ca)))
    async with asyncio.TaskGroup() as tasks:
        with pytest.raises(TlsError, match=r"cannot read CA bundle '/no/such.crt'"):
            await grpcio_client(replace(identities, client_files=("/no/such.crt", "", "")), tasks, list)


async def test_the_unix_socket_is_for_its_group_and_replaces_a_stale_one_if_asked_to(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    with pytest.raises(ListenError, match=r"cannot listen on unix socket .* for friends: .*[Aa]ddress already in use"):
        await grpcio_transport.serve("friends", {}, str(path), None, OPTIONS, replace=False)

    server = await grpcio_transport.serve("friends", {}, str(path), None, OPTIONS)

    mode = path.stat().st_mode
    assert stat.S_ISSOCK(mode)
    assert stat.S_IMODE(mode) == 0o770
    await server.close()


@pytest.mark.parametrize("host", ["", "0.0.0.0", "::"])
async def test_an_unspecified_address_is_all_interfaces_of_both_families(identities: Place, host: str) -> None:
    place, close = await grpcio_server({}, replace(identities, address=(host, 0)))
    for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        with socket.socket(family) as client:
            client.connect((address, place.address[1]))
    await close()


async def test_nobody_at_the_other_end_is_an_error_that_says_so(tmp_path: Path) -> None:
    async with asyncio.TaskGroup() as tasks:
        with pytest.raises(RpcError, match=r"UNAVAILABLE: .*No such file"):
            await grpcio_client(Place(str(tmp_path / "nobody")), tasks, list)


@pytest.mark.parametrize("client_kind", ["grpcio"], indirect=True)
@pytest.mark.parametrize("place", ["tls"], indirect=True)
async def test_a_client_without_a_certificate_gets_nowhere(meeting: Meeting) -> None:
    async with meeting:
        nobody = replace(meeting.place, client_files=(meeting.place.client_files[0], "", ""))
        with pytest.raises(RpcError, match=r"UNAVAILABLE: .*(Socket closed|certificate|reset by peer|Unwrap failed)"):
            await meeting.connect(nobody)


@pytest.mark.parametrize("client_kind", ["grpcio"], indirect=True)
@pytest.mark.parametrize("place", ["tls"], indirect=True)
async def test_a_server_of_another_authority_is_not_believed(meeting: Meeting, tmp_path: Path) -> None:
    async with meeting:
        other = str(Authority.create("another").write(tmp_path))
        with pytest.raises(RpcError, match=r"UNAVAILABLE: .*certificate"):
            await meeting.connect(replace(meeting.place, client_files=(other, "", "")))


async def test_a_server_that_does_not_answer_is_given_up(identities: Place) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:  # connections are accepted and never read
        async with asyncio.TaskGroup() as tasks:
            with pytest.raises(RpcError, match=r"UNAVAILABLE: no connection to 127.0.0.1:\d+ in 0.2 s"):
                destination = Destination(deaf.getsockname(), handshake_timeout_s=0.2)
                await grpcio_transport.connect(destination, identities.client_tls, OPTIONS, tasks)


@pytest.mark.parametrize("client_kind", ["grpcio"], indirect=True)
async def test_a_fault_of_the_owner_ends_the_connection_and_its_calls(meeting: Meeting) -> None:
    client = Side()
    gone = asyncio.Event()

    async def own() -> None:
        async with asyncio.TaskGroup() as tasks:
            channel = await grpcio_client(meeting.place, tasks, gone.set)
            client.stream = channel.open_stream(PATH, {}, client)
            await client.stream.accepted()
            raise LookupError("a fault of the owner")

    async with meeting:
        with pytest.raises(ExceptionGroup):
            await own()

        assert gone.is_set()
        assert (await client.ends()).code == Code.CANCELLED
        assert (await (await meeting.accepted()).ends()).code in LOST
