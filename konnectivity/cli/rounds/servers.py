"""From a server's place: its files, its listener and socket, and the Kubernetes API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from konnectivity.cli.rounds.case import Case, here, there
from konnectivity.diagnosis import Result
from konnectivity.doctor import api, endpoint, files, listener, speech
from konnectivity.file_content import read_any
from konnectivity.options.checks import existing_file

if TYPE_CHECKING:
    from konnectivity.kube.client import Review
    from konnectivity_server.options import ServerOptions


async def server(given: ServerOptions, case: Case) -> list[Result]:
    """From a server's place: its files, its listener and socket, and the Kubernetes API."""
    results = _server_files(given, case)
    host = here(given.agent_bind_address)
    found = await endpoint.probe(host, given.agent_port, endpoint.Client(timeout_s=case.timeout_s))
    results += listener.judge_own(found, content_of(given.cluster_cert))
    if given.uds_name:
        results += speech.judge(await speech.listen(given.uds_name, case.timeout_s), given.modes)
    kubeconfig = given.kubeconfig or case.kubeconfig
    if given.reviews_tokens and not (given.kubeconfig and existing_file(given.kubeconfig)):
        results += await _reviewed(given, kubeconfig, case)
    if given.enable_lease_controller:
        results += await api.leases(kubeconfig, given.lease_namespace, given.lease_label, len(case.admins))
    return results


def _server_files(given: ServerOptions, case: Case) -> list[Result]:
    results = []
    pairs = (
        ("cluster-certificate", given.cluster_cert, given.cluster_key, "server", case.agent_hosts),
        ("frontend-certificate", given.server_cert, given.server_key, "frontend", ()),
    )
    for name, certificate, key, role, wanted in pairs:
        if there(certificate, key):
            results += files.pair(name, certificate, key, role, case.clock, wanted)
    for name, path in (("agents-ca", given.cluster_ca_cert), ("frontends-ca", given.server_ca_cert)):
        if there(path):
            results += files.bundle(name, path, case.clock)
    return results


async def _reviewed(given: ServerOptions, kubeconfig: str, case: Case) -> list[Result]:
    from konnectivity_server.authentication import Expected

    expected = Expected(given.agent_namespace, given.agent_service_account, given.authentication_audience)

    def judge(review: Review) -> str:
        refusal = expected.refusal(review)
        return refusal.text if refusal is not None else ""

    return await api.review(kubeconfig, token_of(case.token), given.authentication_audience, judge)


def readable(path: str) -> bytes | None:
    """What is in a file; None: it cannot be read, or none is named."""
    try:
        return read_any(path) if path else None
    except OSError:
        return None


def content_of(path: str) -> bytes:
    return readable(path) or b""


def token_of(path: str) -> str:
    """A token as it is sent; empty: there is none."""
    return content_of(path).decode("utf-8", "replace").strip()
