"""Command `konnectivity pki`: issues and renews the certificates of a tunnel; with --check see `pki_check`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from konnectivity.tool.cli import output, pki_arguments
from konnectivity.tool.pki.roles import AGENTS_CA, AUTHORITIES, FRONTEND_CA, LEAVES, PEER_CA, USUAL

if TYPE_CHECKING:
    from konnectivity.tool.pki.authority import Authority
    from konnectivity.tool.pki.issuance import Leaf, Made

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

_REACHED_BY = {"server": "agents", "peer": "peer servers"}
_EDGES = {
    AGENTS_CA: "--cluster-ca-cert as an agent",
    FRONTEND_CA: "--server-ca-cert as a frontend",
    PEER_CA: "--peer-ca-cert as a peer server",
}
_COLUMNS = ("file", "state", "subject", "sans", "usages", "not_after", "used_by")
_EXAMPLE = """\
examples:
  konnectivity pki --directory pki --server-name konnectivity.example --server-ip 203.0.113.7
  konnectivity pki --directory pki --renew agent                   # a new key and time, the names it has
  konnectivity pki --directory pki --server-name konnectivity.example --check
  konnectivity pki --check /etc/kubernetes/pki/apiserver.crt --role server --server-name konnectivity.example
  konnectivity pki --server-name konnectivity.example --secrets | kubectl apply -f -
"""


def add_to(commands: Commands) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "pki",
        help="issue the certificates of a tunnel, or check existing ones",
        description="Make a CA for each edge of the tunnel, and the certificates of its ends: of the server for agents "
        "(server) and for kube-apiserver (frontend), of kube-apiserver (client) and of agents (agent); with --only "
        "also of servers for each other (peer). CAs that are in the directory are used again; nothing is replaced "
        "unless asked. With --check: check files.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("files", nargs="*", metavar="FILE", help="Certificates to check, with --check.")
    parser.add_argument("--directory", metavar="DIR", help="Directory of the files (default: pki).")
    pki_arguments.add_names(parser)
    pki_arguments.add_issuing(parser)
    pki_arguments.add_checking(parser)
    output.add_to(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Issue certificates and return 0, or 2 if none was issued; with --check see `pki_check`."""
    from konnectivity.tool.pki.issuance import PkiError

    try:
        if arguments.check:
            from konnectivity.tool.cli import pki_check

            return pki_check.run(arguments)
        _refuse_nonsense(arguments)
        return _make(arguments)
    except PkiError as error:
        output.complain("pki", error)
        return 2


def _refuse_nonsense(arguments: argparse.Namespace) -> None:
    from konnectivity.tool.pki.issuance import LONGEST_COMMON_NAME, PkiError

    chosen = arguments.only or arguments.renew or ()
    if arguments.files:
        raise PkiError("FILE is for --check")
    if arguments.key or arguments.role:
        raise PkiError("--key and --role are for --check")
    if arguments.only and arguments.renew:
        raise PkiError("give --only (make) or --renew (replace), not both")
    if arguments.secrets and (arguments.directory or arguments.renew or arguments.force):
        raise PkiError(
            "--secrets writes no files: leave out --directory, --renew and --force; a CA is given by --ca-cert"
        )
    if arguments.stem is not None:
        if len(chosen) != 1:
            raise PkiError("--as names one certificate: give --only or --renew with one name")
        if not arguments.stem or "/" in arguments.stem or len(arguments.stem) > LONGEST_COMMON_NAME:
            raise PkiError(
                f"--as {arguments.stem!r}: a name without slashes, of up to {LONGEST_COMMON_NAME} characters"
            )
    for flag in ("ca", "frontend_ca", "peer_ca"):
        if bool(getattr(arguments, f"{flag}_cert")) != bool(getattr(arguments, f"{flag}_key")):
            name = flag.replace("_", "-")
            raise PkiError(f"--{name}-cert and --{name}-key go together: both are needed to issue certificates")


def _make(arguments: argparse.Namespace) -> int:
    from konnectivity.tool.pki import issuance

    directory = None if arguments.secrets else Path(arguments.directory or "pki")
    leaves = _wanted(arguments, directory)
    if directory is not None and not (arguments.renew or arguments.force):
        _refuse_to_replace(leaves, directory)
    used = {
        each: _authority(each, arguments, directory) for each in dict.fromkeys(leaf.role.authority for leaf in leaves)
    }
    made = [issuance.made_authority(stem, *each) for stem, each in used.items()]
    made += [issuance.issue(leaf, used[leaf.role.authority][0], arguments.days, arguments.key_type) for leaf in leaves]
    _say(arguments, used)
    if directory is None:
        _show_secrets(arguments, made)
        return 0
    paths = issuance.write(made, directory)
    output.show(
        [_row(each, paths[each.stem]) for each in made],
        arguments.output,
        _COLUMNS if arguments.output == output.TABLE else (),
    )
    return 0


