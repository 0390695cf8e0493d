"""Client of a server's admin port: one request, one answer, one deadline. Knows no path."""

from __future__ import annotations

import argparse
import json
from typing import Any

from konnectivity.http1.http_exchange import FetchError
from konnectivity.http1.small_requests import SmallResponse, get_blocking
from konnectivity.net import addresses
from konnectivity.net.error_texts import words_of

TIMEOUT_S = 5.0
DEFAULT_ADDRESS = "127.0.0.1:8095"


class AdminError(Exception):
    """Failed request to an admin port; `str()` gives the reason and what to check."""


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


def add_option(parser: argparse.ArgumentParser) -> None:
    """Declare the option --admin of a command that asks one server."""
    parser.add_argument(
        "--admin",
        metavar="HOST:PORT",
        type=address_of,
        default=DEFAULT_ADDRESS,
        help="Admin port of the server (default: %(default)s).",
    )


def get(address: str, path: str, timeout_s: float = TIMEOUT_S) -> SmallResponse:
    """Request `path` from the admin port at `address` ("host:port").

    Raises:
        AdminError: the port does not answer.

    """
    try:
        return get_blocking(address, path, timeout_s)
    except (OSError, FetchError, ValueError) as error:
        raise AdminError(f"cannot ask {address}: {_why(error)}; {_HINT}") from error


def get_json(address: str, path: str, timeout_s: float = TIMEOUT_S) -> Any:
    """Return the JSON at `path`.

    Raises:
        AdminError: the port does not answer, the answer is not JSON, or the server refuses the request.

    """
    return parsed(get(address, path, timeout_s), address)


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
