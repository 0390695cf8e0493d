"""kube-apiserver's egress configuration: by its rules, against the server's options, and against real sockets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from konnectivity.cli.rounds.case import Case
from konnectivity.cli.rounds.servers import content_of, readable
from konnectivity.diagnosis import Result, failed, ok
from konnectivity.doctor import files, speech
from konnectivity.egress import document, rules
from konnectivity.egress import files as egress_files
from konnectivity.egress import server as egress_server
from konnectivity.egress.document import Value

if TYPE_CHECKING:
    from konnectivity_server.options import ServerOptions


async def egress(path: str, given: ServerOptions | None, case: Case) -> list[Result]:
    """kube-apiserver's file: by its rules, against the server's options, and against the sockets that it names."""
    content = readable(path)
    if content is None:
        return [failed("egress-rules", path, "cannot be read", "check the path, and who may read it")]
    findings = rules.check(path, content, lambda name: True)
    root, _ = document.read(content)
    if root is None:
        return files.results_of("egress-rules", findings)
    findings += egress_files.findings(path, root, readable, case.clock)
    results = files.results_of("egress-rules", findings) or [ok("egress-rules", path, "kube-apiserver accepts it")]
    if given is not None:
        port = given.server_port if given.tcp_frontend else 0
        frontend = egress_server.Frontend(
            tuple(given.modes), given.uds_name, port, given.server_cert, given.server_ca_cert
        )
        unfit = list(egress_server.findings(path, root, frontend, readable, case.clock))
        results += [failed("egress-server", each.where, each.finding, each.do) for each in unfit]
        results += [] if unfit else [ok("egress-server", path, "fits the server's options")]
    for line, protocol, name in sockets(root):
        results.append(
            speech.judge_egress(rules.place(path, line), protocol, await speech.listen(name, case.timeout_s))
        )
    return results


def sockets(root: Value) -> list[tuple[int, str, str]]:
    """Line, protocol and path of each unix socket in an egress configuration."""
    found = []
    selections = root.get("egressSelections")
    for item in selections.items if selections is not None else ():
        connection = item.get("connection") if item is not None else None
        if connection is not None and (name := connection.string("transport", "uds", "udsName")):
            found.append((connection.line_of("proxyProtocol"), connection.string("proxyProtocol"), name))
    return found


def frontends(given: ServerOptions | None, path: str) -> dict[str, Mapping[str, Any]]:
    """Ways in that are known from an egress configuration, or else from the server's options: unix sockets only."""
    found: dict[str, Mapping[str, Any]] = {}
    root, _ = document.read(content_of(path)) if path else (None, [])
    named = [(speech.PROTOCOLS.get(protocol, ""), name) for _, protocol, name in (sockets(root) if root else [])]
    if not named and given is not None and given.uds_name:
        named = [(mode, given.uds_name) for mode in given.modes]
    for mode, name in named:
        if mode:
            found[f"unix:{name} ({mode})"] = {"address": f"unix:{name}", "mode": mode}
    return found
