"""Arguments as Kamaji composes them."""

from __future__ import annotations

import pytest

from konnectivity.tool.manifests import extra_arguments, toleration
from konnectivity.tool.manifests.object_names import ManifestError


def test_the_last_of_a_flag_wins_and_all_are_sorted():
    flags = {"--b": "1"} | extra_arguments.parsed(["-v=3", "--a=x=y", "--b=2", "--bare", "-v=4"])
    assert extra_arguments.rendered(flags) == ["--a=x=y", "--b=2", "--bare", "-v=4"]


def test_an_empty_value_stays_a_value():
    """Without its `=` a flag would take the next argument as its value; Kamaji drops it, as its own objects show."""
    given = ["--kubeconfig=", "--bare"]
    assert extra_arguments.rendered(extra_arguments.parsed(given)) == ["--bare", "--kubeconfig="]
    assert extra_arguments.rendered(extra_arguments.parsed_as_kamaji(given)) == ["--bare", "--kubeconfig"]


def test_a_value_of_its_own_would_be_torn_off():
    with pytest.raises(ManifestError, match="'3' is not a flag: write --flag=value"):
        extra_arguments.parsed(["-v", "3"])


@pytest.mark.parametrize(
    ("text", "means"),
    [
        ("*", {"operator": "Exists"}),
        ("a/b", {"key": "a/b", "operator": "Exists"}),
        ("a=b", {"key": "a", "operator": "Equal", "value": "b"}),
        ("a:NoExecute", {"key": "a", "operator": "Exists", "effect": "NoExecute"}),
        ("a=:NoSchedule", {"key": "a", "operator": "Equal", "value": "", "effect": "NoSchedule"}),
    ],
)
def test_tolerations(text, means):
    assert toleration.parse(text) == means


@pytest.mark.parametrize("text", ["", ":NoSchedule", "a:b", "a:", "=x"])
def test_what_is_no_toleration(text):
    with pytest.raises(ManifestError, match="write key, key=value"):
        toleration.parse(text)
