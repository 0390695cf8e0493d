"""Tests of the policy on frontends: names of clients, the entry that decides, and what a rule covers."""

from __future__ import annotations

from hashlib import sha256

import pytest

from konnectivity.grpc.message_stream import Peer, PeerProcess
from konnectivity_server.policy.frontend_policy import parse_policy

APISERVER = Peer("unix", None, PeerProcess(1, 1000, 7))
PROMETHEUS = Peer(
    "10.0.0.9:5000",
    {
        "subject": ((("organizationName", "x"),), (("commonName", "prometheus"),)),
        "subjectAltName": (
            ("DNS", "prometheus.monitoring"),
            ("URI", "spiffe://a/prometheus"),
            ("IP Address", "10.0.0.9"),
        ),
    },
)
STRANGER = Peer("10.0.0.8:5000", {"subject": ((("commonName", "stranger"),),)})
POLICY = parse_policy(
    [
        {"clients": ["uid=1000"], "deny": ["10.9.0.0/16", "*.secret.test"]},
        {"clients": ["cn=prometheus", "san=other"], "allow": ["10.0.0.0/8:9100", "[fd00::/8]:9100", "*.svc:9000-9999"]},
    ]
)


def allowed(policy, client, *addresses):
    return [policy.refusal(client, address) is None for address in addresses]


def test_a_client_may_dial_what_its_entry_allows():
    good = ("10.1.2.3:9100", "[fd00::7]:9100", "[::ffff:10.1.2.3]:9100", "a.b.svc:9090", "A.B.SVC.:9090")
    assert all(allowed(POLICY, PROMETHEUS, *good))
    bad = ("10.1.2.3:9101", "11.0.0.1:9100", "svc:9090", "a.b.svc:443", "a.b.svc.evil:9090", "10.0.0.1.svc.test:9100")
    assert not any(allowed(POLICY, PROMETHEUS, *bad))


def test_deny_wins_and_everything_else_is_allowed_without_allow():
    assert allowed(
        POLICY, APISERVER, "10.8.0.1:443", "10.9.0.1:443", "[::ffff:10.9.0.1]:1", "[64:ff9b::10.9.0.1]:1"
    ) == [
        True,
        False,
        False,
        False,
    ]
    assert allowed(POLICY, APISERVER, "a.test:1", "a.secret.test:1", "a.SECRET.test.:1") == [True, False, False]


def test_a_client_that_no_entry_names_may_dial_nothing():
    assert POLICY.refusal(STRANGER, "10.1.2.3:9100") == "no entry names the client stranger@10.0.0.8:5000"
    assert not any(allowed(POLICY, Peer("unix", None, None), "10.1.2.3:9100"))
    assert not any(allowed(POLICY, Peer("unix", None, PeerProcess(1, 1001, 7)), "10.1.2.3:9100"))


@pytest.mark.parametrize(
    ("client", "peer"),
    [
        ("cn=prometheus", PROMETHEUS),
        ("san=prometheus.monitoring", PROMETHEUS),
        ("san=spiffe://a/prometheus", PROMETHEUS),
        ("san=10.0.0.9", PROMETHEUS),
        ("uid=1000", APISERVER),
        ("gid=7", APISERVER),
        ("*", STRANGER),
    ],
)
def test_the_names_of_a_client(client, peer):
    policy = parse_policy([{"clients": ["cn=nobody"]}, {"clients": [client]}])
    assert policy.refusal(peer, "a:1") is None
    others = {id(each): each for each in (APISERVER, PROMETHEUS, STRANGER)}
    del others[id(peer)]
    assert client == "*" or not any(policy.refusal(other, "a:1") is None for other in others.values())


TOKEN = sha256(b"a token").digest()


@pytest.mark.parametrize(
    ("client", "peer"),
    [
        (f"token-sha256={TOKEN.hex()}", Peer("10.0.0.9:5000", token_sha256=TOKEN)),
        ("user=ann", Peer("127.0.0.1:5000", user="ann", frontend="forward")),
        ("frontend=forward", Peer("127.0.0.1:5000", frontend="forward")),
    ],
)
def test_a_client_with_a_secret_or_of_the_forward_frontend(client, peer):
    policy = parse_policy([{"clients": ["cn=nobody", client], "allow": ["10.0.0.0/8"]}])
    assert allowed(policy, peer, "10.0.0.1:1", "11.0.0.1:1") == [True, False]
    other = Peer("10.0.0.9:5000", token_sha256=sha256(b"another token").digest(), user="bob")
    for stranger in (other, Peer("10.0.0.9:5000"), APISERVER):
        assert not any(allowed(policy, stranger, "10.0.0.1:1"))


def test_a_token_is_no_text_that_a_certificate_could_have():
    """A common name cannot pass for a token, nor a user for a certificate."""
    policy = parse_policy([{"clients": [f"token-sha256={TOKEN.hex()}", "cn=ann"]}])
    certificate = {"subject": ((("commonName", f"token-sha256={TOKEN.hex()}"),),)}
    for stranger in (Peer("a:1", certificate), Peer("a:1", user="ann"), Peer("a:1", user="x,cn=ann")):
        assert not any(allowed(policy, stranger, "10.0.0.1:1"))


def test_a_name_that_the_server_resolved_is_judged_with_its_address():
    entry = {"clients": ["*"], "allow": ["10.0.0.0/8", "*.svc:80"], "deny": ["10.9.0.0/16", "*.secret.svc"]}
    policy = parse_policy([entry])

    def passes(name, address):
        return policy.refusal(PROMETHEUS, address, name) is None

    assert passes("a.svc", "11.0.0.1:80")  # allowed by its name
    assert passes("a.test", "10.0.0.1:80")  # by its address
    assert not passes("a.test", "11.0.0.1:80")
    assert not passes("a.svc", "11.0.0.1:443")
    assert not passes("a.svc", "10.9.0.1:80")  # denied by its address
    assert not passes("a.secret.svc", "10.0.0.1:80")  # by its name


def test_the_first_entry_that_names_the_client_decides():
    policy = parse_policy([{"clients": ["cn=prometheus"], "allow": ["a:1"]}, {"clients": ["*"]}])
    assert allowed(policy, PROMETHEUS, "a:1", "b:1") == [True, False]
    assert allowed(policy, STRANGER, "a:1", "b:1") == [True, True]
    assert policy.refusal(PROMETHEUS, "b:1") == "b nothing allows port 1 (entry 1)"


def test_an_address_that_cannot_be_read_is_refused():
    assert POLICY.refusal(APISERVER, "/run/docker.sock") is not None


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        {},
        "x",
        [[]],
        [{}],
        [{"clients": []}],
        [{"clients": "uid=1"}],
        [{"clients": ["uid=x"]}],
        [{"clients": ["uid=²"]}],
        [{"clients": ["uid=007"]}],  # would match no client
        [{"clients": ["gid=4294967296"]}],
        [{"clients": ["cn="]}],
        [{"clients": ["token=a"]}],
        [{"clients": ["*"], "allows": ["a"]}],
        [{"clients": ["*"], "allow": "a"}],
        [{"clients": ["*"], "allow": [10]}],
        [{"clients": ["*"], "deny": ["10.0.0.1/8"]}],
        [{"clients": ["*"]}] * 1001,
    ],
)
def test_a_document_that_is_no_policy(document):
    with pytest.raises(ValueError, match=r"entry 1\b|a policy is a list"):
        parse_policy(document)
