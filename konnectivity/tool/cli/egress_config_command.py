"""Command `konnectivity egress-config`: writes kube-apiserver's egress configuration; `validate` checks one."""

from __future__ import annotations

import argparse
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from konnectivity.runtime import atomic_file
from konnectivity.tool.cli import new_file, output
from konnectivity.tool.egress.egress_writer import NAMES
from konnectivity.untrusted.file_content import read_any

if TYPE_CHECKING:
    from konnectivity.tool.egress.server_match import ServerFrontend
    from konnectivity.tool.findings import Finding

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

GRPC, HTTP_CONNECT = "grpc", "http-connect"
STANDARD_OUTPUT = "-"
_EXAMPLE = """\
examples:
  konnectivity egress-config --uds /run/konnectivity/konnectivity-server.socket
  konnectivity egress-config --mode http-connect --url https://127.0.0.1:8090 --ca-cert /pki/frontend-ca.crt \\
      --client-cert /pki/client.crt --client-key /pki/client.key --file egress-selector.yaml
  konnectivity egress-config validate egress-selector.yaml
"""
_VALIDATE_EXAMPLE = """\
examples:
  konnectivity egress-config validate egress-selector.yaml
  konnectivity egress-config validate egress-selector.yaml --root /mnt/control-plane
  konnectivity egress-config validate egress-selector.yaml --server-args --mode=grpc --uds-name=/run/a.sock
"""


def add_to(commands: Commands) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "egress-config",
        help="write kube-apiserver's egress configuration, or validate one",
        description="Write the file of kube-apiserver's --egress-selector-config-file: what goes through the proxy "
        "server, and how. Paths are those that kube-apiserver sees. With `validate`: judge a file.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_writing(parser)
    parser.set_defaults(run=run)
    _add_validate(parser)


def _add_writing(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--mode",
        choices=(GRPC, HTTP_CONNECT),
        help="Protocol of the server's frontend (default: grpc; with --url: http-connect).",
    )
    parser.add_argument("--uds", metavar="PATH", help="Path of the server's unix socket, its --uds-name.")
    parser.add_argument(
        "--url",
        metavar="URL",
        help="URL of the server's TCP frontend, in place of --uds; for example https://127.0.0.1:8090.",
    )
    parser.add_argument("--ca-cert", default="", metavar="PATH", help="CA certificates that verify the TCP frontend.")
    parser.add_argument(
        "--client-cert", default="", metavar="PATH", help="Client certificate of kube-apiserver for the TCP frontend."
    )
    parser.add_argument("--client-key", default="", metavar="PATH", help="Private key of --client-cert.")
    parser.add_argument(
        "--tls-server-name",
        default="",
        metavar="NAME",
        help="Name in the TCP frontend's certificate (default: the host of --url).",
    )
    parser.add_argument(
        "--proxied",
        type=_names,
        default=("cluster",),
        metavar="NAMES",
        help=f"Comma-separated egress selections that use the proxy, of {','.join(NAMES)} (default: cluster).",
    )
    parser.add_argument(
        "--direct",
        type=_names,
        default=(),
        metavar="NAMES",
        help="Comma-separated egress selections to list as direct; a selection that is not listed is direct, too.",
    )
    parser.add_argument("--file", default=STANDARD_OUTPUT, help="File to write (default: standard output).")
    parser.add_argument("--force", action="store_true", help="Replace an existing file.")
    parser.add_argument(
        "-o",
        "--output",
        choices=(output.YAML, output.JSON),
        default=output.YAML,
        help="Output format (default: %(default)s).",
    )


