"""Command `konnectivity kubeconfig`: writes a kubeconfig with the least rights for the server; or checks one."""

from __future__ import annotations

import argparse
import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from konnectivity.runtime import atomic_file
from konnectivity.tool.cli import new_file, output
from konnectivity.tool.cli.pki_arguments import days
from konnectivity.tool.pki.key_types import KEY_TYPES

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

USER = "system:konnectivity-server"
FILE = "konnectivity-server.conf"
STANDARD_OUTPUT = "-"
_EXAMPLE = """\
examples:
  konnectivity kubeconfig --server https://127.0.0.1:6443 --file /etc/kubernetes/konnectivity-server.conf \\
      --ca-cert /etc/kubernetes/pki/ca.crt --ca-key /etc/kubernetes/pki/ca.key
  konnectivity kubeconfig --server https://localhost:6443 --ca-cert ca.crt --token-file /var/run/secrets/tokens/api
  konnectivity kubeconfig --check /etc/kubernetes/konnectivity-server.conf
The user may do nothing until RBAC lets it review tokens: `konnectivity manifests rbac`.
"""


def add_to(commands: Commands) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "kubeconfig",
        help="write the kubeconfig of the server, or check one",
        description="Write a kubeconfig for the proxy server, whose user is in no group: it may do what RBAC lets that "
        "user do, and no more. The client certificate is issued by the cluster's CA, or is one that there is already; "
        "or a token is read from a file. With --check: check kubeconfigs instead of writing one.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("files", nargs="*", metavar="FILE", help="Kubeconfigs to check, with --check.")
    parser.add_argument("--file", default=FILE, help="File to write; - is standard output (default: %(default)s).")
    parser.add_argument("--force", action="store_true", help="Replace an existing file.")
    _add_cluster(parser)
    _add_credential(parser)
    group = parser.add_argument_group("checking")
    group.add_argument("--check", action="store_true", help="Check the FILEs, or --file, instead of writing.")
    group.add_argument(
        "--warn-days",
        metavar="DAYS",
        type=days,
        default=timedelta(days=30),
        help="Days of validity below which a certificate is a warning (default: 30).",
    )
    output.add_to(parser)
    parser.set_defaults(run=run)


