"""Token authentication against an API server over TLS: its answers, its failures, and its return."""

from __future__ import annotations

import asyncio

import pytest

from konnectivity.grpc.message_stream import Peer
from konnectivity.grpc.metadata import Metadata
from konnectivity.grpc.status import Code, RpcError
from konnectivity.kube import kubeconfig
from konnectivity.kube.api_client import KubeClient
from konnectivity.runtime import logs
from konnectivity.runtime.logs import LineRate
from konnectivity_server.agents import token_authentication
from konnectivity_server.agents.token_authentication import TokenAuthenticator
from support import kubernetes_api
from support.kubernetes_api import KubernetesApi
from support.token_reviewer import AUDIENCE, USER


@pytest.fixture
def api(tmp_path):
    with KubernetesApi(tmp_path) as api:
        api.add_token("good", USER, AUDIENCE)
        yield api


@pytest.fixture
async def make(api):
    """Yield a function that makes authenticators, each with a client of its own."""
    clients = []
    tasks = asyncio.TaskGroup()
    await tasks.__aenter__()

    def make(qps=-1.0, burst=0, timeout_s=5.0):
        config = kubeconfig.load(str(api.kubeconfig(api.directory / "kubeconfig")))
        clients.append(KubeClient(config, qps, burst, timeout_s))
        log = logs.get_peer_log(token_authentication.__name__, LineRate())  # a line rate for each test
        account = ("kube-system", "konnectivity-agent", AUDIENCE)
        return TokenAuthenticator(clients[-1], tasks, *account, peer_log=log)

    yield make
    await tasks.__aexit__(None, None, None)
    for client in clients:
        await client.close()


def shown(token, agent="agent-1", address="192.0.2.1:1"):
    return Metadata([("agentid", agent), ("authorization", f"Bearer {token}")]), Peer(address)


async def refusal(authenticator, metadata, peer):
    with pytest.raises(RpcError) as caught:
        await authenticator.check(metadata, peer)
    return caught.value.status


async def test_the_right_service_account_is_accepted(make):
    authenticator = make()
    assert (await authenticator.check(*shown("good"))).user == USER
    assert (authenticator.reviews, authenticator.refused, authenticator.seconds.count) == (1, {}, 1)


@pytest.mark.parametrize(
    ("audience", "error", "text"),
    [
        (AUDIENCE, "lookup failed", "the token is not valid: lookup failed"),
        ("another", "", "the token is not valid: [invalid bearer token, token audiences ['another']]"),
    ],
)
async def test_a_token_that_the_api_refuses(api, make, audience, error, text):
    api.add_token("t", USER, audience, error=error)
    authenticator = make()
    status = await refusal(authenticator, *shown("t"))
    assert (status.code, status.message) == (Code.UNKNOWN, text)
    assert authenticator.refused == {"invalid": 1}


async def test_an_unknown_token_is_refused_with_the_words_of_the_api(make):
    status = await refusal(make(), *shown("stolen"))
    assert status.message == "the token is not valid: [invalid bearer token, unknown token]"


async def test_an_api_that_knows_no_audiences_has_not_checked_them(api, make):
    api.objects.audience_aware = False
    status = await refusal(make(), *shown("good"))
    assert status.message == f"the token is not for the audience '{AUDIENCE}'"


async def test_a_token_is_refused_if_the_api_does_not_say_that_it_is_authenticated(api, make):
    api.fail(kubernetes_api.REVIEWS, 201, body=b'{"spec": {"token": ""}, "status": {}}')
    assert (await refusal(make(), *shown("good"))).message == "the token is not valid"
    api.fail(kubernetes_api.REVIEWS, 201, body=b'{"spec": {"token": ""}}')
    assert (await refusal(make(), *shown("good"))).message == "the token is not valid"


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
async def test_trouble_of_the_api_refuses_this_time_only(api, make, fault, what, code, caplog):
    authenticator = make(timeout_s=0.5)
    api.fail(kubernetes_api.REVIEWS, **fault)
    status = await refusal(authenticator, *shown("good"))
    assert status.code is code
    assert f"could not check the token ({what})" in status.message
    assert api.url not in status.message  # the address is for the log only
    assert any(
        api.url in str(record.fields) for record in caplog.records if record.name.endswith(".token_authentication")
    )
    assert authenticator.refused == {"api": 1}
    api.faults.clear()
    assert (await authenticator.check(*shown("good"))).user == USER


async def test_an_api_that_starts_later_is_used_when_it_answers(api, make):
    authenticator = make()
    api.down()
    for _ in range(3):
        assert "(Unreachable)" in (await refusal(authenticator, *shown("good"))).message
    api.up()
    assert (await authenticator.check(*shown("good"))).user == USER


async def test_many_agents_with_one_token_are_one_review_even_without_an_api(api, make):
    authenticator = make()
    api.down()
    found = await asyncio.gather(
        *(refusal(authenticator, *shown("good", address=f"192.0.2.1:{n}")) for n in range(500))
    )
    assert {each.code for each in found} == {Code.UNKNOWN}
    assert authenticator.reviews == 1