def _add_validate(parser: argparse.ArgumentParser) -> None:
    validate = parser.add_subparsers(metavar="validate", title="or judge a file").add_parser(
        "validate",
        help="check a file by kube-apiserver's rules and against a server's arguments",
        description="Judge a file by kube-apiserver's own rules (an error: it does not start), and by what does not "
        "work then (a warning). With --server-args: also whether it fits a proxy server.",
        epilog=_VALIDATE_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    validate.add_argument("path", metavar="FILE", help="File with an egress configuration.")
    validate.add_argument(
        "--server-args",
        nargs=argparse.REMAINDER,
        default=[],
        metavar="ARGUMENT",
        help="Arguments of the proxy server: everything after this option.",
    )
    validate.add_argument(
        "--root", default="", metavar="DIR", help="Directory on this machine that is / for kube-apiserver (default: /)."
    )
    validate.add_argument(
        "--skip-files", action="store_true", help="Do not check the certificate files that the configuration names."
    )
    output.add_to(validate)
    validate.set_defaults(run=run_validate)


def _names(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(filter(None, text.split(","))))
    if wrong := [name for name in names if name not in NAMES]:
        raise argparse.ArgumentTypeError(f"{wrong[0]!r} is not one of {', '.join(NAMES)}")
    return names


def run(arguments: argparse.Namespace) -> int:
    """Write the configuration and return 0, or 2 if it was not written."""
    try:
        _write(arguments, _document(arguments))
    except ValueError as error:
        output.complain("egress-config", error)
        return 2
    return 0


def _document(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the text of a configuration that kube-apiserver accepts once its certificates exist."""
    import yaml

    from konnectivity.tool.egress import egress_rules, egress_writer
    from konnectivity.tool.findings import NOTE

    if bool(arguments.uds) == bool(arguments.url):
        raise ValueError("say where the server is: --uds PATH, or --url https://HOST:PORT")
    if arguments.url and arguments.mode == GRPC:
        raise ValueError("kube-apiserver speaks gRPC over a unix socket only: take --uds, or --mode http-connect")
    tls = (arguments.ca_cert, arguments.client_cert, arguments.client_key)
    if arguments.uds and (any(tls) or arguments.tls_server_name):
        raise ValueError("certificates are for --url; there is no TLS on a unix socket")
    if overlap := set(arguments.proxied) & set(arguments.direct):
        raise ValueError(f"{', '.join(sorted(overlap))} cannot be both --proxied and --direct")
    if arguments.url:
        transport = egress_writer.tcp(arguments.url, *tls, arguments.tls_server_name)
        protocol = egress_writer.HTTP_CONNECT
    else:
        transport = egress_writer.uds(arguments.uds)
        protocol = egress_writer.HTTP_CONNECT if arguments.mode == HTTP_CONNECT else egress_writer.GRPC
    made = egress_writer.document(protocol, transport, arguments.proxied, arguments.direct)
    for each in egress_rules.check("", yaml.safe_dump(made).encode(), lambda path: True):
        if each.result != NOTE:
            raise ValueError(f"{each.finding}: {each.do}")
    return made


def _write(arguments: argparse.Namespace, made: dict[str, Any]) -> None:
    import json

    import yaml

    if arguments.file == STANDARD_OUTPUT:
        output.show(made, arguments.output)
        return
    text = (
        yaml.safe_dump(made, sort_keys=False) if arguments.output == output.YAML else json.dumps(made, indent=2) + "\n"
    )
    new_file.write(Path(arguments.file), text, atomic_file.PUBLIC, arguments.force)


def run_validate(arguments: argparse.Namespace) -> int:
    """Check a configuration and return 0 if it is right, 1 if not, 2 if it could not be read."""
    from konnectivity.tool.findings import COLUMNS, NOTE, Finding, exit_code

    try:
        findings = _judge(arguments)
    except ValueError as error:
        output.complain("egress-config validate", error)
        return 2
    rows = [each.row() for each in findings]
    if all(each.result == NOTE for each in findings):
        rows.append(Finding(arguments.path, "ok", "kube-apiserver accepts it").row())
    output.show(rows, arguments.output, COLUMNS)
    return exit_code(findings)


def _judge(arguments: argparse.Namespace) -> list[Finding]:
    from konnectivity.tool.egress import egress_certificates, egress_document, egress_rules, server_match
    from konnectivity.tool.pki.certificate_check import Clock

    path = arguments.path
    try:
        content = read_any(path)
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from error
    frontend = _frontend(arguments.server_args)
    skip = arguments.skip_files

    def exists(name: str) -> bool:
        return skip or os.path.exists(_on_disk(arguments.root, name))

    def read(name: str) -> bytes | None:
        try:
            return None if skip or not name else read_any(_on_disk(arguments.root, name))
        except OSError:
            return None

    findings = egress_rules.check(path, content, exists)
    root, _ = egress_document.read(content)
    if root is not None:
        clock = Clock(datetime.now(UTC), timedelta(0))
        findings += egress_certificates.findings(path, root, read, clock)
        if frontend is not None:
            findings += server_match.findings(path, root, frontend, read, clock)
    return list(dict.fromkeys(findings))


def _on_disk(root: str, name: str) -> Path:
    return Path(root) / name.lstrip("/") if root else Path(name)


def _frontend(arguments: list[str]) -> ServerFrontend | None:
    """Return the frontend that a proxy server with these arguments serves, or None without arguments."""
    if not arguments:
        return None
    from konnectivity.runtime.options import declared
    from konnectivity.runtime.options.command_line import CommandLine
    from konnectivity.tool.egress.server_match import ServerFrontend
    from konnectivity.untrusted.numbers import MAX_PORT, parse_decimal
    from konnectivity_server.server_options import ServerOptions

    line = CommandLine(declared(ServerOptions), arguments)
    line.read()
    if line.problems:
        raise ValueError(f"proxy-server does not start with these arguments: {'; '.join(line.problems)}")
    values = {each.field: str(each.default) for each in declared(ServerOptions)}
    values |= {name: given[-1].text for name, given in line.found.items()}
    port = parse_decimal(values["server_port"], MAX_PORT)
    if port is None:
        raise ValueError(f"--server-port={values['server_port']} is not a port")
    over_tcp = not values["uds_name"] or values["server_cert"]
    return ServerFrontend(
        tuple(values["mode"].split(",")),
        values["uds_name"],
        port if over_tcp else 0,
        values["server_cert"],
        values["server_ca_cert"],
    )
