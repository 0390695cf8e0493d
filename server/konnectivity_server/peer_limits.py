"""Limits of what one peer of the server may use, built from the options, and how often each limit was reached.

Owns the numbers and the counts. The HTTP/2 transport, the listeners, the CONNECT frontend and the pending dials enforce
them. docs/secure/limits.md has all limits.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import Any

from konnectivity.grpc.budgets.header_budget import HeaderBudget
from konnectivity.grpc.budgets.message_memory import MessageMemory
from konnectivity.grpc.budgets.read_scheduler import ReadScheduler
from konnectivity.grpc.budgets.send_budget import SendBudget, UnreadOutput
from konnectivity.grpc.transport_options import TransportOptions
from konnectivity.http2 import Limits
from konnectivity.net.token_bucket import TokenBucket
from konnectivity.tunnel.extension import EXTENSION
from konnectivity.tunnel.memory_budget import MemoryBudget, read_size
from konnectivity_server.server_options import ServerOptions

AGENT_FIRST_WINDOW = 512 * 1024  # bytes that an agent without the extension may send ahead of what was passed on
FRONTEND_FIRST_WINDOW = 64 * 1024  # bytes per stream, of which one connection has many
AGENT_STREAMS = 100  # concurrent streams on one connection of an agent
BURST = 2  # seconds of dials at their highest rate that may begin at once
HEADER_BYTES_TOTAL = 64 * 1024 * 1024  # bytes of header fields kept for the calls of all connections
TENANT_SHARE = 4  # divisor: a tenant may use a quarter of what the process may, unless its options say otherwise
# Header fields that the services read. All others are dropped when a call begins.
AGENT_FIELDS = frozenset({"agentid", "agentidentifiers", "authorization", EXTENSION})
FRONTEND_FIELDS = frozenset({EXTENSION, "authorization", "traceparent"})
PEER_FIELDS = frozenset({"serverid", "tenant", EXTENSION})


@dataclass(frozen=True, slots=True)
class ConnectLimits:
    """Limits of one client of the HTTP CONNECT frontend. Times in seconds, sizes in bytes."""

    head_timeout_s: float = 60.0  # seconds from the first byte of the client to a complete CONNECT
    head_bytes: int = 1024 * 1024
    refusals: int = 100  # requests other than CONNECT until the connection is closed
    reached: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class DialLimits:
    """Limits of pending dials."""

    per_frontend: int = 65_536  # pending dials of one frontend
    address_bytes: int = 1024
    reached: Counter[str] = field(default_factory=Counter)
    rate: TokenBucket | None = None  # dials of all frontends; None: unlimited


class ServerLimits:
    """Limits of one server, for each kind of peer.

    Args:
        options: options of the server.
        memory: memory budget of all tunnels.
        whole: limits of the process, if these are the limits of a tenant, which has a share of each budget.
        dial_rate: dials per second of all frontends; 0: unlimited.

    """

    def __init__(
        self, options: ServerOptions, memory: MemoryBudget, whole: ServerLimits | None = None, dial_rate: int = 0
    ) -> None:
        usual = TransportOptions()
        self.reached: Counter[str] = Counter()
        self.handshake_failures: Counter[tuple[str, str]] = Counter()  # TLS handshakes, by listener and reason
        self.turns: ReadScheduler = ReadScheduler() if whole is None else whole.turns.part()
        self.unsent: SendBudget[UnreadOutput]
        self.header_budget: HeaderBudget
        self.message_memory: MessageMemory[Any]
        budgets = options.message_buffer_budget, memory.process_budget
        if whole is None:
            self.unsent, self.header_budget = SendBudget(options.max_unsent_total), HeaderBudget(HEADER_BYTES_TOTAL)
            self.message_memory = MessageMemory(*budgets, monotonic, memory.is_half_free)
        else:
            self.unsent = whole.unsent.part(options.max_unsent_total // TENANT_SHARE)
            self.header_budget = whole.header_budget.part(HEADER_BYTES_TOTAL // TENANT_SHARE)
            self.message_memory = whole.message_memory.part(budgets[0] // TENANT_SHARE, budgets[1], memory.is_half_free)
        self.connect = ConnectLimits(
            head_timeout_s=options.connect_head_timeout, head_bytes=options.max_connect_head, reached=self.reached
        )
        self.dials = DialLimits(
            per_frontend=options.max_pending_dials_per_frontend,
            address_bytes=options.max_address_length,
            reached=self.reached,
            rate=TokenBucket(dial_rate, BURST * dial_rate, monotonic) if dial_rate else None,
        )
        self._read_bytes = read_size(memory.process_budget)
        self.agents = self._transport(options, options.keepalive_time, AGENT_FIRST_WINDOW, AGENT_STREAMS, AGENT_FIELDS)
        self.peers = self._transport(
            options, usual.keepalive_time_s, usual.stream_window, usual.max_streams, PEER_FIELDS
        )
        self.to_peers: TransportOptions = replace(
            usual, unsent=self.unsent, turns=self.turns, read_bytes=self._read_bytes, reached=self.reached
        )
        frontends = self._transport(
            options, options.frontend_keepalive_time, FRONTEND_FIRST_WINDOW, usual.max_streams, FRONTEND_FIELDS
        )
        self.frontends: TransportOptions = replace(
            frontends,
            grown_window=usual.stream_window,
            message_memory=self.message_memory,
            limits=replace(frontends.limits, new_streams_per_s=0, slow_down=True),
        )

    def _transport(
        self,
        options: ServerOptions,
        keepalive_time_s: float,
        stream_window: int,
        max_streams: int,
        metadata_names: frozenset[str],
    ) -> TransportOptions:
        return TransportOptions(
            stream_window=stream_window,
            max_streams=max_streams,
            keepalive_time_s=keepalive_time_s,
            handshake_timeout_s=options.handshake_timeout,
            idle_timeout_s=options.idle_connection_timeout,
            unsent_bytes=options.max_unsent,
            read_bytes=self._read_bytes,
            incomplete_bytes=options.max_incomplete_messages,
            metadata_names=metadata_names,
            header_budget=self.header_budget,
            unsent=self.unsent,
            turns=self.turns,
            limits=Limits(
                header_list_bytes=options.max_header_list,
                cheap_frames_per_s=options.max_control_frame_rate,
                cheap_frames_burst=2 * options.max_control_frame_rate,
                new_streams_per_s=options.max_new_stream_rate,
                new_streams_burst=options.max_new_stream_rate,
            ),
            reached=self.reached,
        )
