"""Introduction of an agent: the id and the identifiers in the metadata of its stream. Pure.

Owns the limits on both. Does not know whether the agent may claim them. A refusal names numbers and repeats nothing
that the agent sent.
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from konnectivity.grpc.metadata import Metadata
from konnectivity.grpc.status import Code, RpcError
from konnectivity.untrusted.agent_id import MAX_LENGTH, problem_of
from konnectivity_server.agents import agent_identifiers
from konnectivity_server.agents.agent_identifiers import Identifiers

AGENT_ID = "agentid"
AGENT_IDENTIFIERS = "agentidentifiers"


class AgentIntroduction(NamedTuple):
    """Id and identifiers of an agent, within their limits."""

    agent_id: str
    identifiers: Identifiers


def introduction_of(metadata: Metadata, reached: Counter[str]) -> AgentIntroduction:
    """Return what an agent says of itself.

    Args:
        metadata: request headers of the agent's stream.
        reached: counts the limits that agents exceed, by name.

    Raises:
        RpcError: the id or the identifiers are missing, malformed or above a limit.

    """
    agent_id = _agent_id(metadata, reached)
    text = _identifiers_text(metadata)
    problem = agent_identifiers.over_limit(text)
    try:
        found = Identifiers() if problem else agent_identifiers.parse(text)
    except ValueError as error:
        raise RpcError(Code.UNKNOWN, f"agent identifiers cannot be decoded: {error}") from error
    problem = problem or agent_identifiers.refusal(found)
    if problem:
        reached["agent_identifiers"] += 1
        raise RpcError(Code.INVALID_ARGUMENT, problem)
    return AgentIntroduction(agent_id, found)


def _agent_id(metadata: Metadata, reached: Counter[str]) -> str:
    ids = metadata.get_all(AGENT_ID)
    if len(ids) != 1:
        raise RpcError(Code.UNKNOWN, f"expected one agent ID in the context, got {len(ids)}")
    if problem := problem_of(ids[0]):
        if len(ids[0]) > MAX_LENGTH:
            reached["agent_id_length"] += 1
        raise RpcError(Code.INVALID_ARGUMENT, problem)
    return ids[0]


def _identifiers_text(metadata: Metadata) -> str:
    texts = metadata.get_all(AGENT_IDENTIFIERS)
    if len(texts) > 1:
        text = f"expected at most one set of agent identifiers in the context, got {len(texts)}"
        raise RpcError(Code.UNKNOWN, text)
    return texts[0] if texts else ""
