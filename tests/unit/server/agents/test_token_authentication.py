"""Agents that show a token: who is accepted, who is refused and why, and what a burst of them asks of the API."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
from collections import Counter
from contextlib import asynccontextmanager, suppress
from itertools import count
from time import monotonic

import pytest

from konnectivity.grpc.message_stream import Peer
from konnectivity.grpc.metadata import Metadata
from konnectivity.grpc.status import Code, RpcError
from konnectivity.kube import kubeconfig
from konnectivity.kube.api_client import KubeClient
from konnectivity.runtime import logs
from konnectivity.runtime.logs.line_rate import LineRate
from konnectivity_server.agents import token_authentication
from konnectivity_server.agents.token_authentication import TokenAuthenticator
from konnectivity_server.agents.token_claims import claims_of
from support import kubernetes_api
from support.kubernetes_api import KubernetesApi

USER = "system:serviceaccount:kube-system:konnectivity-agent"
AUDIENCE = "system:konnectivity-server"


@pytest.fixture
def api(tmp_path):
    with KubernetesApi(tmp_path) as api:
        api.add_token("good", USER, AUDIENCE)
        yield api


@pytest.fixture(autouse=True)
def rate(monkeypatch):
    """Lines of the log are counted anew for each test."""
    monkeypatch.setattr(token_authentication, "log", logs.get_peer_log(token_authentication.__name__, LineRate()))


class Clock:
    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def make(api):
    """Authenticators, with a client for each."""
    clients = []
    tasks = asyncio.TaskGroup()
    await tasks.__aenter__()

    def make(qps=-1.0, burst=0, timeout_s=5.0, **how):
        config = kubeconfig.load(str(api.kubeconfig(api.directory / "kubeconfig")))
        clients.append(KubeClient(config, qps, burst, timeout_s))
        return TokenAuthenticator(clients[-1], tasks, "kube-system", "konnectivity-agent", AUDIENCE, **how)

    yield make
    await tasks.__aexit__(None, None, None)
    for client in clients:
        await client.close()


def shown(token, agent="agent-1", address="192.0.2.1:1"):
    return Metadata([("agentid", agent), ("authorization", f"Bearer {token}")]), Peer(address)


async def refusal(authenticator, metadata, peer=None):
    peer = peer or Peer("192.0.2.1:1")
    with pytest.raises(RpcError) as caught:
        await authenticator.check(metadata, peer)
    return caught.value.status


def jwt(**claims):
    return f"e30.{base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip('=')}.c2ln"


# ---- who is accepted ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("token", ["good", "good\n", " good "])
async def test_the_right_service_account_is_accepted(make, token):
    authenticator = make()
    assert (await authenticator.check(*shown(token))).user == USER
    assert (authenticator.reviews, authenticator.refused, authenticator.seconds.count) == (1, {}, 1)


@pytest.mark.parametrize(
    ("headers", "reason", "text"),
    [
        ([], "missing", "Authentication context was not found in metadata"),
        (
            [("authorization", "Bearer good"), ("Authorization", "Bearer good")],
            "several",
            "too many (2) tokens are received",
        ),
        ([("authorization", "good")], "scheme", "the token has to follow 'Bearer '"),
        ([("authorization", "bearer good")], "scheme", "the token has to follow 'Bearer '"),
        ([("authorization", "Bearer ")], "scheme", "the token has to follow 'Bearer '"),
        ([("authorization", "")], "scheme", "the token has to follow 'Bearer '"),
        ([("authorization", "Bearer g\udcff")], "scheme", "the token has characters that no token has"),
        ([("authorization", "Bearer a\tb")], "scheme", "the token has characters that no token has"),
    ],
)
async def test_a_call_without_a_proper_token(api, make, headers, reason, text):
    authenticator = make()
    status = await refusal(authenticator, Metadata([("agentid", "a"), *headers]))
    assert (status.code, status.message) == (Code.UNKNOWN, text)
    assert authenticator.refused == {reason: 1}
    assert not api.requests


@pytest.mark.parametrize(
    ("user", "audience", "error", "reason", "text"),
    [
        (USER, AUDIENCE, "lookup failed", "invalid", "the token is not valid: lookup failed"),
        (USER, "another", "", "invalid", "the token is not valid: [invalid bearer token, token audiences ['another']]"),
        ("admin", AUDIENCE, "", "user", "unexpected user name 'admin'"),
        (f"{USER}:more", AUDIENCE, "", "user", f"unexpected user name '{USER}:more'"),
        ("system:node:kube-system:konnectivity-agent", AUDIENCE, "", "user", "is no service account"),
        ("other:serviceaccount:kube-system:konnectivity-agent", AUDIENCE, "", "user", "is no service account"),
        (
            "system:serviceaccount:default:konnectivity-agent",
            AUDIENCE,
            "",
            "namespace",
            "the service account is of namespace 'default', not 'kube-system'",
        ),
        (
            "system:serviceaccount:kube-system:default",
            AUDIENCE,
            "",
            "service_account",
            "the service account is 'default', not 'konnectivity-agent'",
        ),
    ],
)
async def test_a_token_that_is_not_accepted(api, make, user, audience, error, reason, text):
    api.add_token("t", user, audience, error=error)
    authenticator = make()
    status = await refusal(authenticator, *shown("t"))
    assert status.code is Code.UNKNOWN
    assert text in status.message
    assert authenticator.refused == {reason: 1}


async def test_an_unknown_token(make):
    status = await refusal(make(), *shown("stolen"))
    assert status.message == "the token is not valid: [invalid bearer token, unknown token]"


async def test_an_api_that_knows_no_audiences_has_not_checked_them(api, make):
    api.objects.audience_aware = False
    status = await refusal(make(), *shown("good"))
    assert status.message == f"the token is not for the audience '{AUDIENCE}'"


async def test_not_authenticated_and_no_word_why(api, make):
    api.fail(kubernetes_api.REVIEWS, 201, body=b'{"spec": {"token": ""}, "status": {}}')
    assert (await refusal(make(), *shown("good"))).message == "the token is not valid"
    api.fail(kubernetes_api.REVIEWS, 201, body=b'{"spec": {"token": ""}}')
    assert (await refusal(make(), *shown("good"))).message == "the token is not valid"


# ---- what is kept ---------------------------------------------------------------------------------------------------


async def test_verdicts_are_kept_for_a_while(api, make):
    clock = Clock(1000.0)
    authenticator = make(clock=clock)
    for _ in range(3):
        await authenticator.check(*shown("good"))
        await refusal(authenticator, *shown("bad"))
    assert (authenticator.reviews, authenticator.cache_hits) == (2, 4)
    clock.now += 11.0
    await authenticator.check(*shown("good"))
    await refusal(authenticator, *shown("bad"))
    assert authenticator.reviews == 3
    clock.now += 50.0
    del api.objects.tokens["good"]
    await refusal(authenticator, *shown("good"))


async def test_no_longer_than_the_token_lives(api, make):
    token, clock, wall_clock = jwt(exp=5020), Clock(1000.0), Clock(5000.0)
    api.add_token(token, USER, AUDIENCE)
    authenticator = make(clock=clock, wall_clock=wall_clock)
    await authenticator.check(*shown(token))
    clock.now += 19.0
    await authenticator.check(*shown(token))
    assert authenticator.reviews == 1
    clock.now, wall_clock.now = clock.now + 2.0, 5021.0
    await authenticator.check(*shown(token))  # the API still takes it: a matter of clocks
    await authenticator.check(*shown(token))
    assert authenticator.reviews == 3


@pytest.mark.parametrize(
    ("token", "ends"),
    [
        (jwt(exp=1700000000), 1700000000.0),
        (jwt(exp=1.5, sub="x" * 50), 1.5),
        (jwt(sub="x"), None),
        (jwt(exp=None), None),
        (jwt(exp="soon"), None),
        (jwt(exp=10**400), None),
        ("opaque", None),
        ("a.%%%.c", None),
        ("a..c", None),
        ("e30.WzFd.c", None),
        ("e30." + base64.urlsafe_b64encode(b"[" * 100_000).decode(), None),
    ],
    ids=lambda value: str(value)[:20],
)
def test_when_a_token_says_that_it_ends(token, ends):
    assert claims_of(token).expires == ends


async def test_the_store_is_bounded(make, monkeypatch):
    monkeypatch.setattr(token_authentication, "MAX_REMEMBERED", 5)
    authenticator = make()
    for i in range(20):
        await refusal(authenticator, *shown(f"bad-{i}", f"agent-{i}"))
    assert len(authenticator._verdicts) == 5
    await refusal(authenticator, *shown("bad-19"))
    assert authenticator.cache_hits == 1


# ---- the API has trouble --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "what", "code"),
    [
        ({"status": 401}, "401 Unauthorized", Code.UNKNOWN),
        ({"status": 403}, "403 Forbidden", Code.UNKNOWN),
        ({"status": 500}, "500 InternalError", Code.UNKNOWN),
        ({"status": 429}, "429 TooManyRequests", Code.UNAVAILABLE),
        ({"half": True}, "Unreachable", Code.UNKNOWN),
        ({"status": 201, "body": b"{"}, "Unintelligible", Code.UNKNOWN),
        ({"delay_s": 3.0}, "Timeout", Code.UNKNOWN),
    ],
    ids=str,
)
async def test_trouble_refuses_this_time_only(api, make, fault, what, code, caplog):
    authenticator = make(timeout_s=0.5)
    api.fail(kubernetes_api.REVIEWS, **fault)
    status = await refusal(authenticator, *shown("good"))
    assert status.code is code
    assert f"could not check the token ({what})" in status.message
    assert api.url not in status.message  # that is for the log
    assert any(
        api.url in str(record.fields) for record in caplog.records if record.name.endswith(".token_authentication")
    )
    assert authenticator.refused == {"api": 1}
    api.faults.clear()
    assert (await authenticator.check(*shown("good"))).user == USER


async def test_an_api_that_comes_up_later(api, make):
    authenticator = make()
    api.down()
    for _ in range(3):
        assert "(Unreachable)" in (await refusal(authenticator, *shown("good"))).message
    api.up()
    assert (await authenticator.check(*shown("good"))).user == USER


async def test_an_agent_is_not_kept_waiting_for_ever(api, make, monkeypatch):
    monkeypatch.setattr(token_authentication, "CHECK_TIMEOUT_S", 0.3)
    api.fail(kubernetes_api.REVIEWS, delay_s=3.0, times=1)
    authenticator = make()
    status = await refusal(authenticator, *shown("good"))
    assert (status.code, status.message) == (Code.UNAVAILABLE, "too many agents at once, come back later")
    monkeypatch.undo()
    assert (await authenticator.check(*shown("good"))).user == USER


# ---- many at once ---------------------------------------------------------------------------------------------------


async def outcomes(authenticator, tokens):
    """How many checks ended how."""

    async def one(number, token):
        try:
            return (await authenticator.check(*shown(token, f"agent-{number}", f"192.0.2.1:{number}"))).user
        except RpcError as error:
            return error.status.code.name

    return Counter(await asyncio.gather(*(one(number, token) for number, token in enumerate(tokens))))


async def test_five_thousand_agents_with_one_token_are_one_review(api, make):
    authenticator = make()
    api.fail(kubernetes_api.REVIEWS, delay_s=0.2)
    before = monotonic()
    assert await outcomes(authenticator, ["good"] * 5000) == {USER: 5000}
    assert monotonic() - before < 5
    assert api.requests[kubernetes_api.REVIEWS] == 1
    assert authenticator.shared == 4999


async def test_five_thousand_agents_with_one_token_and_no_api(api, make):
    authenticator = make()
    api.down()
    assert await outcomes(authenticator, ["good"] * 5000) == {"UNKNOWN": 5000}
    assert authenticator.reviews == 1


async def test_five_thousand_agents_with_a_token_each_stay_within_the_rate(api, make, monkeypatch):
    monkeypatch.setattr(token_authentication, "CHECK_TIMEOUT_S", 2.0)
    tokens = [f"token-{number}" for number in range(5000)]
    for token in tokens:
        api.add_token(token, USER, AUDIENCE)
    authenticator = make(qps=50, burst=100)
    before = monotonic()
    first = await outcomes(authenticator, tokens)
    assert monotonic() - before < 6
    assert first[USER] + first["UNAVAILABLE"] == 5000
    assert 20 <= first[USER] <= api.requests[kubernetes_api.REVIEWS] <= 100 + 50 * 3
    second = await outcomes(authenticator, tokens)  # they come back: what is known is not asked again
    assert second[USER] > first[USER]


async def test_no_more_than_some_wait(make, monkeypatch):
    monkeypatch.setattr(token_authentication, "MAX_WAITING", 3)
    assert await outcomes(make(), ["good"] * 5) == {USER: 3, "UNAVAILABLE": 2}


async def test_only_some_reviews_at_a_time(api, make, monkeypatch):
    monkeypatch.setattr(token_authentication, "MAX_REVIEWS", 2)
    api.fail(kubernetes_api.REVIEWS, delay_s=0.2)
    authenticator = make()
    before = monotonic()
    await outcomes(authenticator, [f"bad-{number}" for number in range(6)])
    assert monotonic() - before >= 0.6


async def test_whoever_asked_first_may_leave(api, make):
    authenticator = make()
    api.fail(kubernetes_api.REVIEWS, delay_s=0.3, times=1)
    first = asyncio.create_task(authenticator.check(*shown("good")))
    await asyncio.sleep(0.05)
    others = asyncio.gather(*(authenticator.check(*shown("good")) for _ in range(3)))
    await asyncio.sleep(0.05)
    first.cancel()
    assert [each.user for each in await others] == [USER] * 3
    assert first.cancelled()
    assert authenticator.reviews == 1


async def test_a_review_that_nobody_waits_for_is_not_begun(make):
    authenticator = make(qps=0.001, burst=1, timeout_s=1.0)
    waiting = [asyncio.create_task(authenticator.check(*shown(f"bad-{n}", "a", f"192.0.2.1:{n}"))) for n in range(40)]
    await asyncio.sleep(0.1)
    began = authenticator.reviews
    for each in waiting:
        each.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert authenticator.reviews == began == 1 + token_authentication.MAX_BEFORE_TURN
    assert len(authenticator._queue) == authenticator._waiting == len(authenticator._checks) == 0
    assert len(authenticator._under_way) == token_authentication.MAX_BEFORE_TURN  # these end by themselves


async def test_whoever_waits_may_leave(api, make):
    authenticator = make()
    api.fail(kubernetes_api.REVIEWS, delay_s=0.3, times=1)
    first = asyncio.create_task(authenticator.check(*shown("good")))
    await asyncio.sleep(0.05)
    second = asyncio.create_task(authenticator.check(*shown("good")))
    await asyncio.sleep(0.05)
    second.cancel()
    assert (await first).user == USER
    assert authenticator.reviews == 1


# ---- a flood of tokens that strangers make up -----------------------------------------------------------------------


def service_account_token(number, uid=""):
    account = {"name": "konnectivity-agent", "uid": uid}
    return jwt(
        aud=[AUDIENCE], exp=4e9, n=number, **{"kubernetes.io": {"namespace": "kube-system", "serviceaccount": account}}
    )


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
    began = monotonic()
    assert (await authenticator.check(*shown(token, "honest", address))).user == USER
    return monotonic() - began


@pytest.mark.parametrize(
    ("token", "known", "forged", "address", "at_most_s"),
    [
        ("good", None, False, "198.51.100.1:1", 2.0),  # another address
        ("good", None, False, "192.0.2.1:9999", 4.0),  # behind one balancer: a turn of each connection
        ("good", "192.0.2.7:1", False, "192.0.2.1:9999", 2.0),  # this token was accepted before
        (service_account_token("honest", "a1"), None, False, "192.0.2.1:9999", 2.0),  # the flood has no claims
        (service_account_token("honest", "a1"), None, True, "198.51.100.1:1", 2.0),  # the flood has them, too
        (service_account_token("honest", "a1"), "192.0.2.1:5", True, "192.0.2.1:9999", 2.0),  # ... but not the uid
    ],
    ids=["address", "connection", "token", "claims", "forged-claims", "uid"],
)
async def test_an_honest_agent_comes_in_beside_a_flood(api, make, token, known, forged, address, at_most_s):
    """Twenty reviews a second, and 400 tokens of 40 connections that wait for one at any time."""
    clock = Clock(1000.0)
    authenticator = make(qps=20, burst=1, clock=clock)
    api.add_token(token, USER, AUDIENCE, uid="a1")
    if known is not None:
        first = token if token == "good" else service_account_token("first", "a1")
        api.add_token(first, USER, AUDIENCE, uid="a1")
        await admitted_after(authenticator, first, known)
        clock.now += 100.0  # the verdict is not remembered any more
    made_up = (lambda number: service_account_token(number, "b2")) if forged else "garbage-{}".format
    async with flood(authenticator, made_up):
        assert await admitted_after(authenticator, token, address) < at_most_s


async def test_a_token_that_waited_in_vain_comes_first_the_next_time(make, monkeypatch):
    """An opaque token, behind the balancer of 400 connections, each with a token of its own."""
    monkeypatch.setattr(token_authentication, "CHECK_TIMEOUT_S", 1.0)
    authenticator = make(qps=10, burst=1)
    async with flood(authenticator, "garbage-{}".format, connections=400):
        assert (await refusal(authenticator, *shown("good", "honest", "192.0.2.1:9999"))).code is Code.UNAVAILABLE
        monkeypatch.setattr(token_authentication, "CHECK_TIMEOUT_S", 10.0)
        assert await admitted_after(authenticator, "good", "192.0.2.1:9998") < 3.0


async def test_a_queue_that_is_full_lets_better_tokens_in(api, make, monkeypatch):
    monkeypatch.setattr(token_authentication, "MAX_WAITING", 50)
    reached = Counter()
    token = service_account_token("honest")
    api.add_token(token, USER, AUDIENCE)
    authenticator = make(qps=10, burst=1, reached=reached)
    async with flood(authenticator, "garbage-{}".format, connections=10):
        assert await admitted_after(authenticator, token, "192.0.2.1:9999") < 3.0
    assert reached["token_checks"] > 0


async def test_checks_of_one_connection(api, make):
    reached = Counter()
    authenticator = make(reached=reached)
    api.fail(kubernetes_api.REVIEWS, delay_s=0.3)
    more = token_authentication.MAX_CHECKS + 5
    found = await asyncio.gather(*(authenticator.check(*shown("good")) for _ in range(more)), return_exceptions=True)
    assert Counter(type(each).__name__ for each in found) == {"Account": token_authentication.MAX_CHECKS, "RpcError": 5}
    assert reached == {"token_checks_per_connection": 5}
    assert await authenticator.check(*shown("good"))


async def test_a_token_that_is_too_long(api, make):
    reached = Counter()
    status = await refusal(make(reached=reached), *shown("x" * token_authentication.MAX_TOKEN))
    assert "at most 8192 are allowed" in status.message
    assert reached == {"token_length": 1}
    assert not api.requests


async def test_strangers_cannot_fill_the_log(make, caplog):
    authenticator = make()
    for number in range(300):
        token = [("authorization", "nonsense")]
        agent = Metadata([("agentid", f"agent-{number}"), *token])
        await refusal(authenticator, agent, Peer(f"192.0.2.1:{number}"))
    lines = [record for record in caplog.records if record.name == "konnectivity_server.agents.token_authentication"]
    assert 0 < len(lines) <= 20


# ---- the log --------------------------------------------------------------------------------------------------------


async def test_one_line_for_an_agent_and_one_more_when_the_reason_changes(api, make, caplog):
    caplog.set_level(logging.INFO)
    authenticator = make()
    for token in ("geheim", "geheim", "good", "geheim"):
        with suppress(RpcError):
            await authenticator.check(*shown(token))
    api.fail(kubernetes_api.REVIEWS, 403)
    await refusal(authenticator, *shown("geheim-2"))
    await refusal(authenticator, *shown("geheim", "agent-2"))
    lines = [record for record in caplog.records if record.name == "konnectivity_server.agents.token_authentication"]
    assert [record.fields["agent"] for record in lines] == ["agent-1", "agent-1", "agent-1", "agent-2"]
    assert "403 Forbidden" in lines[2].fields["reason"]
    assert all(record.levelname == "WARNING" for record in lines)
    assert "geheim" not in caplog.text + str([record.__dict__ for record in caplog.records])
