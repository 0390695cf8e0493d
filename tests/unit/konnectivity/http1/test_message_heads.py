"""Heads of HTTP/1 requests in a stream of bytes."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from konnectivity.http1.message_heads import HeadError, HeadFault, Heads, ResponseHeads, status_line_of

HEADS = [
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET / HTTP/1.1\nHost: x\n\n",
    b"GET / HTTP/1.1\r\nHost: x\n\r\n",
    b"GET / HTTP/1.1\nHost: x\r\n\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\n\n",
]


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_a_head_ends_with_an_empty_line_however_it_arrives(head, size):
    heads = Heads(1000)
    sent = head + b"body"
    taken = None
    for at in range(0, len(sent), size):
        heads.feed(sent[at : at + size])
        taken = taken or heads.take()
    assert taken == head
    assert heads.rest() == b"body"


@given(
    sent=st.lists(st.sampled_from(HEADS), max_size=4),
    rest=st.sampled_from([b"", b"hello", b"CONN"]),
    cuts=st.lists(st.integers(0, 400)),
)
def test_heads_come_out_whole_whatever_the_cuts(sent, rest, cuts):
    data = b"".join(sent) + rest
    heads, found, before = Heads(1000), [], 0
    for cut in [*sorted(cut for cut in cuts if cut < len(data)), len(data)]:
        heads.feed(data[before:cut])
        while (head := heads.take()) is not None:
            found.append(head)
        before = cut
    assert found == sent
    assert heads.rest() == rest
    assert heads.rest() == b""


def test_heads_come_one_by_one():
    heads = Heads(100, b"".join(HEADS))
    assert [heads.take() for _ in HEADS] == HEADS
    assert heads.take() is None
    assert len(heads) == 0


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01",
        b"\r\n",
        b"\n",
        b" ",
        b"GET\r\n",
        b"GET / HTTP/x\r\n",
        b"GET /\n",
        b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n",
        b"1",
    ],
)
def test_what_is_no_http_is_seen_at_its_first_line(sent):
    with pytest.raises(HeadError) as caught:
        Heads(1000, sent).take()
    assert caught.value.fault is HeadFault.NOT_HTTP


@pytest.mark.parametrize("sent", [b"G", b"GET / HTTP/1.1", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: x\r\n"])
def test_a_head_that_is_not_whole_is_waited_for(sent):
    assert Heads(1000, sent).take() is None


@pytest.mark.parametrize("end", [b"", b"\r\n\r\n"])
def test_a_head_has_a_size(end):
    with pytest.raises(HeadError) as caught:
        Heads(1000, b"GET / HTTP/1.1\r\nx: " + b"a" * 1000 + end).take()
    assert caught.value.fault is HeadFault.TOO_LARGE


def test_a_head_has_a_number_of_lines():
    with pytest.raises(HeadError) as caught:
        Heads(1000, b"GET / HTTP/1.1\r\n" + b"a:\r\n" * 20 + b"\r\n", most_lines=20).take()
    assert caught.value.fault is HeadFault.TOO_LARGE
    assert Heads(1000, b"GET / HTTP/1.1\r\n" + b"a:\r\n" * 18 + b"\r\n", most_lines=20).take()


@pytest.mark.parametrize("first", [b"GET /", b"GET / HTTP/1.1\r\nx: "])
def test_a_head_byte_by_byte_takes_linear_time(first):
    def seconds(count):
        heads = Heads(1 << 20, first)
        began = time.process_time()
        for _ in range(count):
            heads.feed(b"a")
            heads.take()
        return time.process_time() - began

    assert seconds(200_000) < 20 * seconds(20_000) + 0.1


@pytest.mark.parametrize("size", [1, 5, 1000])
def test_the_head_of_a_response_is_taken_and_what_follows_stays(size: int) -> None:
    heads, sent, taken = ResponseHeads(1000), b"HTTP/1.1 200 OK\r\nA: b\r\n\r\nrest", None
    for at in range(0, len(sent), size):
        heads.feed(sent[at : at + size])
        taken = taken or heads.take()
    assert taken == sent[:-4]
    assert heads.rest() == b"rest"


@pytest.mark.parametrize("data", [b"S", b"HTTQ", b"HTTP/2", b"HTTP/1.1 2000 x\r\n", b"HTTP/1.1\r\n", b"\r\n"])
def test_what_is_no_response_is_refused_at_the_first_byte_that_shows_it(data: bytes) -> None:
    heads = ResponseHeads(1000)
    heads.feed(data)
    with pytest.raises(HeadError) as caught:
        heads.take()
    assert caught.value.fault is HeadFault.NOT_HTTP


@pytest.mark.parametrize(
    ("head", "status", "reason"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", 200, "OK"),
        (b"HTTP/1.0 407 Proxy Authentication Required\n\n", 407, "Proxy Authentication Required"),
        (b"HTTP/1.1 204\r\n\r\n", 204, ""),
        (b"HTTP/1.1 500 \r\n\r\n", 500, ""),
        (b"HTTP/1.1 500 f\xfcr\r\n\r\n", 500, "f\xfcr"),
    ],
)
def test_a_status_line_has_a_status_and_perhaps_a_reason(head: bytes, status: int, reason: str) -> None:
    assert status_line_of(head) == (status, reason)


@pytest.mark.parametrize(
    "head", [b"", b"HTTP/1.1 20 OK\r\n", b"HTTP/1.1 2OO OK\r\n", b"HTTP/1.1 200OK\r\n", b"GET / HTTP/1.1\r\n"]
)
def test_another_line_is_no_status_line(head: bytes) -> None:
    assert status_line_of(head) is None
