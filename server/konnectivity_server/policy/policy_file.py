"""File of the policy on frontends, read again when it changes.

Owns the newest policy that can be used. A change that cannot be used is logged, and leaves the policy of before in
force. Does not know what a policy means.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from time import monotonic

from konnectivity.errors import StartError
from konnectivity.grpc.message_stream import Peer
from konnectivity.net.error_texts import words_of
from konnectivity.runtime import logs
from konnectivity.untrusted.file_content import read_file
from konnectivity_server.policy.frontend_policy import FrontendPolicy, parse_policy

log = logs.get(__name__)

MAX_FILE = 1024 * 1024  # bytes
LOOK_INTERVAL_S = 1.0  # least time between two looks at the file


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
        self._path = path
        self._clock = clock
        self._stamp = self._stamp_of_file()
        self._looked_at = clock()
        try:
            self._policy = _read(path)
        except ValueError as error:
            raise StartError(f"--frontend-policy: {error}") from error

    def refusal(self, client: Peer, address: str) -> str | None:
        """Return why a client must not dial a destination, and count it; None if it may."""
        if self._clock() - self._looked_at >= LOOK_INTERVAL_S:
            self._look()
        why = self._policy.refusal(client, address)
        self.refused += why is not None
        return why

    def _look(self) -> None:
        """Read the file again if it has changed."""
        self._looked_at = self._clock()
        stamp = self._stamp_of_file()
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._policy = _read(self._path)
            log.info("Frontend policy has changed", file=self._path, entries=len(self._policy.entries))
        except ValueError as error:
            log.warning("Frontend policy cannot be used, keeping the one of before", reason=str(error))

    def _stamp_of_file(self) -> tuple[int, int, int] | None:
        try:
            found = os.stat(self._path)
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino


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
