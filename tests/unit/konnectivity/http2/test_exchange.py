"""Random exchanges in any cut arrive exactly: our client with our server, and each of them with the `h2` library.

Bytes wait on two paths between the ends until a step moves some of them. A fault that either end finds with the other
fails the test: `h2` checks our windows, our states and our header compression, and we check its.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any, Protocol

import h2.config
import h2.connection
import h2.events
import pytest
from h2.settings import SettingCodes
from h2.windows import WindowManager
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from konnectivity.http2 import Http2Connection, Settings, events
from support.examples import examples

REQUEST = [(":method", "POST"), (":scheme", "http"), (":path", "/Proxy"), (":authority", "proxy")]
RESPONSE = [(":status", "200"), ("content-type", "application/grpc")]
pytestmark = pytest.mark.timeout(400)  # a failure is made small first

PATTERN = bytes(range(251)) * 2000


@pytest.fixture(scope="module", autouse=True)
def empty_frames_need_no_window() -> Iterator[None]:
    """Let the library accept empty frames when its window is below zero (RFC 9113 section 6.9.1)."""
    with pytest.MonkeyPatch.context() as patch:
        consumed = WindowManager.window_consumed
        patch.setattr(WindowManager, "window_consumed", lambda self, size: consumed(self, size) if size else None)
        yield


class End(Protocol):
    received: dict[int, bytearray]
    credit: dict[int, int]
    ended: set[int]
    reset: set[int]
    open: set[int]

    def take(self) -> bytes: ...
    def receive(self, data: bytes) -> None: ...
    def request(self) -> int: ...
    def send(self, stream_id: int, data: bytes) -> None: ...
    def finish(self, stream_id: int) -> None: ...
    def abandon(self, stream_id: int) -> None: ...
    def acknowledge(self, stream_id: int, size: int) -> None: ...
    def grow(self, stream_id: int, size: int) -> None: ...


class Book:
    """Record of everything that one end has seen."""

    def __init__(self) -> None:
        self.received: dict[int, bytearray] = defaultdict(bytearray)
        self.credit: dict[int, int] = defaultdict(int)
        self.ended: set[int] = set()
        self.reset: set[int] = set()
        self.open: set[int] = set()


class OurEnd(Book):
    def __init__(self, client: bool, window: int, frame_size: int) -> None:
        super().__init__()
        self.http2 = Http2Connection(
            client,
            Settings(
                enable_push=0 if client else 1,
                initial_window_size=window,
                max_frame_size=frame_size,
                max_header_list_size=10_000,
            ),
            connection_window=100_000,
        )

    def take(self) -> bytes:
        self.http2.costs.replies_written()
        return b"".join(self.http2.take())

    def receive(self, data: bytes) -> None:
        for event in self.http2.receive(data):
            match event:
                case events.DataReceived():
                    self.received[event.stream_id] += event.data
                    self.credit[event.stream_id] += event.credit
                case events.HeadersReceived() if not self.http2.client and not event.trailers:
                    assert event.headers == REQUEST
                    self.open.add(event.stream_id)
                    self.http2.send_headers(event.stream_id, RESPONSE)
                case events.HeadersReceived():
                    assert event.headers == ([("grpc-status", "0")] if event.trailers else RESPONSE)
                case events.StreamEnded():
                    assert event.by_peer, event.message
                    self.reset.add(event.stream_id)
                case events.StreamDrained():
                    assert event.stream_id in self.open
                case events.ConnectionFailed():
                    raise AssertionError(event.message)
            if isinstance(event, events.DataReceived | events.HeadersReceived) and event.end_stream:
                self.ended.add(event.stream_id)

    def request(self) -> int:
        stream_id = self.http2.open_stream(REQUEST)
        self.open.add(stream_id)
        return stream_id

    def send(self, stream_id: int, data: bytes) -> None:
        middle = len(data) // 3
        self.http2.send_data(self.http2.streams[stream_id], data[:middle], memoryview(data)[middle:])

    def finish(self, stream_id: int) -> None:
        if self.http2.client:
            self.http2.end_stream(stream_id)
        else:
            self.http2.send_headers(stream_id, [("grpc-status", "0")], end_stream=True)

    def abandon(self, stream_id: int) -> None:
        self.http2.reset_stream(stream_id)
        self.reset.add(stream_id)

    def acknowledge(self, stream_id: int, size: int) -> None:
        self.http2.acknowledge(stream_id, size)

    def grow(self, stream_id: int, size: int) -> None:
        self.http2.grow_window(stream_id, size)


class LibraryEnd(Book):
    """End made of the `h2` library, with a queue before it: the library does not keep data until there is window."""

    def __init__(self, client: bool, window: int, frame_size: int) -> None:
        super().__init__()
        self.client = client
        self.queue: dict[int, bytearray] = defaultdict(bytearray)
        self.last: set[int] = set()
        self.unread = bytearray()
        self.pads = 0
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=client, header_encoding="utf-8"))
        self.h2.initiate_connection()
        self.wanted = {SettingCodes.INITIAL_WINDOW_SIZE: window, SettingCodes.MAX_FRAME_SIZE: frame_size}
        self.settings_under_way = True  # one SETTINGS at a time: the library counts an ack for all SETTINGS it has sent

    def take(self) -> bytes:
        if self.wanted and not self.settings_under_way:
            self.h2.update_settings(self.wanted)
            self.wanted = {}
            self.settings_under_way = True
        for stream_id in list(self.queue):
            self._pump(stream_id)
        return self.h2.data_to_send()

    def _pump(self, stream_id: int) -> None:
        queue = self.queue[stream_id]
        while queue:
            self.pads += 1
            pad = self.pads % 4 or None  # every fourth frame has none
            room = min(self.h2.local_flow_control_window(stream_id), self.h2.max_outbound_frame_size)
            size = min(len(queue), room - (pad + 1 if pad else 0))
            if size <= 0:
                return
            self.h2.send_data(stream_id, bytes(queue[:size]), pad_length=pad)
            del queue[:size]
        del self.queue[stream_id]
        if stream_id in self.last:
            self.last.discard(stream_id)
            if self.client:
                self.h2.end_stream(stream_id)
            else:
                self.h2.send_headers(stream_id, [("grpc-status", "0")], end_stream=True)

    def _frames(self, data: bytes) -> Iterator[bytes]:
        """Yield one frame at a time: settings that the library acknowledges while reading apply from its next read."""
        self.unread += data
        while self.unread:
            preface = self.unread[:3] == b"PRI"  # no frame starts so: it would be of 5 MB
            size = 24 if preface else 9 + int.from_bytes(self.unread[:3])
            if len(self.unread) < max(size, 9):
                return
            frame, self.unread = bytes(self.unread[:size]), self.unread[size:]
            yield frame

    def receive(self, data: bytes) -> None:
        happened = [event for frame in self._frames(data) for event in self.h2.receive_data(frame)]
        for event in happened:
            if isinstance(event, h2.events.StreamReset):
                assert event.remote_reset
                self._forget(event.stream_id)
        for event in happened:
            match event:
                case h2.events.RequestReceived():
                    assert event.headers == REQUEST
                    self.open.add(event.stream_id)
                    if event.stream_id not in self.reset:
                        self.h2.send_headers(event.stream_id, RESPONSE)
                case h2.events.ResponseReceived():
                    assert event.headers == RESPONSE
                case h2.events.TrailersReceived():
                    assert event.headers == [("grpc-status", "0")]
                case h2.events.DataReceived():
                    self.received[event.stream_id] += event.data
                    self.credit[event.stream_id] += event.flow_controlled_length
                case h2.events.StreamEnded():
                    self.ended.add(event.stream_id)
                case h2.events.SettingsAcknowledged():
                    self.settings_under_way = False
                case h2.events.ConnectionTerminated():
                    raise AssertionError(event.additional_data)

    def request(self) -> int:
        stream_id = self.h2.get_next_available_stream_id()
        self.h2.send_headers(stream_id, REQUEST)
        self.open.add(stream_id)
        return stream_id

    def send(self, stream_id: int, data: bytes) -> None:
        self.queue[stream_id] += data

    def finish(self, stream_id: int) -> None:
        self.last.add(stream_id)
        self.queue[stream_id] += b""

    def abandon(self, stream_id: int) -> None:
        self.h2.reset_stream(stream_id)
        self._forget(stream_id)

    def _forget(self, stream_id: int) -> None:
        self.reset.add(stream_id)
        self.queue.pop(stream_id, None)
        self.last.discard(stream_id)

    def acknowledge(self, stream_id: int, size: int) -> None:
        self.h2.acknowledge_received_data(size, stream_id)

    def grow(self, stream_id: int, size: int) -> None:
        self.h2.increment_flow_control_window(size, stream_id)


windows = st.sampled_from([60, 1000, 65_535, 200_000])
frame_sizes = st.sampled_from([16_384, 20_000, 100_000])
sides = st.sampled_from([0, 1])


class Exchange(RuleBasedStateMachine):
    client_end: Any = OurEnd
    server_end: Any = OurEnd
    streams = Bundle("streams")

    @initialize(client=st.tuples(windows, frame_sizes), server=st.tuples(windows, frame_sizes))
    def connect(self, client: tuple[int, int], server: tuple[int, int]) -> None:
        self.ends: list[End] = [self.client_end(True, *client), self.server_end(False, *server)]
        self.most = 30 * min(client[0], server[0])
        self.lines = [bytearray(), bytearray()]  # from each side
        self.sent: list[dict[int, bytearray]] = [defaultdict(bytearray), defaultdict(bytearray)]
        self.finished: list[set[int]] = [set(), set()]

    @rule(target=streams)
    def request(self) -> int:
        return self.ends[0].request()

    def may_send(self, side: int, stream_id: int) -> bool:
        end = self.ends[side]
        return stream_id in end.open and stream_id not in end.reset and stream_id not in self.finished[side]

    @rule(side=sides, stream_id=streams, size=st.integers(1, 100) | st.integers(1, 70_000))
    def send(self, side: int, stream_id: int, size: int) -> None:
        if self.may_send(side, stream_id):
            sent = self.sent[side][stream_id]
            start = (len(sent) + stream_id) % 251
            data = PATTERN[start : start + min(size, self.most)]
            self.ends[side].send(stream_id, data)
            sent += data

    @rule(side=sides, stream_id=streams)
    def finish(self, side: int, stream_id: int) -> None:
        if self.may_send(side, stream_id):
            self.finished[side].add(stream_id)
            self.ends[side].finish(stream_id)

    @rule(side=sides, stream_id=streams)
    def abandon(self, side: int, stream_id: int) -> None:
        if self.may_send(side, stream_id):
            self.ends[side].abandon(stream_id)

    @rule(side=sides, stream_id=streams, share=st.integers(1, 4))
    def acknowledge(self, side: int, stream_id: int, share: int) -> None:
        end = self.ends[side]
        size = end.credit[stream_id] // share
        if size:
            end.credit[stream_id] -= size
            end.acknowledge(stream_id, size)

    @rule(side=sides, stream_id=streams, size=st.integers(1, 5000))
    def grow(self, side: int, stream_id: int, size: int) -> None:
        other = self.finished[1 - side]
        if self.may_send(side, stream_id) and stream_id not in other:
            self.ends[side].grow(stream_id, size)

    @rule(side=sides, window=windows | st.just(0))
    def change_window(self, side: int, window: int) -> None:
        """Change the initial window of a library end, even so that open streams have less than no window."""
        end = self.ends[side]
        if isinstance(end, LibraryEnd):
            end.wanted[SettingCodes.INITIAL_WINDOW_SIZE] = window

    @rule(side=sides, size=st.integers(1, 30) | st.integers(1, 20_000))
    def move(self, side: int, size: int) -> None:
        line = self.lines[side]
        line += self.ends[side].take()
        moved = bytes(line[:size])
        del line[:size]
        self.ends[1 - side].receive(moved)

    @invariant()
    def nothing_is_changed_on_the_way(self) -> None:
        for side in (0, 1) if hasattr(self, "ends") else ():
            for stream_id, data in self.ends[1 - side].received.items():
                assert self.sent[side][stream_id].startswith(data)

    def teardown(self) -> None:
        if not hasattr(self, "ends"):
            return
        for side in (0, 1):
            self.change_window(side, 65_535)  # the library does not return a small window before a quarter is used
        while self.everything_moves():
            pass
        self.nothing_is_changed_on_the_way()
        dead = self.ends[0].reset | self.ends[1].reset
        for side in (0, 1):
            for stream_id, sent in self.sent[side].items():
                if stream_id not in dead:
                    assert self.ends[1 - side].received[stream_id] == sent
            assert self.finished[side] - dead <= self.ends[1 - side].ended
        self.both_agree_on_the_windows(dead)

    def everything_moves(self) -> bool:
        moved = False
        for side in (0, 1):
            end = self.ends[side]
            for stream_id, size in end.credit.items():
                if size:
                    end.acknowledge(stream_id, size)
                    end.credit[stream_id] = 0
            line = self.lines[side]
            line += end.take()
            if line:
                moved = True
                self.ends[1 - side].receive(bytes(line))
                line.clear()
        return moved

    def both_agree_on_the_windows(self, dead: set[int]) -> None:
        client, server = self.ends
        if not isinstance(client, OurEnd) or not isinstance(server, OurEnd):
            return
        assert client.http2.streams.keys() == server.http2.streams.keys()
        for one, other in ((client, server), (server, client)):
            for stream_id, stream in one.http2.streams.items():
                assert stream.queued == 0
                if not stream.local_closed:
                    assert stream.send_window == other.http2.streams[stream_id].receive_window > 0


class LibraryClient(Exchange):
    client_end = LibraryEnd


class LibraryServer(Exchange):
    server_end = LibraryEnd


TestOurselves = Exchange.TestCase
TestOurServerAgainstTheLibrary = LibraryClient.TestCase
TestOurClientAgainstTheLibrary = LibraryServer.TestCase

TestOurselves.settings = settings(
    max_examples=examples(60),
    stateful_step_count=50,
    deadline=None,
    report_multiple_bugs=False,
    suppress_health_check=[HealthCheck.too_slow],
)
TestOurServerAgainstTheLibrary.settings = TestOurClientAgainstTheLibrary.settings = TestOurselves.settings
