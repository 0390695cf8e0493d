"""Reasons of failed handshakes: one word for the metric, one sentence for a person."""

from __future__ import annotations

import ssl

import pytest

from konnectivity.tls import handshake_failures
from konnectivity.tls.handshake_failures import REASONS, alert_of, of_client, of_peer


def failure(reason):
    error = ssl.SSLError(1, f"[SSL: {reason}] x")
    error.reason = reason
    return error


def refused(code):
    error = ssl.SSLCertVerificationError(1, "x")
    error.verify_code, error.verify_message = code, "words of OpenSSL"
    return error


@pytest.mark.parametrize(
    ("reason", "word"),
    [
        ("PEER_DID_NOT_RETURN_A_CERTIFICATE", "no_certificate"),
        ("TLSV1_ALERT_UNKNOWN_CA", "refused_by_peer"),
        ("HTTP_REQUEST", "not_tls"),
        ("NO_SHARED_CIPHER", "nothing_in_common"),
        ("SOMETHING_NEW", handshake_failures.OTHER),
    ],
)
def test_a_failed_handshake_of_a_client_has_a_reason_of_the_list(reason, word):
    found = of_client(failure(reason))
    assert found.reason == word
    assert found.reason in REASONS
    assert found.text


@pytest.mark.parametrize(
    ("code", "word"), [(10, "expired"), (9, "not_yet_valid"), (18, "unknown_authority"), (26, "wrong_purpose")]
)
def test_a_certificate_that_is_not_accepted_has_the_words_of_openssl(code, word):
    assert of_client(refused(code)) == (word, "its certificate is not accepted: words of OpenSSL")
    assert of_client(refused(62)).reason == "bad_certificate"


def test_the_alert_of_a_peer_is_told_with_what_to_do():
    error = failure("TLSV13_ALERT_CERTIFICATE_REQUIRED")
    assert alert_of(error) == "certificate required"
    assert of_peer(error) == "the other side ended TLS: certificate required (give this program a client certificate)"
    assert of_peer(failure("SSLV3_ALERT_SOMETHING_NEW")) == "the other side ended TLS: something new"


@pytest.mark.parametrize("error", [None, ConnectionResetError(), failure("NO_SHARED_CIPHER"), ssl.SSLError(1, "x")])
def test_what_is_no_alert_is_none(error):
    assert (alert_of(error), of_peer(error)) == (None, None)
