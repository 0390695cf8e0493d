"""Checks of kube-apiserver's egress configuration: its rules, the server's options, and real sockets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from konnectivity.tool.check_results import CheckResult, failed, ok
from konnectivity.tool.cli.doctor_checks.doctor_case import Case
from konnectivity.tool.cli.doctor_checks.server_checks import content_of, readable
from konnectivity.tool.doctor import certificate_files, socket_protocol
from konnectivity.tool.egress import egress_certificates as egress_files
from konnectivity.tool.egress import egress_document, egress_rules
from konnectivity.tool.egress import server_match as egress_server
from konnectivity.tool.egress.egress_document import Value

if TYPE_CHECKING:
    from konnectivity_server.server_options import ServerOptions


async def egress(path: str, given: ServerOptions | None, case: Case) -> list[CheckResult]:
    """Check kube-apiserver's egress configuration against its rules, the server's options and the sockets it names."""
    content = readable(path)
    if content is None:
        return [failed("egress-rules", path, "cannot be read", "check the path, and who may read it")]
    findings = egress_rules.check(path, content, lambda name: True)
    root, _ = egress_document.read(content)
    if root is None:
        return certificate_files.results_of("egress-rules", findings)
    findings += egress_files.findings(path, root, readable, case.clock)
    results = certificate_files.results_of("egress-rules", findings) or [
        ok("egress-rules", path, "kube-apiserver accepts it")
    ]
    if given is not None:
        port = given.server_port if given.tcp_frontend else 0
        frontend = egress_server.ServerFrontend(
            tuple(given.modes), given.uds_name, port, given.server_cert, given.server_ca_cert
        )
        unfit = list(egress_server.findings(path, root, frontend, readable, case.clock))
        results += [failed("egress-server", each.where, each.finding, each.do) for each in unfit]
        results += [] if unfit else [ok("egress-server", path, "fits the server's options")]
    for line, protocol, name in sockets(root):
        results.append(
            socket_protocol.judge_egress(
                egress_rules.place(path, line), protocol, await socket_protocol.listen(name, case.timeout_s)
            )
        )
    return results


def sockets(root: Value) -> list[tuple[int, str, str]]:
    """Return line, protocol and path of each unix socket in an egress configuration."""
    found = []
    selections = root.get("egressSelections")
    for item in selections.items if selections is not None else ():
        connection = item.get("connection") if item is not None else None
        if connection is not None and (name := connection.string("transport", "uds", "udsName")):
            found.append((connection.line_of("proxyProtocol"), connection.string("proxyProtocol"), name))
    return found


def frontends(given: ServerOptions | None, path: str) -> dict[str, Mapping[str, Any]]:
    """Return the unix-socket frontends of an egress configuration, or else those of the server's options."""
    found: dict[str, Mapping[str, Any]] = {}
    root, _ = egress_document.read(content_of(path)) if path else (None, [])
    named = [
        (socket_protocol.PROTOCOLS.get(protocol, ""), name) for _, protocol, name in (sockets(root) if root else [])
    ]
    if not named and given is not None and given.uds_name:
        named = [(mode, given.uds_name) for mode in given.modes]
    for mode, name in named:
        if mode:
            found[f"unix:{name} ({mode})"] = {"address": f"unix:{name}", "mode": mode}
    return found
