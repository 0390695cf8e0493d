"""Verification of an agent's claims against its token's pod, which the Kubernetes API (here in memory) knows."""

from __future__ import annotations

import asyncio

import pytest

from konnectivity.grpc.message_stream import Peer
from konnectivity.grpc.status import Code, RpcError
from konnectivity.kube.api_answers import PodPlace
from konnectivity.kube.api_error import KubeError
from konnectivity_server.agents import claim_verification
from konnectivity_server.agents.agent_identifiers import parse
from konnectivity_server.agents.claim_verification import ClaimVerifier
from konnectivity_server.agents.credential_identity import Account, Pod

POD = Pod("kube-system", "agent-x", "uid-of-agent-x", "node-7")
ACCOUNT = Account("system:serviceaccount:kube-system:konnectivity-agent", POD)
PLACE = PodPlace(POD.uid, "node-7", ("10.0.0.7", "10.244.0.9", "fd00::9"))


class MemoryPods:
    """Pods of a cluster, looked up after a delay."""

    def __init__(self) -> None:
        self.places = {"agent-x": PLACE}
        self.requests = 0
        self.delay_s = 0.0
        self.errors = []

    async def get_pod(self, namespace, name):
        self.requests += 1
        await asyncio.sleep(self.delay_s)
        if self.errors:
            raise self.errors.pop()
        return self.places.get(name)


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def pods():
    return MemoryPods()


@pytest.fixture
def verifier(pods):
    return ClaimVerifier("token", pods, Clock())


async def check(verifier, claims, account=ACCOUNT):
    """Return OK, or the status and text of the refusal."""
    try:
        await verifier.check("agent-1", Peer("192.0.2.1:1"), account, parse(claims))
    except RpcError as error:
        return error.status.code, error.status.message
    return Code.OK, ""


async def test_a_token_vouches_for_its_pod_and_its_node(pods, verifier):
    assert (await check(verifier, "host=node-7"))[0] is Code.OK
    assert pods.requests == 0  # the token's review names the node
    for claims in ("ipv4=10.0.0.7&host=node-7", "ipv4=10.244.0.9&ipv6=fd00::9"):
        assert (await check(verifier, claims))[0] is Code.OK
    assert pods.requests == 1
    code, text = await check(verifier, "ipv4=10.0.0.8")
    assert code is Code.PERMISSION_DENIED
    assert text == (
        "agent 'agent-1' claims ipv4=10.0.0.8; its credential vouches for "
        "ipv4=10.0.0.7 ipv4=10.244.0.9 ipv4=fd00::9 host=node-7 host=node-7"
    )
    assert verifier.refused == {"ipv4": 1}
    assert (await check(verifier, "host=agent-x"))[0] is Code.PERMISSION_DENIED  # a pod may be called like a node


async def test_a_pod_that_gets_its_address_late_is_looked_up_again(pods, verifier):
    pods.places["agent-x"] = PLACE._replace(addresses=("10.0.0.7",))
    assert (await check(verifier, "ipv4=10.244.0.9"))[0] is Code.PERMISSION_DENIED
    pods.places["agent-x"] = PLACE
    assert (await check(verifier, "ipv4=10.244.0.9"))[0] is Code.PERMISSION_DENIED  # looked up a moment ago
    assert pods.requests == 1
    verifier.clock.now += claim_verification.LOOKUP_PAUSE_S
    assert (await check(verifier, "ipv4=10.244.0.9"))[0] is Code.OK
    verifier.clock.now += claim_verification.REMEMBERED_FOR_S
    asked = pods.requests
    assert (await check(verifier, "ipv4=10.244.0.9"))[0] is Code.OK
    assert pods.requests == asked + 1


@pytest.mark.parametrize("place", [None, PLACE._replace(uid="younger")], ids=["deleted", "replaced"])
async def test_a_pod_that_is_gone_or_replaced_vouches_for_its_node_only(pods, verifier, place):
    pods.places = {} if place is None else {"agent-x": place}
    code, text = await check(verifier, "ipv4=10.0.0.7")
    assert code is Code.PERMISSION_DENIED
    assert text.endswith("vouches for host=node-7")


async def test_a_token_without_a_pod_vouches_for_nothing(verifier):
    for account in (None, Account(ACCOUNT.user)):
        assert (await check(verifier, "", account))[0] is Code.OK
        assert (await check(verifier, "host=node-7", account))[1].endswith("vouches for nothing")


async def test_an_api_that_does_not_answer_refuses_the_agent(pods, verifier):
    pods.errors = [KubeError("no", 403, "Forbidden")]
    code, text = await check(verifier, "ipv4=10.0.0.7")
    assert code is Code.UNAVAILABLE
    assert "could not say" in text
    assert verifier.refused == {"api": 1}
    assert (await check(verifier, "ipv4=10.0.0.7"))[0] is Code.OK


async def test_many_agents_of_one_pod_are_one_look_up(pods, verifier):
    pods.delay_s = 0.2
    found = await asyncio.gather(*(check(verifier, "ipv4=10.0.0.7") for _ in range(20)))
    assert {code for code, _ in found} == {Code.OK}
    assert pods.requests == 1


async def test_an_agent_that_leaves_ends_its_look_up_for_the_agents_that_wait_for_it(pods, verifier):
    pods.delay_s = 1.0
    first = asyncio.create_task(check(verifier, "ipv4=10.0.0.7"))
    await asyncio.sleep(0.05)
    second = asyncio.create_task(check(verifier, "ipv4=10.0.0.7"))
    await asyncio.sleep(0.05)
    first.cancel()
    assert (await second)[0] is Code.UNAVAILABLE
    assert (await check(verifier, "ipv4=10.0.0.7"))[0] is Code.OK


async def test_the_number_of_remembered_pods_is_bounded(pods):
    verifier = ClaimVerifier("token", pods, Clock(), max_pods=3)
    for _ in range(2):
        for number in range(10):
            account = Account("u", POD._replace(uid=f"uid-{number}"))
            await check(verifier, "ipv4=10.0.0.7", account)
    assert pods.requests == 20
    for number in range(7, 10):
        await check(verifier, "ipv4=10.0.0.7", Account("u", POD._replace(uid=f"uid-{number}")))
    assert pods.requests == 20


async def test_the_memory_of_remembered_pods_is_bounded(pods):
    """The API, or the author of a pod's status, may give addresses of any length."""
    verifier = ClaimVerifier("token", pods, Clock(), max_bytes=100_000)
    accounts = [Account("u", POD._replace(name=f"agent-{number}", uid=f"uid-{number}")) for number in range(4)]
    pods.places = {f"agent-{n}": PodPlace(f"uid-{n}", "node-7", ("1." * 20_000,)) for n in range(4)}
    for account in [*accounts, *accounts]:
        await check(verifier, "ipv4=10.0.0.7", account)
    assert pods.requests == 8
    await check(verifier, "ipv4=10.0.0.7", accounts[-1])
    assert pods.requests == 8
