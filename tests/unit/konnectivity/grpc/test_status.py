"""Statuses of calls, and their form on the wire."""

from __future__ import annotations

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from konnectivity.grpc import status as statuses
from konnectivity.grpc.status import OK, Code, RpcError, Status, decode_message, encode_message
from konnectivity.http2 import ErrorCode
from konnectivity.http2.header_rules import check_trailers

encodable = st.text(st.characters(exclude_categories=["Cs"]), max_size=85)  # at most 12 bytes each, encoded


def test_codes_are_those_of_grpc() -> None:
    assert {code.name: int(code) for code in Code} == {code.name: code.value[0] for code in grpc.StatusCode}


def test_a_status_as_text() -> None:
    assert (str(OK), OK.ok) == ("OK", True)
    refused = Status(Code.UNAVAILABLE, "no agent")
    assert (str(refused), refused.ok) == ("UNAVAILABLE: no agent", False)
    error = RpcError(Code.NOT_FOUND, "what?")
    assert (str(error), error.status) == ("NOT_FOUND: what?", Status(Code.NOT_FOUND, "what?"))


@given(encodable)
def test_any_message_arrives(message: str) -> None:
    assert decode_message(encode_message(message)) == message


@given(
    st.sampled_from(["a", " ", "%", "ä", "€", "\U0001f600", "\udc80"]),
    st.text(" a€\U0001f600", max_size=3),
    st.integers(0, 2000),
)
def test_a_long_message_is_cut_between_two_characters(repeated: str, start: str, count: int) -> None:
    message = start + repeated * count
    encoded = encode_message(message)
    assert len(encoded) <= statuses.MAX_MESSAGE
    check_trailers([("grpc-message", encoded)])
    decoded, expected = decode_message(encoded), message.encode("utf-8", "replace").decode()
    assert decoded == expected or (decoded.endswith("...") and expected.startswith(decoded[:-3]))
    if repeated != " ":  # a space takes three bytes at the end of a message
        assert decoded == expected or len(encoded) > statuses.MAX_MESSAGE - 15, "cut shorter than needed"


@pytest.mark.parametrize("value", ["a" * 5000, "%F0%9F%98%80" * 500, "\U0001f600" * 2000, "%" * 5000, "%ff" * 5000])
def test_a_long_message_of_a_peer_is_cut(value: str) -> None:
    decoded = decode_message(value)
    assert len(decoded.encode()) <= statuses.MAX_MESSAGE
    assert decoded.endswith("…")


@given(st.text() | st.text(" a", min_size=1))
def test_any_message_is_a_header(message: str) -> None:
    encoded = encode_message(message)
    check_trailers([("grpc-message", encoded)])
    assert encoded.isascii()
    assert encoded.isprintable()


@pytest.mark.parametrize(
    ("message", "encoded"),
    [
        ("", ""),
        ("no agent: 100 % sure, 'really'/~", "no agent: 100 %25 sure, 'really'/~"),
        ("ä\n\x7f", "%C3%A4%0A%7F"),
        (" a  b ", "%20a  b%20"),
        ("   ", "%20%20%20"),
        ("\udc80", "?"),
    ],
)
def test_messages(message: str, encoded: str) -> None:
    assert encode_message(message) == encoded


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126)))
def test_any_header_is_a_message(value: str) -> None:
    decoded = decode_message(value)
    if "%" not in value:
        assert decoded == value


@pytest.mark.parametrize(
    ("value", "message"),
    [("100%", "100%"), ("%zz%41", "%zzA"), ("%C3%A4 %c3%a4", "ä ä"), ("%ff", "\ufffd"), ("ä", "ä")],
)
def test_what_is_not_valid_stays(value: str, message: str) -> None:
    assert decode_message(value) == message


@given(st.sampled_from(Code), encodable)
def test_trailers(code: Code, message: str) -> None:
    trailers = [("grpc-status", str(int(code))), ("grpc-message", encode_message(message))]
    assert statuses.from_trailers(trailers) == Status(code, message)


def test_trailers_without_a_message() -> None:
    assert statuses.from_trailers([(":status", "200"), ("grpc-status", "0")]) == OK


@pytest.mark.parametrize("number", ["17", "-1", "", "x", "1_0", "٣"])
def test_a_status_that_grpc_does_not_know(number: str) -> None:
    assert statuses.from_trailers([("grpc-status", number), ("grpc-message", "odd")]) == Status(Code.UNKNOWN, "odd")


@pytest.mark.parametrize(
    ("http", "code"),
    [
        ("400", Code.INTERNAL),
        ("401", Code.UNAUTHENTICATED),
        ("403", Code.PERMISSION_DENIED),
        ("404", Code.UNIMPLEMENTED),
        ("429", Code.UNAVAILABLE),
        ("502", Code.UNAVAILABLE),
        ("503", Code.UNAVAILABLE),
        ("504", Code.UNAVAILABLE),
        ("200", Code.UNKNOWN),
        ("500", Code.UNKNOWN),
    ],
)
def test_an_answer_that_is_not_grpc(http: str, code: Code) -> None:
    """An HTTP status becomes the gRPC status of the document "HTTP to gRPC Status Code Mapping"."""
    assert statuses.from_trailers([(":status", http)]) == Status(
        code, f"the peer is not a gRPC server: HTTP status {http}"
    )
    assert statuses.from_trailers([]).message == "the peer is not a gRPC server: HTTP status missing"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ErrorCode.CANCEL, Code.CANCELLED),
        (ErrorCode.REFUSED_STREAM, Code.UNAVAILABLE),
        (ErrorCode.ENHANCE_YOUR_CALM, Code.RESOURCE_EXHAUSTED),
        (ErrorCode.INADEQUATE_SECURITY, Code.PERMISSION_DENIED),
        (ErrorCode.NO_ERROR, Code.INTERNAL),
        (ErrorCode.PROTOCOL_ERROR, Code.INTERNAL),
        (0x1234, Code.INTERNAL),
    ],
)
def test_a_reset(error: int, code: Code) -> None:
    """A reset becomes the gRPC status of the document "PROTOCOL-HTTP2", section "Errors"."""
    assert statuses.from_reset(error, "why") == Status(code, "why", not_begun=error == ErrorCode.REFUSED_STREAM)
