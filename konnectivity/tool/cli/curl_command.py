"""Command `konnectivity curl URL`: sends one HTTP request through the tunnel and shows the time of each hop."""

from __future__ import annotations

import argparse
import asyncio
import base64
import ssl
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import uvloop

from konnectivity.client import DIAL_TIMEOUT_S, DialError, connect
from konnectivity.http1.http_client import (
    ByteStream,
    FetchRequest,
    Plain,
    fetch,
    parse_header,
    parse_url,
)
from konnectivity.http1.http_exchange import FetchError, ResponseHead
from konnectivity.net import addresses
from konnectivity.net.error_texts import words_of
from konnectivity.net.hop_timings import HopTimings
from konnectivity.runtime.options import positive_duration
from konnectivity.tls import TlsError, client_context
from konnectivity.tls.contexts import notice_truncation
from konnectivity.tool.cli import frontend_arguments, output
from konnectivity.tool.cli.plain_stream import Payload
from konnectivity.untrusted.file_content import read_any
from konnectivity.untrusted.untrusted_text import visible

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

BODY = "body"
MAX_LINE = 64 * 1024  # characters of a header field that --verbose shows
MAX_BODY = 256 * 1024 * 1024  # bytes of a file that is sent
_EXAMPLE = """\
exit code: 0, there was an answer (with --fail: of a status below 400); 1, there was not; 2, wrong usage

example:
  konnectivity curl http://10.0.0.7:8080/healthz --server unix:/run/konnectivity/server.sock -i --timings
  konnectivity curl https://10.0.0.7:10250/metrics --server unix:/run/konnectivity/server.sock \\
      --cacert kubelet-ca.crt --target-cert kubelet-client.crt --target-key kubelet-client.key
"""


def add_to(commands: Commands) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "curl",
        help="fetch a URL through a proxy server, with the time of each hop",
        description="Fetch a URL through a proxy server's frontend. The TLS of an https URL is with the target, inside "
        "the tunnel.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("url", metavar="URL", help="URL with http:// or https:// and a host that the agent can reach.")
    _add_request(parser)
    _add_target(parser)
    frontend_arguments.add_to(parser)
    parser.add_argument("-i", "--include", action="store_true", help="Print status and headers of the response, too.")
    parser.add_argument("--fail", action="store_true", help="Exit with code 1 if the status is 400 or more.")
    timeout = f"{DIAL_TIMEOUT_S:g}s"
    parser.add_argument(
        "--max-time", metavar="DURATION", default=timeout, help="Limit for the whole request (default: %(default)s)."
    )
    parser.add_argument(
        "-v", "--verbose", action="store_true", help="Print request and response headers on standard error."
    )
    parser.add_argument("--timings", action="store_true", help="Print the time of each hop on standard error.")
    forms = (BODY, *output.FORMATS)
    parser.add_argument(
        "-o",
        "--output",
        choices=forms,
        default=BODY,
        help="Output: body of the response, with control characters escaped on a terminal; table of the hops; or yaml "
        "or json with both (default: %(default)s).",
    )
    parser.set_defaults(run=run)


def _add_request(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-X", "--request", metavar="METHOD", default="", help="Request method (default: GET, or POST with -d)."
    )
    parser.add_argument(
        "-H", "--header", metavar="'NAME: VALUE'", action="append", default=[], help="Request header; may be repeated."
    )
    parser.add_argument(
        "-d", "--data", metavar="DATA", help="Body of the request; @FILE is read from a file, @- from standard input."
    )
    parser.add_argument("-I", "--head", action="store_true", help="Send a HEAD request and print status and headers.")


