"""Egress configurations made of any bytes: findings, and never an exception."""

from __future__ import annotations

import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from konnectivity.tool.egress import egress_rules, egress_writer

GOOD = egress_writer.document(egress_writer.GRPC, egress_writer.uds("/run/a.sock"), ["cluster"], ["etcd"])
words = st.sampled_from(
    ["cluster", "GRPC", "Direct", "HTTPConnect", "/a", "https://[", "https://a:1", "", 1, None, True, []]
)
keys = st.sampled_from(
    ["apiVersion", "kind", "egressSelections", "name", "connection", "proxyProtocol", "transport", "uds", "tcp", "url"]
)
trees = st.recursive(
    words, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4), max_leaves=20
)


def findings(content):
    return egress_rules.check("egress.yaml", content, lambda path: False)


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
@example(b"\x00")
@example(b"a: !!timestamp x")
@example(b"? {a: b}\n: c")
@example(b"!!python/object:os.system {}")
@example(b"- " * 2000)
def test_bytes(content):
    assert findings(content)


@given(trees)
def test_trees(tree):
    for selections in (tree, [tree], [{"name": "cluster", "connection": tree}]):
        assert isinstance(findings(yaml.safe_dump(GOOD | {"egressSelections": selections}).encode()), list)


def test_a_good_one():
    assert findings(yaml.safe_dump(GOOD).encode()) == []
