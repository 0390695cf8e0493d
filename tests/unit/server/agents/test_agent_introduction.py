"""Introduction of an agent: accepted ids and identifiers, and the texts of refusals."""

from __future__ import annotations

from collections import Counter

import pytest

from konnectivity.grpc.metadata import Metadata
from konnectivity.grpc.status import Code, RpcError
from konnectivity_server.agents.agent_identifiers import MAX_TEXT
from konnectivity_server.agents.agent_introduction import introduction_of


def test_an_agent_gives_its_id_and_its_identifiers():
    metadata = Metadata([("agentid", "node-7"), ("agentidentifiers", "ipv4=10.0.0.7&default-route=true")])
    agent_id, identifiers = introduction_of(metadata, Counter())
    assert (agent_id, identifiers.ipv4, identifiers.default_route) == ("node-7", ("10.0.0.7",), True)


def test_identifiers_are_optional():
    assert introduction_of(Metadata([("agentid", "node-7")]), Counter()).identifiers.addresses == ()


@pytest.mark.parametrize(
    ("headers", "code", "text", "limit"),
    [
        ([], Code.UNKNOWN, "expected one agent ID in the context, got 0", None),
        ([("agentid", "a"), ("agentid", "b")], Code.UNKNOWN, "expected one agent ID in the context, got 2", None),
        ([("agentid", "x" * 300)], Code.INVALID_ARGUMENT, "300", "agent_id_length"),
        ([("agentid", "a\x1bb")], Code.INVALID_ARGUMENT, "", None),
        (
            [("agentid", "a"), ("agentidentifiers", "x"), ("agentidentifiers", "y")],
            Code.UNKNOWN,
            "expected at most one set of agent identifiers in the context, got 2",
            None,
        ),
        ([("agentid", "a"), ("agentidentifiers", "ipv4=%zz")], Code.UNKNOWN, "cannot be decoded", None),
        (
            [("agentid", "a"), ("agentidentifiers", "host=" + "x" * MAX_TEXT)],
            Code.INVALID_ARGUMENT,
            "at most 16384 are allowed",
            "agent_identifiers",
        ),
        (
            [("agentid", "a"), ("agentidentifiers", "host=a\x1b")],
            Code.INVALID_ARGUMENT,
            "control characters",
            "agent_identifiers",
        ),
    ],
)
def test_a_malformed_introduction_is_refused_without_repeating_it(headers, code, text, limit):
    reached = Counter()
    with pytest.raises(RpcError) as caught:
        introduction_of(Metadata(headers), reached)
    assert caught.value.status.code is code
    assert text in caught.value.status.message
    assert "\x1b" not in caught.value.status.message
    assert "xxx" not in caught.value.status.message
    assert reached == ({limit: 1} if limit else {})
