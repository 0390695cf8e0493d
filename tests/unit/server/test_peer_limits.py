"""Limits of the server's peers, set by the options."""

from __future__ import annotations

from typing import Any

from konnectivity.tunnel.memory_budget import KIB, MIB, MemoryBudget
from konnectivity_server.peer_limits import AGENT_FIELDS, FRONTEND_FIELDS, PEER_FIELDS, ServerLimits
from konnectivity_server.server_options import ServerOptions


def limits_of(**options: Any) -> ServerLimits:
    return ServerLimits(ServerOptions(**options), MemoryBudget())


def test_each_option_reaches_the_limit_that_it_names():
    limits = limits_of(
        connect_head_timeout=7.0,
        max_connect_head=2048,
        max_pending_dials_per_frontend=12,
        max_address_length=99,
        max_header_list=4096,
        max_control_frame_rate=50,
    )
    assert (limits.connect.head_timeout_s, limits.connect.head_bytes) == (7.0, 2048)
    assert (limits.dials.per_frontend, limits.dials.address_bytes) == (12, 99)
    for transport in (limits.agents, limits.peers, limits.frontends):
        assert transport.limits.header_list_bytes == 4096
        assert (transport.limits.cheap_frames_per_s, transport.limits.cheap_frames_burst) == (50, 100)


def test_each_peer_keeps_only_the_header_fields_that_its_service_reads():
    limits = limits_of()
    assert limits.agents.metadata_names == AGENT_FIELDS
    assert limits.peers.metadata_names == PEER_FIELDS
    assert limits.frontends.metadata_names == FRONTEND_FIELDS


def test_a_server_in_little_memory_reads_less_at_a_time():
    for process_budget, size in ((3 * MIB, 64 * KIB), (256 * MIB, 256 * KIB)):
        limits = ServerLimits(ServerOptions(), MemoryBudget(process_budget=process_budget))
        assert {each.read_bytes for each in (limits.agents, limits.peers, limits.frontends)} == {size}


def test_a_frontend_that_floods_is_slowed_down_and_may_open_streams_as_fast_as_it_likes():
    limits = limits_of(max_new_stream_rate=5)
    assert limits.agents.limits.new_streams_per_s == 5
    assert not limits.agents.limits.slow_down
    assert limits.frontends.limits.new_streams_per_s == 0
    assert limits.frontends.limits.slow_down


def test_all_kinds_of_peers_share_one_count_of_reached_limits_and_one_budget_of_headers():
    limits = limits_of()
    transports = (limits.agents, limits.peers, limits.frontends)
    assert all(each.reached is limits.reached for each in (*transports, limits.connect, limits.dials))
    assert all(each.header_budget is limits.header_budget for each in transports)
