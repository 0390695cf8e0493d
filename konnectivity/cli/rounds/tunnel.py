"""The tunnel as a whole: the servers side by side, and a dial from end to end."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from konnectivity import admin
from konnectivity.cli.rounds.case import Case
from konnectivity.cli.rounds.servers import token_of
from konnectivity.diagnosis import Result, skipped, warning
from konnectivity.doctor import api, journey, servers
from konnectivity.errors import DialFailure
from konnectivity.fetch import Url

if TYPE_CHECKING:
    from konnectivity.kube.client import Review


async def side_by_side(case: Case) -> list[Result]:
    """The servers, by their admin ports."""
    asked = [asyncio.to_thread(servers.ask, address, case.timeout_s) for address in case.admins]
    return servers.judge(await asyncio.gather(*asked), case.expected, case.clock.warn_within.total_seconds())


async def kubernetes(case: Case) -> list[Result]:
    """A kubeconfig without a program: whether its user may review tokens, and what becomes of the agents' token."""

    def judge(review: Review) -> str:
        if not review.authenticated or review.error:
            return f"the token is not valid: {review.error or 'the API does not know it'}"
        return "" if case.audience in review.audiences else f"the token is not for the audience {case.audience!r}"

    return await api.review(case.kubeconfig, token_of(case.token), case.audience, judge)


async def dial(frontends: Mapping[str, Mapping[str, Any]], where: str, url: Url | None, case: Case) -> list[Result]:
    """From end to end, through each frontend; and if no agent would take it, what each server says of the way."""
    if not frontends:
        do = "--frontend, or the arguments of proxy-server, or --egress-config"
        return [skipped(journey.DIAL, where, "no frontend is known", do)]
    found = [
        (name, await journey.travel(keywords, where, url, 3 * case.timeout_s)) for name, keywords in frontends.items()
    ]
    results = [journey.judge(name, each) for name, each in found]
    if any(each.failure is DialFailure.NO_AGENT for _, each in found):
        results += await asyncio.gather(*(asyncio.to_thread(_route, each, where, case) for each in case.admins))
    return results


def _route(address: str, where: str, case: Case) -> Result:
    try:
        found = admin.get_json(address, f"/api/v1/route?destination={quote(where)}", case.timeout_s)
        steps = "; ".join(f"{each['strategy']}: {each['agents']} agents" for each in found["strategies"])
        verdict = f"{found['verdict']} ({steps})"
    except (admin.AdminError, KeyError, TypeError) as error:
        return skipped("route", address, str(error))
    return warning("route", address, verdict, "the agents' --agent-identifiers, and --proxy-strategies")
