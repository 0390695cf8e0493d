"""Token authentication against a reviewer in memory: remembered verdicts, limits, floods, and the log."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from contextlib import asynccontextmanager, suppress
from itertools import count

import pytest

from konnectivity.grpc.message_stream import Peer
from konnectivity.grpc.metadata import Metadata
from konnectivity.grpc.status import Code, RpcError
from konnectivity.kube.api_error import KubeError
from konnectivity.runtime import logs
from konnectivity.runtime.logs import LineRate
from konnectivity.runtime.task_guard import counts
from konnectivity_server.agents.credential_identity import Account
from konnectivity_server.agents.token_authentication import TokenAuthenticator
from konnectivity_server.agents.token_reviews import ReviewLimits
from support.token_reviewer import AUDIENCE, USER, MemoryReviewer, jwt, service_account_token

LOGGER = "konnectivity_server.agents.token_authentication"
LIMITS = ReviewLimits()


class Clock:
    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def tasks():
    async with asyncio.TaskGroup() as tasks:
        yield tasks


@pytest.fixture
def make(tasks):
    """Make authenticators whose clock is that of the loop, unless another one is given."""

    def make(reviewer=None, **how):
        peer_log = logs.get_peer_log(LOGGER, LineRate())  # a line rate for each test
        how = {"clock": asyncio.get_running_loop().time, "peer_log": peer_log} | how
        return TokenAuthenticator(
            reviewer or MemoryReviewer(), tasks, "kube-system", "konnectivity-agent", AUDIENCE, **how
        )

    return make


def shown(token, agent="agent-1", address="192.0.2.1:1"):
    return Metadata([("agentid", agent), ("authorization", f"Bearer {token}")]), Peer(address)


async def refusal(authenticator, metadata, peer=None):
    with pytest.raises(RpcError) as caught:
        await authenticator.check(metadata, peer or Peer("192.0.2.1:1"))
    return caught.value.status


# ---- verdicts -------------------------------------------------------------------------------------------------------


async def test_an_accepted_token_gives_the_account(make):
    authenticator = make()
    assert (await authenticator.check(*shown("good"))) == Account(USER)
    assert (authenticator.reviews, authenticator.refused, authenticator.seconds.count) == (1, {}, 1)


async def test_a_request_without_a_token_is_refused_without_a_review(make):
    reviewer = MemoryReviewer()
    authenticator = make(reviewer)
    status = await refusal(authenticator, Metadata([("agentid", "a")]))
    assert (status.code, status.message) == (Code.UNKNOWN, "Authentication context was not found in metadata")
    assert (authenticator.refused, reviewer.requests) == ({"missing": 1}, [])


async def test_verdicts_are_kept_for_a_while(make):
    clock, reviewer = Clock(1000.0), MemoryReviewer()
    authenticator = make(reviewer, clock=clock)
    for _ in range(3):
        await authenticator.check(*shown("good"))
        await refusal(authenticator, *shown("bad"))
    assert (authenticator.reviews, authenticator.cache_hits) == (2, 4)
    clock.now += 11.0
    await authenticator.check(*shown("good"))
    await refusal(authenticator, *shown("bad"))
    assert authenticator.reviews == 3
    clock.now += 50.0
    del reviewer.accepted["good"]
    await refusal(authenticator, *shown("good"))


async def test_a_verdict_is_kept_no_longer_than_the_token_lives(make):
    token, clock, wall_clock, reviewer = jwt(exp=5020), Clock(1000.0), Clock(5000.0), MemoryReviewer()
    reviewer.accepted[token] = ""
    authenticator = make(reviewer, clock=clock, wall_clock=wall_clock)
    await authenticator.check(*shown(token))
    clock.now += 19.0
    await authenticator.check(*shown(token))
    assert authenticator.reviews == 1
    clock.now, wall_clock.now = clock.now + 2.0, 5021.0
    await authenticator.check(*shown(token))  # the API accepts it still: clocks differ
    await authenticator.check(*shown(token))
    assert authenticator.reviews == 3


async def test_the_number_of_verdicts_is_bounded(make):
    authenticator = make(limits=ReviewLimits(remembered=5))
    for number in range(20):
        await refusal(authenticator, *shown(f"bad-{number}", f"agent-{number}"))
    for number in range(20):
        await refusal(authenticator, *shown(f"bad-{19 - number}"))
    assert authenticator.cache_hits == 5


async def test_an_error_of_the_api_is_not_kept(make):
    reviewer = MemoryReviewer()
    authenticator = make(reviewer)
    reviewer.error = KubeError("cannot reach https://192.0.2.9", reason="Unreachable")
    status = await refusal(authenticator, *shown("good"))
    assert status.code is Code.UNKNOWN
    assert "192.0.2.9" not in status.message
    reviewer.error = None
    assert (await authenticator.check(*shown("good"))).user == USER
    assert authenticator.refused == {"api": 1}


async def test_a_review_that_raises_refuses_every_agent_that_waits_for_it(make):
    reviewer = MemoryReviewer(delay_s=1.0)
    reviewer.error = ZeroDivisionError("broken on purpose")
    authenticator, before = make(reviewer), counts["token review"]
    found = await asyncio.gather(*(refusal(authenticator, *shown("good")) for _ in range(3)))
    assert {each.message for each in found} == {"the server could not check the token; its log says more"}
    assert counts["token review"] == before + 1
    assert (await refusal(authenticator, *shown("bad"))).code is Code.UNKNOWN  # its slot is free again


async def test_an_agent_is_not_kept_waiting_for_ever(make):
    reviewer = MemoryReviewer(delay_s=30.0)
    authenticator, loop = make(reviewer), asyncio.get_running_loop()
    began = loop.time()
    status = await refusal(authenticator, *shown("good"))
    assert (status.code, status.message) == (Code.UNAVAILABLE, "too many agents at once, come back later")
    assert loop.time() - began == pytest.approx(LIMITS.check_timeout_s)
    reviewer.delay_s = 0.0
    await asyncio.sleep(25.0)
    assert (await authenticator.check(*shown("good"))).user == USER
    assert authenticator.reviews == 1  # the review went on, and its verdict was kept


# ---- many at once ---------------------------------------------------------------------------------------------------


async def outcomes(authenticator, tokens):
    """Return the number of checks by outcome."""

    async def one(number, token):
        try:
            return (await authenticator.check(*shown(token, f"agent-{number}", f"192.0.2.1:{number}"))).user
        except RpcError as error:
            return error.status.code.name

    return Counter(await asyncio.gather(*(one(number, token) for number, token in enumerate(tokens))))


async def test_agents_with_one_token_are_one_review(make):
    reviewer = MemoryReviewer(delay_s=0.2)
    authenticator = make(reviewer)
    assert await outcomes(authenticator, ["good"] * 1000) == {USER: 1000}
    assert (len(reviewer.requests), authenticator.shared) == (1, 999)


async def test_agents_with_a_token_each_stay_within_the_rate(make):
    reviewer = MemoryReviewer(per_s=50)
    tokens = [f"token-{number}" for number in range(1000)]
    reviewer.accepted |= dict.fromkeys(tokens, "")
    authenticator, loop = make(reviewer), asyncio.get_running_loop()
    began = loop.time()
    first = await outcomes(authenticator, tokens)
    assert loop.time() - began == pytest.approx(LIMITS.check_timeout_s)
    assert first[USER] + first["UNAVAILABLE"] == 1000
    assert 490 <= first[USER] <= len(reviewer.requests) <= 510
    second = await outcomes(authenticator, tokens)  # the agents return: known tokens are not reviewed again
    assert second[USER] > first[USER]


async def test_a_bounded_number_of_agents_waits_for_one_review(make):
    assert await outcomes(make(limits=ReviewLimits(waiting=3)), ["good"] * 5) == {USER: 3, "UNAVAILABLE": 2}


async def test_agents_with_a_proven_token_may_wait_twice_as_many(make):
    clock = Clock(1000.0)
    authenticator = make(limits=ReviewLimits(waiting=3), clock=clock)
    await authenticator.check(*shown("good"))
    clock.now += 100.0  # the verdict is not kept any more
    assert await outcomes(authenticator, ["good"] * 10) == {USER: 6, "UNAVAILABLE": 4}


async def test_a_bounded_number_of_reviews_is_under_way(make):
    authenticator, loop = make(MemoryReviewer(delay_s=0.2), limits=ReviewLimits(reviews=2)), asyncio.get_running_loop()
    began = loop.time()
    await outcomes(authenticator, [f"bad-{number}" for number in range(6)])
    assert loop.time() - began == pytest.approx(0.6)


async def test_the_agent_that_asked_first_may_leave(make):
    authenticator = make(MemoryReviewer(delay_s=0.3))
    first = asyncio.create_task(authenticator.check(*shown("good")))
    await asyncio.sleep(0.05)
    others = asyncio.gather(*(authenticator.check(*shown("good")) for _ in range(3)))
    await asyncio.sleep(0.05)
    first.cancel()
    assert [each.user for each in await others] == [USER] * 3
    assert first.cancelled()
    assert authenticator.reviews == 1


async def test_a_review_that_no_agent_waits_for_is_not_begun(make):
    reviewer = MemoryReviewer(per_s=0.5)
    authenticator = make(reviewer)
    waiting = [asyncio.create_task(authenticator.check(*shown(f"bad-{n}", "a", f"192.0.2.1:{n}"))) for n in range(40)]
    await asyncio.sleep(0.1)
    for each in waiting:
        each.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    await asyncio.sleep(100.0)
    assert authenticator.reviews == len(reviewer.requests) == 1 + LIMITS.before_turn


async def test_checks_of_one_connection_are_bounded(make):
    reached = Counter()
    authenticator = make(MemoryReviewer(delay_s=0.3), reached=reached)
    more = LIMITS.checks_per_connection + 5
    found = await asyncio.gather(*(authenticator.check(*shown("good")) for _ in range(more)), return_exceptions=True)
    assert Counter(type(each).__name__ for each in found) == {"Account": LIMITS.checks_per_connection, "RpcError": 5}
    assert reached == {"token_checks_per_connection": 5}
    assert await authenticator.check(*shown("good"))


async def test_a_token_that_is_too_long_is_not_reviewed(make):
    reached, reviewer = Counter(), MemoryReviewer()
    status = await refusal(make(reviewer, reached=reached), *shown("x" * 8192))
    assert "at most 8192 are allowed" in status.message
    assert (reached, reviewer.requests) == ({"token_length": 1}, [])


# ---- a flood of tokens that strangers make up -----------------------------------------------------------------------


@asynccontextmanager
async def flood(authenticator, token_of, connections=40, address="192.0.2.1"):
    """Keep 10 tokens of each connection waiting, each token once."""
    numbers = count()

    async def one(port):
        while True:
            with suppress(RpcError):
                await authenticator.check(*shown(token_of(next(numbers)), f"evil-{port}", f"{address}:{port}"))
            await asyncio.sleep(0.05)

    attackers = [asyncio.create_task(one(port)) for port in range(connections) for _ in range(10)]
    await asyncio.sleep(0.5)
    yield
    for each in attackers:
        each.cancel()
    await asyncio.gather(*attackers, return_exceptions=True)


async def admitted_after(authenticator, token, address):
    loop = asyncio.get_running_loop()
    began = loop.time()
    assert (await authenticator.check(*shown(token, "honest", address))).user == USER
    return loop.time() - began


@pytest.mark.parametrize(
    ("token", "known", "forged", "address", "at_most_s"),
    [
        ("good", None, False, "198.51.100.1:1", 1.0),  # another address
        ("good", None, False, "192.0.2.1:9999", 2.5),  # behind one balancer: a turn of each connection
        ("good", "192.0.2.7:1", False, "192.0.2.1:9999", 1.0),  # this token was accepted before
        (service_account_token("honest", "a1"), None, False, "192.0.2.1:9999", 1.0),  # the flood has no claims
        (service_account_token("honest", "a1"), None, True, "198.51.100.1:1", 1.0),  # the flood has such tokens as well
        (service_account_token("honest", "a1"), "192.0.2.1:5", True, "192.0.2.1:9999", 1.0),  # ... but not the uid
    ],
    ids=["address", "connection", "token", "claims", "forged-claims", "uid"],
)
async def test_an_honest_agent_is_admitted_beside_a_flood(make, token, known, forged, address, at_most_s):
    """400 tokens of 40 connections always wait for a review, of which there are twenty a second."""
    reviewer, age_s = MemoryReviewer(per_s=20), 0.0
    loop = asyncio.get_running_loop()
    authenticator = make(reviewer, clock=lambda: loop.time() + age_s)
    reviewer.accepted[token] = "a1"
    if known is not None:
        first = token if token == "good" else service_account_token("first", "a1")
        reviewer.accepted[first] = "a1"
        await admitted_after(authenticator, first, known)
        age_s += 100.0  # the verdict is not kept any more
    made_up = (lambda number: service_account_token(number, "b2")) if forged else "garbage-{}".format
    async with flood(authenticator, made_up):
        assert await admitted_after(authenticator, token, address) < at_most_s


async def test_a_token_that_waited_in_vain_comes_first_the_next_time(make):
    """An opaque token waits behind 100 connections of one balancer, each with its own token."""
    reviewer = MemoryReviewer(per_s=10)
    authenticator = make(reviewer, limits=ReviewLimits(check_timeout_s=3.0))
    async with flood(authenticator, "garbage-{}".format, connections=100):
        assert (await refusal(authenticator, *shown("good", "honest", "192.0.2.1:9999"))).code is Code.UNAVAILABLE
        assert await admitted_after(authenticator, "good", "192.0.2.1:9998") < 3.0


async def test_a_queue_that_is_full_lets_better_tokens_in(make):
    reached, token, reviewer = Counter(), service_account_token("honest"), MemoryReviewer(per_s=10)
    reviewer.accepted[token] = ""
    authenticator = make(reviewer, reached=reached, limits=ReviewLimits(waiting=50))
    async with flood(authenticator, "garbage-{}".format, connections=10):
        assert await admitted_after(authenticator, token, "192.0.2.1:9999") < 1.0
    assert reached["token_checks"] > 0


# ---- the log --------------------------------------------------------------------------------------------------------


def lines_of(caplog, source):
    return [each for each in caplog.records if each.name == LOGGER and source in each.fields["peer"]]


async def test_strangers_cannot_fill_the_log(make, caplog):
    authenticator = make()
    for number in range(300):
        agent = Metadata([("agentid", f"agent-{number}"), ("authorization", "nonsense")])
        await refusal(authenticator, agent, Peer(f"203.0.113.1:{number}"))
    assert 0 < len(lines_of(caplog, "203.0.113.1")) <= 20


async def test_one_line_for_an_agent_and_one_more_when_the_reason_changes(make, caplog):
    caplog.set_level(logging.INFO)
    reviewer = MemoryReviewer()
    authenticator, address = make(reviewer), "203.0.113.2:1"
    for token in ("geheim", "geheim", "good", "geheim"):
        with suppress(RpcError):
            await authenticator.check(*shown(token, address=address))
    reviewer.error = KubeError("no", 403, "Forbidden")
    await refusal(authenticator, *shown("geheim-2", address=address))
    await refusal(authenticator, *shown("geheim", "agent-2", address=address))
    lines = lines_of(caplog, "203.0.113.2")
    assert [record.fields["agent"] for record in lines] == ["agent-1", "agent-1", "agent-1", "agent-2"]
    assert lines[2].fields["reason"] == "cannot check the token: no"
    assert all(record.levelname == "WARNING" for record in lines)
    assert "geheim" not in caplog.text + str([record.__dict__ for record in caplog.records])
