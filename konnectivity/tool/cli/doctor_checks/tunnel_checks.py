"""Checks of the whole tunnel: the servers compared with each other, and a dial from end to end."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from konnectivity.errors import DialFailure
from konnectivity.http1.http_client import Url
from konnectivity.tool import admin_client
from konnectivity.tool.check_results import CheckResult, skipped, warning
from konnectivity.tool.cli.doctor_checks.doctor_case import Case
from konnectivity.tool.cli.doctor_checks.server_checks import token_of
from konnectivity.tool.doctor import end_to_end_dial, kubernetes_api, server_comparison

if TYPE_CHECKING:
    from konnectivity.kube.api_answers import Review


async def side_by_side(case: Case) -> list[CheckResult]:
    """Compare what the servers report on their admin ports."""
    asked = [asyncio.to_thread(server_comparison.ask, address, case.client, case.tenant) for address in case.admins]
    return server_comparison.judge(await asyncio.gather(*asked), case.expected, case.clock.warn_within.total_seconds())


async def kubernetes(case: Case) -> list[CheckResult]:
    """Check, with a kubeconfig alone, whether its user may review tokens and how the API judges the agents' token."""

    def judge(review: Review) -> str:
        if not review.authenticated or review.error:
            return f"the token is not valid: {review.error or 'the API does not know it'}"
        return "" if case.audience in review.audiences else f"the token is not for the audience {case.audience!r}"

    return await kubernetes_api.review(case.kubeconfig, token_of(case.token), case.audience, judge)


async def dial(
    frontends: Mapping[str, Mapping[str, Any]], where: str, url: Url | None, case: Case
) -> list[CheckResult]:
    """Dial a destination through each frontend; if no agent would take the dial, show each server's explanation."""
    if not frontends:
        do = "--frontend, or the arguments of proxy-server, or --egress-config"
        return [skipped(end_to_end_dial.DIAL, where, "no frontend is known", do)]
    found = [
        (name, await end_to_end_dial.travel(keywords, where, url, 3 * case.timeout_s))
        for name, keywords in frontends.items()
    ]
    results = [end_to_end_dial.judge(name, each) for name, each in found]
    if any(each.failure is DialFailure.NO_AGENT for _, each in found):
        results += await asyncio.gather(*(asyncio.to_thread(_route, each, where, case) for each in case.admins))
    return results


def _route(address: str, where: str, case: Case) -> CheckResult:
    which = f"&tenant={admin_client.quoted(case.tenant)}" if case.tenant else ""
    try:
        found = case.client.get_json(address, f"/api/v1/route?destination={admin_client.quoted(where)}{which}")
        steps = "; ".join(f"{each['strategy']}: {each['agents']} agents" for each in found["strategies"])
        verdict = f"{found['verdict']} ({steps})"
    except (admin_client.AdminError, KeyError, TypeError) as error:
        return skipped("route", address, str(error))
    return warning("route", address, verdict, "the agents' --agent-identifiers, and --proxy-strategies")
