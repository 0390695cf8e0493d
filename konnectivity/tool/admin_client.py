"""Client of servers' admin ports: one request, one answer, one deadline. Knows no path."""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from konnectivity.http1.http_exchange import FetchError
from konnectivity.http1.small_requests import SmallResponse, get_blocking
from konnectivity.net import addresses
from konnectivity.net.error_texts import words_of
from konnectivity.untrusted.file_content import read_any

TIMEOUT_S = 5.0
DEFAULT_ADDRESS = "127.0.0.1:8095"
MAX_TOKEN_FILE = 16 * 1024  # bytes


class AdminError(Exception):
    """Failed request to an admin port; `str()` gives the reason and what to check."""


class TokenError(AdminError):
    """Refusal of a request for its token."""


def address_of(text: str) -> str:
    """Return "host:port" of an admin port, given as "host:port" or as a URL of its web page.

    Raises:
        argparse.ArgumentTypeError: the text is neither.

    """
    address = text.removeprefix("http://").removesuffix("/") if text.startswith("http://") else text
    try:
        host, port = addresses.split(address)
        if not host or not port:
            raise ValueError("host and port are needed")
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{error}; write HOST:PORT, as in {DEFAULT_ADDRESS}") from None
    return address


def add_options(parser: argparse.ArgumentParser, several: bool = False, default: str = DEFAULT_ADDRESS) -> None:
    """Declare the options --admin and --admin-token-file of a command that asks servers.

    Args:
        parser: parser of the command.
        several: whether --admin may be repeated; its value is then a list, which is empty without the option.
        default: address that is asked without --admin; empty: none, which only the help says where `several`.

    """
    what = "Admin port of a server, or the URL of its web page"
    shown = (f"{what}; may be repeated" if several else what) + (f" (default: {default})." if default else ".")
    how: dict[str, Any] = {"action": "append", "default": []} if several else {"default": default}
    parser.add_argument("--admin", metavar="HOST:PORT", type=address_of, help=shown, **how)
    parser.add_argument(
        "--admin-token-file",
        metavar="FILE",
        default="",
        help="File whose first line is the token for the admin port, of the server or of a tenant (default: none, as "
        "servers without --admin-token-file need none).",
    )


def add_tenant_option(parser: argparse.ArgumentParser) -> None:
    """Declare the option --tenant of a command that asks about one cluster."""
    parser.add_argument(
        "--tenant",
        metavar="NAME",
        default="",
        help="Tenant of a server with --tenants that is asked about (default: the server serves one cluster).",
    )


@dataclass(frozen=True, slots=True)
class AdminClient:
    """Client of admin ports.

    Args:
        timeout_s: limit in seconds for one request.
        token_file: file whose first line is the token; empty: none.
        token: token that each request shows; empty: none.
        tenant: tenant that each request is about; empty: the path says it.

    """

    timeout_s: float = TIMEOUT_S
    token_file: str = ""
    token: str = ""
    tenant: str = ""

    def get(self, address: str, path: str) -> SmallResponse:
        """Request `path` from the admin port at `address` ("host:port").

        Raises:
            AdminError: the port does not answer, or wants another token.

        """
        if self.tenant:
            path += f"{'&' if '?' in path else '?'}tenant={quoted(self.tenant)}"
        headers = [("Authorization", f"Bearer {self.token}")] if self.token else []
        try:
            answer = get_blocking(address, path, self.timeout_s, headers)
        except (OSError, FetchError, ValueError) as error:
            raise AdminError(f"cannot ask {address}: {_why(error)}; {_HINT}") from error
        if answer.status == 401:
            raise TokenError(f"{address} {self._refusal()}")
        if answer.status == 403 and self.token:
            shown = f"the token of {self.token_file}"
            raise TokenError(
                f"{address} takes {shown} for one tenant only: name that tenant, or show the server's token"
            )
        return answer

    def get_json(self, address: str, path: str) -> Any:
        """Return the JSON at `path`.

        Raises:
            AdminError: the port does not answer, the answer is not JSON, or the server refuses the request.

        """
        return parsed(self.get(address, path), address)

    def _refusal(self) -> str:
        if not self.token:
            return "asks for a token: give --admin-token-file FILE"
        return f"refuses the token of {self.token_file}: show the token of this server, or of one of its tenants"


def quoted(text: str) -> str:
    """Return a text of the command line as a value in a query; bytes of it that are no UTF-8 stay as they are."""
    return quote(text, errors="surrogateescape")


def client_of(token_file: str, timeout_s: float = TIMEOUT_S, tenant: str = "") -> AdminClient:
    """Return a client that shows the token of a file; without a file, none.

    Raises:
        AdminError: the file has no token.

    """
    if not token_file:
        return AdminClient(timeout_s, tenant=tenant)
    try:
        lines = read_any(token_file, MAX_TOKEN_FILE).split(b"\n")
    except (OSError, ValueError) as error:
        why = words_of(error) if isinstance(error, OSError) else str(error)
        raise AdminError(f"cannot read --admin-token-file {token_file}: {why}") from error
    token = next((line.strip() for line in lines if line.strip()), b"")
    if not token or not all(0x21 <= byte <= 0x7E for byte in token):
        raise AdminError(
            f"--admin-token-file {token_file} has no token, which is ASCII without spaces, in its first line"
        )
    return AdminClient(timeout_s, token_file, token.decode("ascii"), tenant)


def parsed(answer: SmallResponse, address: str) -> Any:
    """Return the JSON of an answer that is no refusal.

    Raises:
        AdminError: the answer is not JSON, or the server refuses the request.

    """
    found = parse(answer, address)
    if why := _refused(found):
        raise AdminError(f"{address} refuses: {why}")
    return found


def parse(answer: SmallResponse, address: str) -> Any:
    """Return the JSON of an answer.

    Raises:
        AdminError: the answer is not JSON.

    """
    try:
        return json.loads(answer.body)
    except ValueError as error:
        raise AdminError(f"{address} answers with status {answer.status} and no JSON; {_HINT}") from error


def _refused(found: Any) -> str:
    """Return the reason in a JSON refusal, or "" if the server does not refuse the request."""
    return str(found["error"]) if isinstance(found, dict) and set(found) == {"error"} else ""


def _why(error: Exception) -> str:
    return "the answer is not HTTP" if isinstance(error, FetchError) else words_of(error)


_HINT = "is it the admin port of a proxy server of this project?"
