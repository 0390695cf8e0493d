"""File of the policy on frontends, read again when it changes.

Owns the file and the number of refused dials. Does not know what a policy means.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from konnectivity.errors import StartError
from konnectivity.grpc.message_stream import Peer
from konnectivity.net.error_texts import words_of
from konnectivity.runtime.changing_file import ChangingFile
from konnectivity.untrusted.file_content import read_file
from konnectivity_server.policy.frontend_policy import FrontendPolicy, parse_policy

MAX_FILE = 1024 * 1024  # bytes


class PolicyFile:
    """File of a policy.

    Attributes:
        refused: number of dials that the policy refused.

    Args:
        path: of the file.
        clock: seconds, monotonic.

    Raises:
        StartError: the file cannot be used.

    """

    def __init__(self, path: str, clock: Callable[[], float] = monotonic) -> None:
        self.refused = 0
        try:
            self._file = ChangingFile("Frontend policy", path, _read, lambda policy: len(policy.entries), clock)
        except ValueError as error:
            raise StartError(f"--frontend-policy: {error}") from error

    def refusal(self, client: Peer, address: str, asked_for: str) -> str | None:
        """Return why a client must not dial an address, and count the refusal; None if it may.

        Args:
            client: the client.
            address: destination, as "host:port".
            asked_for: name that the client asked for, where this server resolved it to the address; else empty.

        """
        why = self._file.newest().refusal(client, address, asked_for)
        self.refused += why is not None
        return why


def _read(path: str) -> FrontendPolicy:
    import yaml  # loaded for a policy only: it takes memory

    try:
        return parse_policy(yaml.safe_load(read_file(path, MAX_FILE)))
    except OSError as error:
        raise ValueError(f"cannot read {path}: {words_of(error)}") from error
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(f"{path} is no YAML: {' '.join(str(error).split())[:300]}") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
