"""Requests as handlers see them, and responses that requests share."""

from __future__ import annotations

import math
from time import monotonic

from konnectivity.http1.handlers import Request, Response, shared, text


def test_keys_of_the_query_are_found_with_a_value_or_without() -> None:
    request = Request("GET", "/", "verbose&worker=1&worker=2&empty=")
    assert request.asks("verbose")
    assert request.asks("empty")
    assert not request.asks("verb")
    assert (request.value("worker"), request.value("none", "default")) == ("1", "default")


def test_headers_that_are_missing_are_empty() -> None:
    assert (Request("GET", "/", "").host, Request("GET", "/", "").known) == ("", "")
    request = Request("GET", "/", "", {"host": "a:1", "if-none-match": '"x"'})
    assert (request.host, request.known) == ("a:1", '"x"')


def test_a_text_says_its_type_and_that_no_other_is_to_be_guessed() -> None:
    answer = text("no\n", 404)
    assert (answer.status, answer.body) == (404, b"no\n")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_requests_that_arrived_before_a_response_was_made_share_it() -> None:
    made: list[Response] = []

    def make(request: Request) -> Response:
        made.append(text(str(len(made))))
        return made[-1]

    handler = shared(make)
    early = monotonic()
    first = handler(Request("GET", "/", "", arrived=early))
    assert handler(Request("GET", "/", "", arrived=early)) is first
    assert handler(Request("GET", "/", "", arrived=math.inf)) is not first
    assert len(made) == 2


def test_a_response_is_made_again_for_another_key() -> None:
    handler = shared(lambda request: text(request.query), key=lambda request: request.query)
    early = monotonic()
    bodies = [handler(Request("GET", "/", query, arrived=early)).body for query in ("a", "b", "b", "a")]
    assert bodies == [b"a", b"b", b"b", b"a"]
