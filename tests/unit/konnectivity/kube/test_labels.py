"""Labels and selectors, with the meaning that Kubernetes gives them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from konnectivity.kube.labels import format_labels, parse_labels, parse_selector

LABELS = {"app": "proxy", "tier": "front", "empty": "", "size": "10", "example.com/zone": "a"}


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("", True),
        ("  ", True),
        ("app", True),
        ("other", False),
        ("!other", True),
        ("! app", False),
        ("app=proxy", True),
        ("app==proxy", True),
        (" app = proxy ", True),
        ("app=other", False),
        ("other=proxy", False),
        ("app!=proxy", False),
        ("app!=other", True),
        ("other!=x", True),  # also without the label
        ("empty=", True),
        ("empty=,app", True),
        ("app=", False),
        ("app!=", True),
        ("app in (proxy,relay)", True),
        ("app in(relay)", False),
        ("other in (x)", False),
        ("empty in ()", True),
        ("empty in (a,)", True),
        ("app notin (relay)", True),
        ("app notin (proxy, relay)", False),
        ("other notin (x)", True),
        ("size>9", True),
        ("size > 10", False),
        ("size<11", True),
        ("app>1", False),
        ("other<1", False),
        ("example.com/zone=a", True),
        ("app=proxy,tier in (front,back),!other,size>1", True),
        ("app=proxy,tier in (back),!other", False),
        ("app in (in, notin, proxy)", True),  # the words are values here
    ],
)
def test_a_selector_matches(text, matches):
    selector = parse_selector(text)
    assert selector.matches(LABELS) is matches
    assert str(selector) == text


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("app=proxy,", "found the end, expected a label key after ','"),
        (",app", "found ',', expected a label key"),
        ("app,,tier", "found ',', expected a label key"),
        ("=x", "found '=', expected a label key"),
        ("in (a)", "found 'in', expected a label key"),
        ("!", "found the end, expected a label key"),
        ("!app=x", "found '=', expected ',' or the end"),
        ("app proxy", "found 'proxy', expected an operator"),
        ("app=a b", "found 'b', expected ','"),
        ("app=a=b", "found '=', expected ','"),
        ("app in proxy", "found 'proxy', expected '('"),
        ("app in (a", "found the end, expected ',' or ')'"),
        ("app in (a b)", "found 'b', expected ',' or ')'"),
        ("size>ten", "found 'ten', expected a whole number"),
        ("size>" + "1" * 30, "expected a whole number"),
        ("-app", "'-app' is no label key"),
        ("a/b/c=x", "'a/b/c' is no label key"),
        ("UPPER.com/name", "is no label key"),
        ("app=-x", "'-x' is no label value"),
        ("app=" + "x" * 64, "is no label value"),
    ],
)
def test_a_text_that_is_no_selector(text, problem):
    with pytest.raises(ValueError) as caught:
        parse_selector(text)
    assert problem in str(caught.value)


@given(st.text(max_size=40), st.dictionaries(st.text(max_size=5), st.text(max_size=5)))
def test_any_text_is_a_selector_or_a_problem(text, labels):
    try:
        selector = parse_selector(text)
    except ValueError:
        return
    assert selector.matches(labels) in (True, False)


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("k8s-app=konnectivity-server", {"k8s-app": "konnectivity-server"}),
        (" a = b , c=d ", {"a": "b", "c": "d"}),
        ("a=", {"a": ""}),
    ],
)
def test_labels(text, labels):
    assert parse_labels(text) == labels
    assert parse_labels(format_labels(labels)) == labels


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "'' is not of the form key=value"),
        ("a", "'a' is not"),
        ("a=b=c", "'a=b=c' is not"),
        ("a=b,", "'' is not"),
        ("=b", "'' is no label key"),
        ("a=b c", "'b c' is no label value"),
    ],
)
def test_a_text_that_is_no_labels(text, problem):
    with pytest.raises(ValueError) as caught:
        parse_labels(text)
    assert problem in str(caught.value)
