"""Checks from the position of a server: its files, its listener and socket, and the Kubernetes API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from konnectivity.runtime.options.value_checks import existing_file
from konnectivity.tool.check_results import CheckResult
from konnectivity.tool.cli.doctor_checks.doctor_case import Case, here, there
from konnectivity.tool.doctor import (
    certificate_files,
    kubernetes_api,
    listener_probe,
    listener_verdict,
    socket_protocol,
)
from konnectivity.untrusted.file_content import read_any

if TYPE_CHECKING:
    from konnectivity.kube.api_answers import Review
    from konnectivity_server.server_options import ServerOptions


async def server(given: ServerOptions, case: Case, server_name: str = "") -> list[CheckResult]:
    """Check a server's files, its listener, its unix socket and its access to the Kubernetes API.

    Args:
        given: options of the server, or of one tenant of a server.
        case: the request.
        server_name: TLS server name of the tenant; empty: the server serves one cluster.

    """
    results = _server_files(given, case)
    host = here(given.agent_bind_address)
    found = await listener_probe.probe(
        host, given.agent_port, listener_probe.Client(timeout_s=case.timeout_s, server_name=server_name)
    )
    results += listener_verdict.judge_own(found, content_of(given.cluster_cert))
    if given.uds_name:
        results += socket_protocol.judge(await socket_protocol.listen(given.uds_name, case.timeout_s), given.modes)
    kubeconfig = given.kubeconfig or case.kubeconfig
    if given.reviews_tokens and not (given.kubeconfig and existing_file(given.kubeconfig)):
        results += await _reviewed(given, kubeconfig, case)
    if given.enable_lease_controller:
        results += await kubernetes_api.leases(kubeconfig, given.lease_namespace, given.lease_label, len(case.admins))
    return results


def _server_files(given: ServerOptions, case: Case) -> list[CheckResult]:
    results = []
    pairs = (
        ("cluster-certificate", given.cluster_cert, given.cluster_key, "server", case.agent_hosts),
        ("frontend-certificate", given.server_cert, given.server_key, "frontend", ()),
    )
    for name, certificate, key, role, wanted in pairs:
        if there(certificate, key):
            results += certificate_files.pair(name, certificate, key, role, case.clock, wanted)
    for name, path in (("agents-ca", given.cluster_ca_cert), ("frontends-ca", given.server_ca_cert)):
        if there(path):
            results += certificate_files.bundle(name, path, case.clock)
    return results


async def _reviewed(given: ServerOptions, kubeconfig: str, case: Case) -> list[CheckResult]:
    from konnectivity_server.agents.token_rules import ExpectedAccount

    expected = ExpectedAccount(given.agent_namespace, given.agent_service_account, given.authentication_audience)

    def judge(review: Review) -> str:
        refusal = expected.refusal(review)
        return refusal.text if refusal is not None else ""

    return await kubernetes_api.review(kubeconfig, token_of(case.token), given.authentication_audience, judge)


def readable(path: str) -> bytes | None:
    """Return a file's content, or None if no file is named or it cannot be read."""
    try:
        return read_any(path) if path else None
    except OSError:
        return None


def content_of(path: str) -> bytes:
    return readable(path) or b""


def token_of(path: str) -> str:
    """Return the token in a file as the agent sends it, or "" without a token."""
    return content_of(path).decode("utf-8", "replace").strip()