def _add_cluster(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("the Kubernetes API")
    group.add_argument(
        "--server", metavar="URL", help="URL of the Kubernetes API for the server, for example https://127.0.0.1:6443."
    )
    group.add_argument(
        "--ca-cert",
        metavar="FILE",
        help="CA of the Kubernetes API's certificate, which also issues the client certificate.",
    )
    group.add_argument(
        "--server-ca-cert", metavar="FILE", help="CA of the Kubernetes API's certificate (default: --ca-cert)."
    )
    group.add_argument(
        "--tls-server-name",
        default="",
        metavar="NAME",
        help="Name in the Kubernetes API's certificate (default: the host of --server).",
    )


def _add_credential(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("the user")
    group.add_argument("--user", default=USER, help="Name of the user (default: %(default)s).")
    group.add_argument("--ca-key", metavar="FILE", help="Private key of --ca-cert, to issue a client certificate.")
    group.add_argument(
        "--days",
        type=days,
        default=timedelta(days=365),
        help="Validity of the issued certificate in days (default: 365).",
    )
    group.add_argument(
        "--key-type", choices=KEY_TYPES, default=KEY_TYPES[0], help="Kind of the issued key (default: %(default)s)."
    )
    group.add_argument("--client-cert", metavar="FILE", help="Existing client certificate, in place of an issued one.")
    group.add_argument("--client-key", metavar="FILE", help="Private key of --client-cert.")
    group.add_argument(
        "--allow-masters", action="store_true", help="Accept a client certificate of the group system:masters."
    )
    group.add_argument(
        "--token-file",
        metavar="PATH",
        help="Path, on the server's machine, of a token in place of a client certificate.",
    )


def run(arguments: argparse.Namespace) -> int:
    """Write a kubeconfig and return 0, or 2 if it was not written; with --check see `kubeconfig_check`."""
    from konnectivity.tool.pki.issuance import PkiError

    try:
        if arguments.check:
            from konnectivity.tool.cli import kubeconfig_check

            return kubeconfig_check.run(arguments)
        _refuse_nonsense(arguments)
        return _write(arguments)
    except (PkiError, ValueError) as error:
        output.complain("kubeconfig", error)
        return 2


def _refuse_nonsense(arguments: argparse.Namespace) -> None:
    if arguments.files:
        raise ValueError("FILE is for --check; the file to write is --file")
    if not arguments.server or not (arguments.server_ca_cert or arguments.ca_cert):
        raise ValueError("say where the Kubernetes API is, and who vouches for it: --server URL --ca-cert FILE")
    if bool(arguments.client_cert) != bool(arguments.client_key):
        raise ValueError("--client-cert and --client-key go together")
    ways = [bool(each) for each in (arguments.ca_key, arguments.client_cert, arguments.token_file)]
    if sum(ways) != 1:
        raise ValueError(
            "say how the server logs in, in one way: --ca-key, --client-cert and --client-key, --token-file"
        )
    if arguments.ca_key and not arguments.ca_cert:
        raise ValueError("--ca-key needs its certificate: --ca-cert FILE")


def _write(arguments: argparse.Namespace) -> int:
    import yaml

    from konnectivity.kube import kubeconfig_writer
    from konnectivity.tool.pki import issuance

    ca = Path(arguments.server_ca_cert or arguments.ca_cert)
    issuance.read_certificates(ca)
    user, credential, not_after = _credential(arguments)
    made = kubeconfig_writer.document(arguments.server, issuance.read(ca), user, credential, arguments.tls_server_name)
    text = yaml.safe_dump(made, sort_keys=False)
    if arguments.file == STANDARD_OUTPUT:
        sys.stdout.write(text)
        return 0
    path = Path(arguments.file)
    new_file.write(path, text, atomic_file.PRIVATE, arguments.force)
    row = {
        "file": str(path),
        "user": user,
        "server": arguments.server,
        "login": _login(arguments),
        "not_after": not_after,
    }
    output.show([row], arguments.output)
    print(f"{user} may do nothing until RBAC lets it: `konnectivity manifests rbac`", file=sys.stderr)
    return 0


def _login(arguments: argparse.Namespace) -> str:
    return f"token in {arguments.token_file}" if arguments.token_file else "client certificate"


def _credential(arguments: argparse.Namespace) -> tuple[str, dict[str, str], str | None]:
    """Return the user's name, its credential, and the credential's end of validity."""
    from konnectivity.kube import kubeconfig_writer
    from konnectivity.tool.pki import certificate_parsing, issuance

    if arguments.token_file:
        return arguments.user, kubeconfig_writer.with_token_file(arguments.token_file), None
    if arguments.client_cert:
        certificate, key = issuance.read(Path(arguments.client_cert)), issuance.read(Path(arguments.client_key))
        _refuse_client(arguments)
    else:
        if not 0 < len(arguments.user) <= issuance.LONGEST_COMMON_NAME:
            raise ValueError(f"--user has up to {issuance.LONGEST_COMMON_NAME} characters")
        authority = issuance.authority(Path(arguments.ca_cert), Path(arguments.ca_key))
        issued = authority.issue(arguments.user, client=True, valid_for=arguments.days, key_type=arguments.key_type)
        certificate, key = issued.cert_pem, issued.key_pem
    found = certificate_parsing.certificates(certificate)[0]
    not_after = f"{found.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}"
    return certificate_parsing.user(found), kubeconfig_writer.with_certificate(certificate, key), not_after


def _refuse_client(arguments: argparse.Namespace) -> None:
    """Raise an error for a client certificate that does not work, or that has unlimited rights."""
    from datetime import UTC, datetime

    from konnectivity.tool.findings import ERROR
    from konnectivity.tool.pki import certificate_check, issuance

    def file(path: str) -> Any:
        return certificate_check.File(path, issuance.read(Path(path)))

    subject = certificate_check.Subject(file(arguments.client_cert), "client", file(arguments.client_key))
    for each in certificate_check.check(subject, certificate_check.Clock(datetime.now(UTC), timedelta(0))):
        if each.result == ERROR and not (arguments.allow_masters and certificate_check.MASTERS in each.finding):
            also = "; --allow-masters takes it all the same" if certificate_check.MASTERS in each.finding else ""
            raise ValueError(f"{each.where}: {each.finding}; {each.do}{also}")
