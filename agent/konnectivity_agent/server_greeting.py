"""Greeting between an agent and a proxy server: the request headers of the agent, and the server's answer.

Owns no resource; the token file is read once per greeting, as the cluster replaces tokens. Does not know the transport.
"""

from __future__ import annotations

from dataclasses import dataclass

from konnectivity.grpc.metadata import Metadata
from konnectivity.grpc.status import Code, RpcError
from konnectivity.untrusted.file_content import read_file
from konnectivity.untrusted.numbers import parse_decimal
from konnectivity.untrusted.server_bounds import MAX_SERVER_COUNT, MAX_SERVER_ID

_MAX_INT = 2**63 - 1  # the largest count that the reference can announce


@dataclass(frozen=True, slots=True)
class AgentIdentity:
    """Identity of an agent, as it presents itself to every server."""

    agent_id: str
    identifiers: str = ""
    token_path: str = ""  # file of a service account token; empty: none

    def metadata(self) -> dict[str, str]:
        """Return the request headers, with the token that the file holds now.

        Raises:
            OSError: the token file cannot be read.
            ValueError: the token file does not hold exactly one token.

        """
        headers = {"agentID": self.agent_id, "agentIdentifiers": self.identifiers}
        if self.token_path:
            headers["authorization"] = f"Bearer {read_token(self.token_path)}"
        return headers


def read_token(path: str) -> str:
    """Return the token in a file.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file does not hold exactly one word of ASCII text.

    """
    try:
        words = read_file(path).decode("ascii").split()
    except UnicodeDecodeError as error:
        raise ValueError(f"token file {path!r} is no ASCII text") from error
    if len(words) != 1:
        raise ValueError(
            f"token file {path!r} is empty" if not words else f"token file {path!r} has more than one word"
        )
    return words[0]


def read_answer(metadata: Metadata) -> tuple[str, int]:
    """Return the server id and the server count in the answer of a server; the count may be 0 or negative.

    Raises:
        RpcError: one of the two is missing, given twice, or malformed.

    """
    ids = metadata.get_all("serverid")
    counts = metadata.get_all("servercount")
    if len(ids) != 1 or len(ids[0]) > MAX_SERVER_ID:
        what = f"{len(ids)} of them" if len(ids) != 1 else f"one of {len(ids[0])} characters"
        raise RpcError(Code.UNKNOWN, f"expected one server ID of at most {MAX_SERVER_ID} characters, got {what}")
    if len(counts) != 1:
        raise RpcError(Code.UNKNOWN, f"expected one server count, got {len(counts)} of them")
    digits = counts[0].removeprefix("-")
    count = parse_decimal(digits, _MAX_INT)
    if count is None:
        raise RpcError(Code.UNKNOWN, f"expected one server count, got {counts[0][:40]!r}")
    return ids[0], min(count, MAX_SERVER_COUNT) if digits == counts[0] else -count