def _wanted(arguments: argparse.Namespace, directory: Path | None) -> list[Leaf]:
    """Return the certificates to issue, with the given names or those of the certificates to renew."""
    from konnectivity.tool.pki import issuance

    leaves = []
    for name in arguments.only or arguments.renew or USUAL:
        role, stem = LEAVES[name], arguments.stem or name
        names = pki_arguments.given_names(arguments, name)
        common_name = arguments.stem or role.common_name
        if arguments.renew and directory is not None:
            common_name, old = issuance.names_of(directory / f"{stem}.crt")
            names = names or old
        elif name == "frontend" and not names:
            names = issuance.Names.of(pki_arguments.LOOPBACK)
        if not names and (who := _REACHED_BY.get(name)):
            raise issuance.PkiError(f"say how {who} reach the server: --{name}-name HOST, --{name}-ip ADDRESS")
        leaves.append(issuance.Leaf(role, stem, common_name, names))
    return leaves


def _refuse_to_replace(leaves: Sequence[Leaf], directory: Path) -> None:
    from konnectivity.tool.pki.issuance import PkiError

    paths = [directory / f"{leaf.stem}.{ending}" for leaf in leaves for ending in ("crt", "key")]
    if there := [str(path) for path in paths if os.path.exists(path)]:
        raise PkiError(f"nothing was written: {', '.join(there)} exist; --renew NAME or --force replaces them")


def _authority(stem: str, arguments: argparse.Namespace, directory: Path | None) -> tuple[Authority, bool]:
    """Return the CA with that file name, and whether it is new: given, found in the directory, or created."""
    from konnectivity.tool.pki import issuance

    flag = stem.replace("-", "_")
    if given := getattr(arguments, f"{flag}_cert"):
        found = issuance.authority(Path(given), Path(getattr(arguments, f"{flag}_key")))
        there = directory / f"{stem}.crt" if directory is not None else None
        if there is not None and os.path.exists(there) and issuance.read_certificates(there)[0] != found.certificate:
            raise issuance.PkiError(f"{there} is another CA than --{stem}-cert {given}; take another --directory")
        return found, False
    if directory is not None:
        certificate, key = directory / f"{stem}.crt", directory / f"{stem}.key"
        if os.path.exists(certificate) and not os.path.exists(key):
            raise issuance.PkiError(
                f"{key} is missing, and nothing can be issued without it; give --{stem}-cert, --{stem}-key"
            )
        if os.path.exists(certificate) or os.path.exists(key):
            return issuance.authority(certificate, key), False
    return issuance.new_authority(stem, arguments.days, arguments.key_type), True


def _say(arguments: argparse.Namespace, used: Mapping[str, tuple[Authority, bool]]) -> None:
    """Print what a person may not expect: the CA's end of validity, and who else is accepted by a given CA."""
    from datetime import UTC, datetime

    from konnectivity.tool.pki.certificate_parsing import subject

    for stem, (authority, _) in used.items():
        end = authority.certificate.not_valid_after_utc
        name = subject(authority.certificate)
        if end < datetime.now(UTC) + arguments.days:
            print(f"note: the CA {name} ends on {end:%Y-%m-%d}, and so do its certificates", file=sys.stderr)
        if getattr(arguments, f"{stem.replace('-', '_')}_cert"):
            print(f"note: whoever has a client certificate of {name} is accepted by {_EDGES[stem]}", file=sys.stderr)


def _show_secrets(arguments: argparse.Namespace, made: Sequence[Made]) -> None:
    from konnectivity.tool.pki.tls_secrets import secret

    ca_pems = {each.stem: each.cert_pem for each in made if each.role is None}
    found = [secret(each, ca_pems, arguments.namespace) for each in made if each.key_pem is not None]
    output.show(found, output.YAML if arguments.output == output.TABLE else arguments.output)


def _row(made: Made, path: Path) -> dict[str, Any]:
    from konnectivity.tool.pki import certificate_parsing

    return {
        "file": str(path),
        "key": str(path.with_suffix(".key")) if made.key_pem is not None else None,
        "state": "made" if made.key_pem is not None else "kept",
        "subject": certificate_parsing.subject(made.certificate),
        "sans": certificate_parsing.names(made.certificate),
        "usages": certificate_parsing.usages(made.certificate) or ["CA"],
        "not_after": f"{made.certificate.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}",
        "used_by": AUTHORITIES[made.stem] if made.role is None else made.role.shown_by,
    }
