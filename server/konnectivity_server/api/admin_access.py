"""Access to the admin port by bearer tokens: a token of the server covers every route, a token of a tenant its own.

Owns the file of the server's tokens, which is read again when it changes, and the count of wrong tokens. Keeps digests
of tokens. Does not know which digest belongs to a tenant, nor what a route answers.
"""

from __future__ import annotations

import hmac
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from hashlib import sha256
from time import monotonic
from typing import TYPE_CHECKING

from konnectivity.errors import StartError
from konnectivity.http1.handlers import Handler, Later, Request, Response, Routes, text
from konnectivity.net.error_texts import words_of
from konnectivity.runtime import logs
from konnectivity.runtime.changing_file import ChangingFile
from konnectivity.untrusted.file_content import read_file
from konnectivity_server.api.list_queries import answer

if TYPE_CHECKING:
    from konnectivity_server.server_options import ServerOptions

peer_log = logs.get_peer_log(__name__)

MAX_FILE = 16 * 1024  # bytes
MIN_TOKEN = 16  # characters: a shorter token could be guessed
SOURCE = "x-forwarded-for"  # header in which the supervisor tells a worker the source of a request
_SCHEME = "bearer "

RoutesOfToken = Callable[[str], "Routes | None"]
"""Returns the routes that the token of a tenant covers, by the token's digest in hex; None: it belongs to no tenant."""


def checked(
    options: ServerOptions, own: Routes, reached: Counter[str], of_tenants: RoutesOfToken = lambda digest: None
) -> Routes:
    """Return routes that ask for a token, or the same routes without --admin-token-file.

    Args:
        options: options of the server.
        own: all routes of the admin port but those of the page.
        reached: counts wrong tokens.
        of_tenants: returns the routes that the token of a tenant covers.

    Raises:
        StartError: the file of the server's tokens cannot be used.

    """
    path = options.admin_token_file
    return TokenRoutes(path, own, reached, of_tenants) if path else own


class TokenRoutes(Mapping[str, Handler]):
    """Routes of the admin port behind the check of the token: every path has a handler, so that none is told.

    Args:
        path: file with the server's tokens, one per line.
        own, reached, of_tenants: as of `checked`.
        clock: seconds, monotonic.

    Raises:
        StartError: the file cannot be used.

    """

    def __init__(
        self,
        path: str,
        own: Routes,
        reached: Counter[str],
        of_tenants: RoutesOfToken,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._own = own
        self._reached = reached
        self._of_tenants = of_tenants
        try:
            self._file = ChangingFile("Admin token file", path, _digests, len, clock)
        except ValueError as error:
            raise StartError(f"--admin-token-file: {error}") from error

    def __getitem__(self, path: str) -> Handler:
        return partial(self._answer, path)

    def __iter__(self) -> Iterator[str]:
        return iter(self._own)

    def __len__(self) -> int:
        return len(self._own)

    def _answer(self, path: str, request: Request) -> Response | Later:
        field = request.headers.get("authorization")
        digest = _digest_of(field or "")
        equal = [hmac.compare_digest(digest, each) for each in self._file.newest()]  # all, in constant time
        if any(equal):
            handler = self._own.get(path)
            return text("404 page not found\n", 404) if handler is None else handler(request)
        routes = self._of_tenants(digest)
        if routes is not None:
            return routes[path](request) if path in routes else forbidden("the token covers one tenant, not this path")
        return self._unauthorized(request, field)

    def _unauthorized(self, request: Request, field: str | None) -> Response:
        if field is None:
            why = "this port asks for a token: Authorization: Bearer TOKEN"
        else:
            why = "the token is wrong"
            source = request.source or request.headers.get(SOURCE, "unix")
            self._reached["wrong_admin_token"] += 1
            peer_log.warning(source, "Wrong token on the admin port", source=source)
        refused = _problem(why, 401)
        return refused._replace(headers={**refused.headers, "WWW-Authenticate": "Bearer"})


def forbidden(why: str) -> Response:
    """Return the answer to a request that its token does not cover."""
    return _problem(why, 403)


def _problem(why: str, status: int) -> Response:
    return answer(json.dumps({"error": why}).encode() + b"\n", status)


def _digest_of(field: str) -> str:
    """Return the digest of the token in an Authorization field, or "", which no token has."""
    if field[: len(_SCHEME)].lower() != _SCHEME:
        return ""
    return sha256(field[len(_SCHEME) :].strip(" ").encode("latin-1", "replace")).hexdigest()


def _digests(path: str) -> tuple[str, ...]:
    """Return the digests of the tokens in a file; no error quotes a token."""
    try:
        lines = read_file(path, MAX_FILE).splitlines()
    except OSError as error:
        raise ValueError(f"cannot read {path}: {words_of(error)}") from error
    tokens = {number: line for number, each in enumerate(lines, 1) if (line := each.strip())}
    for number, token in tokens.items():
        if len(token) < MIN_TOKEN or not all(0x21 <= byte <= 0x7E for byte in token):
            raise ValueError(
                f"{path}: line {number} is no token of at least {MIN_TOKEN} printable ASCII characters without spaces; "
                "make one with: openssl rand -hex 32"
            )
    if not tokens:
        raise ValueError(f"{path} has no token; make one with: openssl rand -hex 32")
    return tuple(sha256(token).hexdigest() for token in tokens.values())
