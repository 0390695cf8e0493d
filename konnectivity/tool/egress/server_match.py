"""Comparison of a configuration with a proxy server's arguments: protocol, socket, port and certificates. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import urlsplit

from konnectivity.tool.egress.egress_certificates import Read, file
from konnectivity.tool.egress.egress_document import Value
from konnectivity.tool.egress.egress_rules import place
from konnectivity.tool.egress.egress_writer import GRPC, HTTP_CONNECT
from konnectivity.tool.findings import ERROR, WARNING, Finding
from konnectivity.tool.pki import certificate_check

_MODES = {GRPC: "grpc", HTTP_CONNECT: "http-connect"}


class ServerFrontend(NamedTuple):
    """Frontend that the server's arguments describe."""

    modes: tuple[str, ...]  # grpc, http-connect
    socket: str  # --uds-name
    port: int  # TCP port; 0: none
    certificate: str = ""  # --server-cert
    client_ca: str = ""  # --server-ca-cert


def findings(
    path: str, root: Value, server: ServerFrontend, read: Read, clock: certificate_check.Clock
) -> Iterator[Finding]:
    """Return what would keep kube-apiserver from reaching the server; the configuration itself is right."""
    selections = root.get("egressSelections")
    for item in selections.items if selections is not None else ():
        connection = item.get("connection") if item is not None else None
        if connection is None or (transport := connection.get("transport")) is None:
            continue
        yield from _mode(path, connection, server)
        if (uds := transport.get("uds")) is not None:
            yield from _socket(path, uds, server)
        elif (tcp := transport.get("tcp")) is not None:
            yield from _port(path, tcp, server)
            yield from _certificates(path, tcp, server, read, clock)


def _mode(path: str, connection: Value, server: ServerFrontend) -> Iterator[Finding]:
    protocol = connection.string("proxyProtocol")
    mode = _MODES.get(protocol, "")
    if mode and mode not in server.modes:
        text = f"{protocol} needs --mode={mode}, and the server has --mode={','.join(server.modes)}"
        where = place(path, connection.line_of("proxyProtocol"))
        yield Finding(where, WARNING, text, "change either; --mode=grpc,http-connect serves both")


def _socket(path: str, uds: Value, server: ServerFrontend) -> Iterator[Finding]:
    name, where = uds.string("udsName"), place(path, uds.line_of("udsName"))
    if not server.socket:
        yield Finding(where, WARNING, "the server has no --uds-name", f"give it --uds-name={name}")
    elif name != server.socket:
        text = f"udsName is {name}, and the server has --uds-name={server.socket}"
        yield Finding(where, WARNING, text, "write the same, unless the two see the directory under other names")


def _port(path: str, tcp: Value, server: ServerFrontend) -> Iterator[Finding]:
    where = place(path, tcp.line_of("url"))
    try:
        port = urlsplit(tcp.string("url")).port
    except ValueError:
        return
    if not server.port:
        do = f"give it --server-port={port}, --server-cert, --server-key and --server-ca-cert"
        yield Finding(where, WARNING, "the server has no TCP frontend", do)
    elif port and port != server.port:
        text = f"the url has port {port}, and the server --server-port={server.port}"
        yield Finding(where, WARNING, text, "write the same, unless something in between changes it")


def _certificates(
    path: str, tcp: Value, server: ServerFrontend, read: Read, clock: certificate_check.Clock
) -> Iterator[Finding]:
    tls = tcp.get("tlsConfig")
    if tls is None or not server.port:
        return
    client, bundle = file(tls, "clientCert", read), file(tls, "caBundle", read)
    shown, client_ca = (
        certificate_check.File(name, read(name) or b"") for name in (server.certificate, server.client_ca)
    )
    name = tls.string("tlsServerName") or urlsplit(tcp.string("url")).hostname or ""
    where = place(path, tls.line)
    subjects = []
    if shown.content and bundle is not None:
        subjects.append(certificate_check.Subject(shown, "frontend", None, (bundle,), (name,) if name else ()))
    if client is not None and client_ca.content:
        subjects.append(certificate_check.Subject(client, "client", None, (client_ca,)))
    for subject in subjects:
        for each in certificate_check.check(subject, clock):
            result = WARNING if each.result == ERROR else each.result
            yield each._replace(where=where, finding=f"{each.where}: {each.finding}", result=result)
