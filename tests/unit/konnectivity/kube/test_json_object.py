"""Fields of JSON objects: read by type, or refused with the path of the field and without its value."""

from __future__ import annotations

import datetime

import pytest

from konnectivity.kube.json_object import JsonObject, decode

FULL = decode(
    b'{"text": "a", "flag": true, "count": 3, "part": 2.5, "list": ["x", "y"], "none": null,'
    b' "map": {"k": "v"}, "items": [{"name": "one"}, {"name": "two"}]}'
)


def test_each_field_is_read_by_its_type():
    assert (FULL.text("text"), FULL.flag("flag"), FULL.integer("count"), FULL.number("part")) == ("a", True, 3, 2.5)
    assert (FULL.texts("list"), FULL.text_map("map")) == (("x", "y"), {"k": "v"})
    assert [each.text("name") for each in FULL.objects("items")] == ["one", "two"]


@pytest.mark.parametrize("name", ["none", "absent"])
def test_a_field_that_is_absent_or_null_is_empty(name):
    assert name not in FULL
    assert (FULL.text(name), FULL.flag(name), FULL.integer(name), FULL.number(name)) == ("", False, None, None)
    assert (FULL.texts(name), FULL.objects(name), FULL.text_map(name)) == ((), [], {})
    with pytest.raises(ValueError, match=f"^{name} is missing$"):
        FULL.required_text(name)


@pytest.mark.parametrize(
    ("read", "words"),
    [
        (lambda each: each.text("secret"), "secret: expected a string, found an integer"),
        (lambda each: each.flag("secret"), "secret: expected a boolean, found an integer"),
        (lambda each: each.object("secret"), "secret: expected an object, found an integer"),
        (lambda each: each.texts("secret"), "secret: expected a list, found an integer"),
        (lambda each: each.number("yes"), "yes: expected a number, found a boolean"),
        (lambda each: each.integer("yes"), "yes: expected an integer of 64 bits"),
        (lambda each: each.integer("huge"), "huge: expected an integer of 64 bits"),
        (lambda each: each.integer("part"), "part: expected an integer, found a number"),
        (lambda each: each.texts("mixed"), r"mixed\[1\]: expected a string, found an object"),
        (lambda each: each.objects("mixed"), r"mixed\[0\]: expected an object, found a string"),
        (lambda each: each.object("deep").text("at"), r"deep\.at: expected a string, found a date"),
    ],
)
def test_a_field_of_another_type_is_refused_with_its_path_and_without_its_value(read, words):
    fields = {"secret": 4711, "yes": True, "huge": 2**63, "part": 1.5, "mixed": ["a", {}]}
    found = JsonObject({**fields, "deep": {"at": datetime.date(2026, 1, 1)}})
    with pytest.raises(ValueError, match=f"^{words}$") as caught:
        read(found)
    assert "4711" not in str(caught.value)


@pytest.mark.parametrize("text", [b"", b"{", b"\xff", b"[]", b'"x"', b"3", b"[" * 100_000, b'{"a": ' * 100_000])
def test_what_is_no_object_is_refused(text):
    with pytest.raises(ValueError):
        decode(text)


def test_numbers_that_are_not_finite_count_as_absent():
    assert decode(b'{"a": 1e999, "b": NaN}').number("a") is None
    assert decode(b'{"a": 1e999, "b": NaN}').number("b") is None
