"""Tests of the rules on where a name is resolved."""

from __future__ import annotations

import pytest

from konnectivity.forward.names.name_rules import NameRules

RULES = NameRules(
    ["svc.cluster.local=kubernetes", "cluster.local=cluster-dns", "example.org=local", "*.aws.test=direct"]
)


@pytest.mark.parametrize(
    ("name", "way"),
    [
        ("api.default.svc.cluster.local", "kubernetes"),
        ("API.default.SVC.cluster.local.", "kubernetes"),
        ("svc.cluster.local", "kubernetes"),
        ("pod.cluster.local", "cluster-dns"),
        ("example.org", "local"),
        ("www.example.org", "local"),
        ("notexample.org", "agent"),
        ("a.aws.test", "direct"),
        ("node-1", "agent"),
        ("", "agent"),
    ],
)
def test_the_longest_suffix_counts(name, way):
    assert RULES.ways_of(name) == (way,)


def test_a_star_stands_for_every_name():
    rules = NameRules(["*=local", "svc=kubernetes+cluster-dns"])
    assert [rules.ways_of(name) for name in ("node-1", "a.b.svc")] == [("local",), ("kubernetes", "cluster-dns")]
    assert rules.ways == {"local", "kubernetes", "cluster-dns"}


@pytest.mark.parametrize(
    "text", ["", "svc", "svc=", "svc=dns", "=agent", "a b=agent", "a*=agent", "a..b=agent", "a=agent+local", "a=local+"]
)
def test_a_malformed_rule_is_refused(text):
    with pytest.raises(ValueError, match=r"is not SUFFIX=WAY|the suffix is no name|no way can follow"):
        NameRules([text])
