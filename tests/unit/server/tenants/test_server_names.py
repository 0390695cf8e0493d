"""Tests of TLS server names: exact ones, wildcards, precedence, spelling."""

from __future__ import annotations

import pytest

from konnectivity_server.tenants.server_names import ServerNames


@pytest.fixture
def names():
    names: ServerNames[str] = ServerNames()
    names.add(["a.example", "*.b.example"], "one")
    names.add(["x.b.example"], "two")
    return names


@pytest.mark.parametrize(
    ("asked", "holder"),
    [
        ("a.example", "one"),
        ("A.Example.", "one"),
        ("y.b.example", "one"),
        ("x.b.example", "two"),
        ("b.example", None),
        ("z.y.b.example", None),
        ("*.b.example", None),
        ("a.example.example", None),
        (".b.example", None),
        ("", None),
        (None, None),
    ],
)
def test_a_name_leads_to_its_holder_and_a_wildcard_stands_for_one_label(names, asked, holder):
    assert names.find(asked) == holder


def test_a_holder_loses_only_its_own_names(names):
    names.remove(["a.example", "x.b.example"], "one")
    assert names.find("a.example") is None
    assert names.find("x.b.example") == names.holder_of("x.b.example") == "two"
    assert len(names) == 2
