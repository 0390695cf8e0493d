"""Check of the certificates that a configuration names: kube-apiserver can load them, and they are valid. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from konnectivity.tool.egress.egress_document import Value
from konnectivity.tool.egress.egress_rules import place
from konnectivity.tool.findings import ERROR, WARNING, Finding
from konnectivity.tool.pki import certificate_check, certificate_parsing

Read = Callable[[str], bytes | None]  # returns None if the file cannot be read


def findings(path: str, root: Value, read: Read, clock: certificate_check.Clock) -> Iterator[Finding]:
    """Return findings on the files of every TCP transport that has a client certificate and its key."""
    selections = root.get("egressSelections")
    for item in selections.items if selections is not None else ():
        tls = item.get("connection", "transport", "tcp", "tlsConfig") if item is not None else None
        if tls is not None:
            yield from _pair(path, tls, read, clock)
            yield from _bundle(path, tls, read)


def file(tls: Value, name: str, read: Read) -> certificate_check.File | None:
    """Return one of the files, or None if it cannot be read."""
    named = tls.string(name)
    content = read(named) if named else None
    return certificate_check.File(named, content) if content is not None else None


def _pair(path: str, tls: Value, read: Read, clock: certificate_check.Clock) -> Iterator[Finding]:
    certificate, key = file(tls, "clientCert", read), file(tls, "clientKey", read)
    if certificate is None or key is None:
        return
    where = place(path, tls.line_of("clientCert"))
    try:
        found = certificate_parsing.certificates(certificate.content)
    except ValueError as error:
        yield Finding(where, ERROR, f"{certificate.path}: {error}", "put a PEM certificate there")
        return
    for each in certificate_check.key_findings(certificate.path, found, key):
        where = place(path, tls.line_of("clientKey"))
        yield each._replace(where=where, finding=f"{key.path}: {each.finding}")
    where = place(path, tls.line_of("clientCert"))
    for each in certificate_check.check(
        certificate_check.Subject(certificate, "client"), clock
    ):  # loaded all the same, and then refused
        yield each._replace(where=where, finding=f"{certificate.path}: {each.finding}", result=WARNING)


def _bundle(path: str, tls: Value, read: Read) -> Iterator[Finding]:
    bundle = file(tls, "caBundle", read)
    if bundle is None:
        return
    try:
        certificate_parsing.certificates(bundle.content)
    except ValueError as error:
        where = place(path, tls.line_of("caBundle"))
        yield Finding(where, ERROR, f"{bundle.path}: {error}", "put the CA's PEM certificate there")
