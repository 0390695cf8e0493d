"""Checks of the Kubernetes API with a kubeconfig: token reviews for a server, leases for an agent."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from konnectivity import kube
from konnectivity.kube.api_error import KubeError
from konnectivity.tool.check_results import CheckResult, failed, ok, warning

if TYPE_CHECKING:
    from konnectivity.kube.api_answers import Review
    from konnectivity.kube.api_client import KubeClient

REVIEWS, TOKEN_REVIEW, LEASES = "token-reviews", "token-review", "leases"
NOBODYS_TOKEN = "konnectivity-doctor-asks-whether-reviews-are-allowed"
_ROLES = {
    REVIEWS: (
        "a ClusterRoleBinding to system:auth-delegator for the user of this kubeconfig (docs/operate/kubernetes.md)"
    ),
    LEASES: "the Role for leases of docs/operate/kubernetes.md, bound to the user of this kubeconfig",
}

Judge = Callable[["Review"], str]  # returns the server's reason to refuse the token; empty: accepted


async def review(kubeconfig: str, token: str, audience: str, judge: Judge) -> list[CheckResult]:
    """Check that the API reviews tokens for this user and, with a token, how it judges the token."""
    try:
        async with kube.connect(kubeconfig) as client:
            answer = await client.review_token(token or NOBODYS_TOKEN, audience)
            results = [ok(REVIEWS, client.server, "the API reviews tokens")]
    except KubeError as error:
        return [_refused(REVIEWS, kubeconfig, error)]
    if not token:
        return results
    why = judge(answer)
    if why:
        do = "a projected token with the audience of --authentication-audience, of the service account that is expected"
        return [*results, failed(TOKEN_REVIEW, client.server, why, do)]
    return [*results, ok(TOKEN_REVIEW, client.server, f"the token is {answer.user}'s, for {audience}")]


async def leases(kubeconfig: str, namespace: str, selector: str, servers: int) -> list[CheckResult]:
    """Check that leases can be listed, and how many servers they count.

    Args:
        kubeconfig: path of the file.
        namespace: of the leases.
        selector: label selector of the leases; "" for all.
        servers: number of known servers; 0 if unknown.

    """
    try:
        async with kube.connect(kubeconfig) as client:
            count = await _count(client, namespace, selector)
    except KubeError as error:
        return [_refused(LEASES, kubeconfig, error)]
    except ValueError as error:
        return [failed(LEASES, namespace, str(error), "--lease-label-selector")]
    where = f"{client.server} {namespace} ({selector or 'all'})"
    if not count:
        what = "no lease of a server that is alive: agents that count leases look for none"
        return [warning(LEASES, where, what, "--enable-lease-controller, the same --lease-namespace and labels")]
    if servers and count != servers:
        what = f"{count} servers by their leases, and {servers} were named here (--admin)"
        return [warning(LEASES, where, what, "name all of them; a lease of a dead server ends after 30 s")]
    return [ok(LEASES, where, f"{count} servers are alive by their leases")]


async def _count(client: KubeClient, namespace: str, selector: str) -> int:
    from konnectivity.kube.labels import parse_selector
    from konnectivity.kube.lease_validity import count

    found, _ = await client.list_leases(namespace)
    return count((each.lease for each in found), parse_selector(selector), datetime.now(UTC))


def _refused(check: str, kubeconfig: str, error: KubeError) -> CheckResult:
    where = kubeconfig or "the pod's service account, or the user's kubeconfig"
    if error.code == 403:
        return failed(check, where, f"the API says no: {error}", _ROLES[check])
    if error.code == 401:
        do = "the credential in the kubeconfig: `konnectivity kubeconfig --check`"
        return failed(check, where, f"the API does not know this user: {error}", do)
    return failed(check, where, str(error), "--kubeconfig, and the way to the API; `konnectivity kubeconfig --check`")
