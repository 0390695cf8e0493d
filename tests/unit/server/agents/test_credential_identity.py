"""Identity that a credential proves, and the claims that go beyond it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from konnectivity_server.agents.agent_identifiers import Identifiers, parse
from konnectivity_server.agents.credential_identity import Account, Pod, excess, holder, of_certificate, pod_of
from konnectivity_server.registry import Registry


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
    """Every identifier by which the registry finds the agent is in its credential."""
    granted = Identifiers(ipv4=ipv4, host=host)
    claimed = Identifiers(ipv4=claims4, ipv6=claims6)
    if not excess(claimed, granted):
        mine, rightful = Registry(), Registry()
        mine.add(Agent(claimed))
        rightful.add(Agent(granted))
        assert not mine.at(asked) or rightful.at(asked)
