"""Settings of one end of a gRPC connection: windows, limits and time-outs. Owns values only, no connection."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic

from konnectivity.grpc.budgets.call_memory import CallMemory
from konnectivity.grpc.budgets.header_budget import HeaderBudget
from konnectivity.grpc.budgets.message_memory import MessageMemory
from konnectivity.grpc.budgets.read_scheduler import ReadScheduler
from konnectivity.grpc.budgets.send_budget import SendBudget, UnreadOutput
from konnectivity.grpc.framing import MAX_MESSAGE_SIZE
from konnectivity.http2 import Limits
from konnectivity.net import read_buffer


@dataclass(frozen=True, slots=True)
class TransportOptions:
    """Settings of one end of a gRPC connection.

    Attributes:
        stream_window: bytes that the peer may send on a new stream before this side returns window.
        grown_window: bytes of that window once the peer has used it up; 0: it keeps its first size.
        max_frame_size: largest payload of a frame that the peer may send, in bytes.
        max_streams: number of streams that the peer may have open on one connection.
        max_message_size: largest gRPC message that is accepted, in bytes.
        keepalive_time_s: silence in seconds after which a keepalive ping is sent.
        keepalive_timeout_s: seconds that the peer has to send anything after that ping.
        handshake_timeout_s: server: seconds that a client has to send its preface and SETTINGS.
        idle_timeout_s: server: seconds after which a connection without a call is closed; 0: never.
        unsent_bytes: output that may wait for a peer that does not read; above it the connection is cut, or, when
            `message_memory` is set, the stream that has the output.
        incomplete_bytes: bytes of incomplete messages on all streams of one connection.
        message_memory: memory shared by the large messages of connections with many users; None: a connection over
            `incomplete_bytes` loses the stream that exceeded it.
        message_timeout_s: seconds that a message may stay incomplete while another one waits for its memory.
        unread_timeout_s: seconds without progress after which a peer that does not read is given up; only with
            `limits.slow_down`.
        unsent: budget for the output that waits on all connections of a server; None: no common budget.
        metadata_names: header fields that the services read, in lower case; all others are dropped. None: all are kept.
        header_bytes: bytes of header fields kept for the calls of one connection.
        header_budget: budget for the header fields of all connections of a server; None: no common budget.
        turns: scheduler of slow readers, shared by the connections of a server.
        read_bytes: largest read from the socket, in bytes; waiting data may keep the whole read that it is part of.
        limits: limits on what the peer may cost in HTTP/2.
        reached: counter of reached limits, by name of the limit.
        clock: source of monotonic seconds.

    """

    stream_window: int = 256 * 1024
    grown_window: int = 0
    max_frame_size: int = 128 * 1024
    max_streams: int = 65_536
    max_message_size: int = MAX_MESSAGE_SIZE
    keepalive_time_s: float = 3600.0
    keepalive_timeout_s: float = 20.0
    handshake_timeout_s: float = 10.0
    idle_timeout_s: float = 0.0
    unsent_bytes: int = 8 * 1024 * 1024
    incomplete_bytes: int = 8 * 1024 * 1024
    message_memory: MessageMemory[CallMemory] | None = None
    message_timeout_s: float = 30.0
    unread_timeout_s: float = 20.0
    unsent: SendBudget[UnreadOutput] | None = None
    metadata_names: frozenset[str] | None = None
    header_bytes: int = 256 * 1024
    header_budget: HeaderBudget | None = None
    turns: ReadScheduler = field(default_factory=ReadScheduler)
    read_bytes: int = read_buffer.SIZE
    limits: Limits = field(default_factory=Limits)
    reached: Counter[str] = field(default_factory=Counter)
    clock: Callable[[], float] = monotonic