def _add_target(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("target (https)")
    group.add_argument(
        "--cacert",
        "--target-ca-cert",
        metavar="FILE",
        default="",
        help="CA certificates that verify an https target (default: the system's).",
    )
    group.add_argument("-k", "--insecure", action="store_true", help="Accept any certificate of an https target.")
    group.add_argument("--target-cert", metavar="FILE", default="", help="Client certificate for an https target.")
    group.add_argument("--target-key", metavar="FILE", default="", help="Private key of --target-cert.")
    group.add_argument(
        "--target-name",
        metavar="NAME",
        default="",
        help="Name in the target's certificate (default: the host of the URL).",
    )


class _Task(NamedTuple):
    """Request and target that the command line names."""

    request: FetchRequest
    frontend: frontend_arguments.FrontendArguments
    target_tls: ssl.SSLContext | None
    target_name: str
    max_time_s: float


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code (listed in `_EXAMPLE`)."""
    try:
        task = _task(arguments)
    except OSError as error:
        output.complain("curl", f"cannot read {error.filename}: {words_of(error)}")
        return 2
    except (ValueError, TlsError) as error:
        output.complain("curl", error)
        return 2
    shown = _ShownResponse(arguments)
    taken = HopTimings()
    failure = uvloop.run(_fetched(task, shown, taken))
    shown.finish(taken, failure)
    if failure:
        output.complain("curl", failure)
        return 1
    return 1 if arguments.fail and shown.answer and shown.answer.status >= 400 else 0


def _task(arguments: argparse.Namespace) -> _Task:
    url = parse_url(arguments.url)
    addresses.split(url.address)
    body = _body(arguments.data) if arguments.data is not None else b""
    method = arguments.request or ("HEAD" if arguments.head else "GET" if arguments.data is None else "POST")
    headers = [parse_header(each) for each in arguments.header]
    if arguments.data is not None and not any(name.lower() == "content-type" for name, _ in headers):
        headers.append(("Content-Type", "application/x-www-form-urlencoded"))
    return _Task(
        FetchRequest(url, method.upper(), headers, body),
        frontend_arguments.of(arguments),
        _target_tls(arguments) if url.scheme == "https" else None,
        arguments.target_name or url.host,
        positive_duration("--max-time", arguments.max_time),
    )


def _body(data: str) -> bytes:
    if data == "@-":
        return sys.stdin.buffer.read()
    if data.startswith("@"):
        return read_any(data[1:], MAX_BODY)
    return data.encode()


def _target_tls(arguments: argparse.Namespace) -> ssl.SSLContext:
    if bool(arguments.target_cert) != bool(arguments.target_key):
        raise ValueError("--target-cert and --target-key go together")
    pair = (arguments.target_cert, arguments.target_key)
    if arguments.cacert and not arguments.insecure:
        return client_context(arguments.cacert, *pair, alpn=("http/1.1",))
    context = ssl.create_default_context()
    notice_truncation(context)
    context.set_alpn_protocols(["http/1.1"])
    if arguments.insecure:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if arguments.target_cert:
        try:
            context.load_cert_chain(*pair)
        except (OSError, ssl.SSLError) as error:
            raise ValueError(f"cannot use {' with '.join(pair)}: {words_of(error)}") from error
    return context


async def _fetched(task: _Task, shown: _ShownResponse, taken: HopTimings) -> str:
    """Return why the answer is incomplete, or "" for a complete answer."""
    try:
        async with asyncio.timeout(task.max_time_s), connect(**task.frontend.keywords()) as tunnel:
            reader, writer = await tunnel.dial(task.request.url.address, task.max_time_s, taken)
            try:
                stream: ByteStream = Plain(reader, writer)
                if task.target_tls is not None:
                    stream = await _secured(task, reader, writer, taken)
                shown.asked(task.request)
                await fetch(stream, task.request, taken, shown.head, shown.data)
            finally:
                writer.transport.abort()
    except TimeoutError:
        return f"no whole answer in {task.max_time_s:g} s (--max-time)"
    except ssl.SSLCertVerificationError as error:
        return f"the target's certificate is not accepted: {error.verify_message}; --cacert, --target-name, or -k"
    except ssl.SSLEOFError:
        return "the target ended the connection in the middle of TLS: what came may be cut off"
    except ssl.SSLError as error:
        return f"no TLS with the target: {words_of(error)}"
    except (FetchError, DialError) as error:
        return str(error)
    except OSError as error:
        return f"the connection broke: {words_of(error)}"
    return ""


async def _secured(
    task: _Task, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, taken: HopTimings
) -> ByteStream:
    from konnectivity.net.hop_timings import TARGET_TLS
    from konnectivity.tls.nested_tls import InnerTls

    assert task.target_tls is not None, "asked for by https only"
    inner = InnerTls(reader, writer, task.target_tls, task.target_name)
    await inner.handshake()
    taken.done(TARGET_TLS)
    return inner


class _ShownResponse:
    """Printer of an HTTP response: writes the body at once, or keeps it until the response has ended."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.answer: ResponseHead | None = None
        self._form: str = arguments.output
        self._url: str = arguments.url
        self._verbose: bool = arguments.verbose
        self._timings: bool = arguments.timings or arguments.verbose
        self._with_head: bool = arguments.include or arguments.head
        self._body = bytearray()
        self._payload = Payload()

    def asked(self, request: FetchRequest) -> None:
        if self._verbose:
            lines = [f"{request.method} {request.url.target} HTTP/1.1"]
            lines += [f"{name}: {_hidden(name, value)}" for name, value in request.all_headers()]
            print("\n".join(f"> {line}" for line in [*lines, ""]), file=sys.stderr)

    def head(self, answer: ResponseHead) -> None:
        self.answer = answer
        lines = [f"HTTP/1.1 {answer.status} {answer.reason}".rstrip(), *(": ".join(each) for each in answer.headers)]
        if self._verbose:
            print("\n".join(f"< {visible(line, MAX_LINE)}" for line in [*lines, ""]), file=sys.stderr)
        if self._with_head and self._form == BODY:
            self._payload.write("".join(f"{line}\r\n" for line in [*lines, ""]).encode("latin-1", "replace"))

    def data(self, data: bytes) -> None:
        if self._form == BODY:
            self._payload.write(data)
        elif self._form != output.TABLE:
            self._body += data

    def finish(self, taken: HopTimings, failure: str) -> None:
        times = taken.milliseconds()
        if self._timings:
            print(str(taken), file=sys.stderr)
        if self._form == output.TABLE:
            output.show([{"hop": hop, "ms": f"{ms:.2f}"} for hop, ms in times.items()], self._form)
        elif self._form != BODY:
            output.show(self._whole(times, failure), self._form)

    def _whole(self, times: dict[str, float], failure: str) -> dict[str, Any]:
        found: dict[str, Any] = {"url": self._url, "error": failure or None, "milliseconds": times}
        if self.answer is not None:
            found |= {"status": self.answer.status, "reason": self.answer.reason}
            found["headers"] = [list(pair) for pair in self.answer.headers]
        try:
            found["body"] = self._body.decode()
        except UnicodeDecodeError:
            found["body_base64"] = base64.b64encode(self._body).decode()
        return found


def _hidden(name: str, value: str) -> str:
    """Return a header's value with secrets replaced."""
    return "..." if name.lower() in ("authorization", "cookie", "proxy-authorization") else value
