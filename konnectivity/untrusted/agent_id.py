"""Rule for the id of an agent, checked by the agent and by the server. Pure."""

from __future__ import annotations

MAX_LENGTH = 256  # characters


def problem_of(agent_id: str) -> str:
    """Return the error in an agent's id, or an empty text."""
    if len(agent_id) > MAX_LENGTH:
        return f"the agent id has {len(agent_id)} characters; at most {MAX_LENGTH} are allowed"
    if not agent_id.isprintable():
        return "the agent id has control characters, or bytes that are no UTF-8"
    if agent_id != agent_id.strip():
        return "the agent id begins or ends with a space"
    return ""
