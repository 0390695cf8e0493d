"""What a credential vouches for, and which claims go beyond it."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from konnectivity.grpc.message_stream import Peer
from konnectivity.grpc.status import Code, RpcError
from konnectivity.kube import kubeconfig
from konnectivity.kube.api_client import KubeClient
from konnectivity_server.agents import claim_verification
from konnectivity_server.agents.agent_identifiers import Identifiers, parse
from konnectivity_server.agents.claim_verification import ClaimVerifier
from konnectivity_server.agents.credential_identity import Account, Pod, excess, holder, of_certificate, pod_of
from konnectivity_server.registry import Registry
from support.kubernetes_api import KubernetesApi


def certificate(*names, subject=(("commonName", "node-7"),)):
    return {"subject": tuple(((pair,)) for pair in subject), "subjectAltName": names}


def beyond(claims, *names, **how):
    return " ".join(map(str, excess(parse(claims), of_certificate(certificate(*names, **how)))))


IP, V6, DNS = ("IP Address", "10.0.0.7"), ("IP Address", "FD00:0:0:0:0:0:0:7"), ("DNS", "Node-7.example")
GATEWAY = ("URI", "konnectivity:cidr=10.1.0.0/16&cidr=fd00:1::/64&default-route=true&host=extra")


@pytest.mark.parametrize(
    "claims",
    [
        "",
        "default-route=false",
        "ipv4=10.0.0.7",
        "ipv4=::ffff:10.0.0.7",
        "ipv6=fd00::7&ipv6=[fd00:0::7]",
        "host=node-7.EXAMPLE.&host=10.0.0.7",
        "cidr=10.0.0.7/32&cidr=fd00::7/128",
        "host=extra&default-route=true",
        "cidr=10.1.0.0/16&cidr=10.1.2.0/24&cidr=fd00:1::/64&ipv4=10.1.2.3&ipv6=fd00:1::9",
        "unknown=anything",
    ],
)
def test_what_a_certificate_vouches_for(claims):
    assert beyond(claims, IP, V6, DNS, GATEWAY) == ""


@pytest.mark.parametrize(
    ("claims", "found"),
    [
        ("ipv4=10.0.0.7&ipv4=10.0.0.8", "ipv4=10.0.0.8"),
        ("host=node-8&host=example&host=node-7", "host=node-8 host=example host=node-7"),
        ("ipv4=node-8.example", "ipv4=node-8.example"),
        ("host=10.0.0.8", "host=10.0.0.8"),
        ("cidr=10.0.0.0/24", "cidr=10.0.0.0/24"),
        ("cidr=0.0.0.0/0", "cidr=0.0.0.0/0"),
        ("cidr=::/0", "cidr=::/0"),
        ("cidr=nonsense", "cidr=nonsense"),
        ("default-route=true", "default-route=true"),
    ],
)
def test_what_it_does_not(claims, found):
    assert beyond(claims, IP, V6, DNS) == found


def test_a_network_is_no_larger_than_what_was_granted():
    assert beyond("cidr=10.0.0.0/15", GATEWAY) == "cidr=10.0.0.0/15"
    assert beyond("ipv4=10.2.0.1", GATEWAY) == "ipv4=10.2.0.1"
    assert beyond("cidr=10.1.0.0/16", ("URI", "https://example.org/cidr=10.1.0.0/16")) != ""
    assert beyond("cidr=10.1.0.0/16", ("URI", "konnectivity:cidr=10.1.0.0/16;x")) != ""


def test_the_name_of_a_kubelets_certificate():
    kubelet = (("organizationName", "system:nodes"), ("commonName", "system:node:worker-1"))
    assert beyond("host=worker-1", subject=kubelet) == ""
    assert beyond("host=worker-2", subject=kubelet) == "host=worker-2"
    assert beyond("host=worker-1", subject=kubelet[1:]) == "host=worker-1"  # any client may be called so
    assert beyond("host=node-7") == "host=node-7"  # nor does a common name count as a host


def test_no_certificate_vouches_for_nothing():
    assert excess(parse("ipv4=10.0.0.7"), of_certificate(None))
    assert not excess(Identifiers(), of_certificate(None))


def test_a_renewed_credential_is_the_same_and_another_is_not():
    pod = Pod("kube-system", "agent-x", "1", "node-7")
    assert holder(certificate(IP), None) == holder(certificate(IP), None) != holder(certificate(V6), None)
    assert holder(None, Account("u", pod)) == holder(None, Account("u", pod._replace(name="agent-y", uid="2")))
    assert holder(None, Account("u", pod)) != holder(None, Account("u", pod._replace(node="node-8")))
    assert holder(None, None) == ""


def test_a_token_that_is_bound_to_no_pod():
    prefix = "authentication.kubernetes.io/"
    extra = {f"{prefix}pod-name": ("a",), f"{prefix}pod-uid": ("1",), f"{prefix}node-name": ("n",)}
    assert pod_of("ns", extra) == Pod("ns", "a", "1", "n")
    assert pod_of("ns", {}) is None
    assert pod_of("ns", extra | {f"{prefix}pod-name": ("a", "b")}) is None


words = st.one_of(st.ip_addresses().map(str), st.sampled_from(["node-1", "NODE-1.", "node-2"]))
some = st.lists(words, max_size=3).map(tuple)


class Agent:
    draining = exhausted = suspect = duplicate = declining = False
    agent_id, load = "a", 1.0

    def __init__(self, identifiers):
        self.identifiers = identifiers


@given(some, some, some, some, words)
def test_an_agent_that_claims_no_more_than_granted_gets_no_dial_for_anything_else(ipv4, host, claims4, claims6, asked):
    """Whatever the registry would find it by, its credential has."""
    granted = Identifiers(ipv4=ipv4, host=host)
    claimed = Identifiers(ipv4=claims4, ipv6=claims6)
    if not excess(claimed, granted):
        mine, rightful = Registry(), Registry()
        mine.add(Agent(claimed))
        rightful.add(Agent(granted))
        assert not mine.at(asked) or rightful.at(asked)


# ---- tokens ----------------------------------------------------------------------------------------------------------

POD = Pod("kube-system", "agent-x", "uid-of-agent-x", "node-7")
ACCOUNT = Account("system:serviceaccount:kube-system:konnectivity-agent", POD)


@pytest.fixture
def api(tmp_path):
    with KubernetesApi(tmp_path) as api:
        api.add_token("good", ACCOUNT.user, "a")
        api.add_pod("good", "kube-system", "agent-x", "node-7", "10.0.0.7", "10.244.0.9", "fd00::9")
        yield api


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
async def voucher(api):
    client = KubeClient(kubeconfig.load(str(api.kubeconfig(api.directory / "kubeconfig"))), -1.0)
    yield ClaimVerifier("token", client, Clock())
    await client.close()


async def check(voucher, claims, account=ACCOUNT):
    """OK, or the status and text of the refusal."""
    try:
        await voucher.check("agent-1", Peer("192.0.2.1:1"), account, parse(claims))
    except RpcError as error:
        return error.status.code, error.status.message
    return Code.OK, ""


async def test_a_token_vouches_for_its_pod_and_its_node(api, voucher):
    assert (await check(voucher, "host=node-7"))[0] is Code.OK
    assert api.requests["pods.get"] == 0  # the token says that itself
    for claims in ("ipv4=10.0.0.7&host=node-7", "ipv4=10.244.0.9&ipv6=fd00::9"):
        assert (await check(voucher, claims))[0] is Code.OK
    assert api.requests["pods.get"] == 1
    code, text = await check(voucher, "ipv4=10.0.0.8")
    assert code is Code.PERMISSION_DENIED
    assert text == (
        "agent 'agent-1' claims ipv4=10.0.0.8; its credential vouches for "
        "ipv4=10.0.0.7 ipv4=10.244.0.9 ipv4=fd00::9 host=node-7 host=node-7"
    )
    assert voucher.refused == {"ipv4": 1}
    assert (await check(voucher, "host=agent-x"))[0] is Code.PERMISSION_DENIED  # a pod may be called like a node


async def test_a_pod_that_gets_its_address_late_is_looked_up_again(api, voucher):
    status = api.objects.pods["kube-system", "agent-x"]["status"]
    later = status.pop("podIPs")
    assert (await check(voucher, "ipv4=10.244.0.9"))[0] is Code.PERMISSION_DENIED
    status["podIPs"] = later
    assert (await check(voucher, "ipv4=10.244.0.9"))[0] is Code.PERMISSION_DENIED  # that was asked a moment ago
    assert api.requests["pods.get"] == 1
    voucher.clock.now += claim_verification.LOOKUP_PAUSE_S
    assert (await check(voucher, "ipv4=10.244.0.9"))[0] is Code.OK
    voucher.clock.now += claim_verification.REMEMBERED_FOR_S
    asked = api.requests["pods.get"]
    assert (await check(voucher, "ipv4=10.244.0.9"))[0] is Code.OK
    assert api.requests["pods.get"] == asked + 1


@pytest.mark.parametrize("change", ["gone", "another"])
async def test_a_pod_that_is_gone_or_is_another_one_now_vouches_for_its_node_only(api, voucher, change):
    if change == "gone":
        api.objects.pods.clear()
    else:
        api.objects.pods["kube-system", "agent-x"]["metadata"]["uid"] = "younger"
    code, text = await check(voucher, "ipv4=10.0.0.7")
    assert code is Code.PERMISSION_DENIED
    assert text.endswith("vouches for host=node-7")


async def test_a_token_without_a_pod_vouches_for_nothing(voucher):
    for account in (None, Account(ACCOUNT.user)):
        assert (await check(voucher, "", account))[0] is Code.OK
        assert (await check(voucher, "host=node-7", account))[1].endswith("vouches for nothing")


@pytest.mark.parametrize("status", [403, 429, 500])
async def test_an_api_that_does_not_answer_lets_nobody_in(api, voucher, status):
    api.fail("pods.get", status, times=1)
    code, text = await check(voucher, "ipv4=10.0.0.7")
    assert code is Code.UNAVAILABLE
    assert "could not say" in text
    assert voucher.refused == {"api": 1}
    assert (await check(voucher, "ipv4=10.0.0.7"))[0] is Code.OK


async def test_many_agents_of_one_pod_are_one_look_up(api, voucher):
    api.fail("pods.get", delay_s=0.2, times=1)
    found = await asyncio.gather(*(check(voucher, "ipv4=10.0.0.7") for _ in range(20)))
    assert {code for code, _ in found} == {Code.OK}
    assert api.requests["pods.get"] == 1


async def test_an_agent_that_gives_up_takes_no_other_with_it_for_good(api, voucher):
    api.fail("pods.get", delay_s=1.0, times=1)
    first = asyncio.create_task(check(voucher, "ipv4=10.0.0.7"))
    await asyncio.sleep(0.05)
    second = asyncio.create_task(check(voucher, "ipv4=10.0.0.7"))
    await asyncio.sleep(0.05)
    first.cancel()
    assert (await second)[0] is Code.UNAVAILABLE
    assert (await check(voucher, "ipv4=10.0.0.7"))[0] is Code.OK


async def test_what_is_remembered_has_a_bound(api, voucher):
    voucher._pods.max_entries = 3
    for number in range(10):
        pod = POD._replace(uid=f"uid-{number}")
        with pytest.raises(RpcError):
            await voucher.check(f"agent-{number}", Peer(""), Account("u", pod), parse("ipv4=10.0.0.7"))
    assert len(voucher._pods) == 3


async def test_what_is_remembered_has_a_bound_in_bytes(api, voucher):
    """An API, or whoever writes a pod's status, may say as much as it likes."""
    for number in range(20):
        pod = POD._replace(name=f"agent-{number}", uid=f"uid-of-agent-{number}")
        api.add_pod("good", "kube-system", pod.name, "node-7", *(f"{each}." * 10_000 for each in range(100, 140)))
        with pytest.raises(RpcError):
            await voucher.check(f"agent-{number}", Peer(""), Account("u", pod), parse("ipv4=10.0.0.7"))
    assert 0 < voucher._pods.bytes <= claim_verification.MAX_REMEMBERED_BYTES
    assert len(voucher._pods) < 20
