"""Answers of the Kubernetes API, and their parsing."""

from __future__ import annotations

import json

import pytest

from konnectivity.kube import api_answers
from konnectivity.kube.api_answers import ApiStatus, PodPlace, Review

STATUS = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}


def encoded(content):
    return json.dumps(content).encode()


def test_a_review_of_a_good_token():
    user = {"username": "me", "uid": "1", "extra": {"node": ["a", "b"]}}
    status = {"authenticated": True, "user": user, "audiences": ["x"]}
    found = api_answers.review(encoded({"status": status}))
    assert found == Review(True, "me", ("x",), "", {"node": ("a", "b")}, "1")


def test_a_review_of_a_bad_token():
    assert api_answers.review(encoded({"status": {"error": "no"}})) == Review(False, "", (), "no", {}, "")
    assert api_answers.review(b"{}") == Review(False, "", (), "", {}, "")


@pytest.mark.parametrize(
    "status", [{"authenticated": "true"}, {"user": []}, {"user": {"extra": {"x": "y"}}}, {"audiences": "x"}, 5]
)
def test_a_review_with_wrong_types_is_refused(status):
    with pytest.raises(ValueError, match="expected"):
        api_answers.review(encoded({"status": status}))


def test_a_pod_with_all_its_addresses_once():
    status = {"hostIP": "1", "podIP": "2", "hostIPs": [{"ip": "1"}, {"ip": "3"}], "podIPs": [{"ip": "2"}, {}]}
    pod = {"metadata": {"uid": "u"}, "spec": {"nodeName": "n"}, "status": status}
    assert api_answers.pod_place(encoded(pod)) == PodPlace("u", "n", ("1", "2", "3"))
    with pytest.raises(ValueError, match=r"metadata\.uid is missing"):
        api_answers.pod_place(b"{}")


def test_a_list_of_leases_has_a_version():
    items = [{"metadata": {"name": name}} for name in ("a", "b")]
    leases, version = api_answers.lease_list(encoded({"metadata": {"resourceVersion": "7"}, "items": items}))
    assert ([each.lease.name for each in leases], version) == (["a", "b"], "7")
    with pytest.raises(ValueError, match=r"metadata\.resourceVersion is missing"):
        api_answers.lease_list(encoded({"items": []}))


def test_events_of_a_watch():
    event = api_answers.event(encoded({"type": "ADDED", "object": {"metadata": {"name": "a", "resourceVersion": "8"}}}))
    assert (event.kind, event.stored.lease.name, event.stored.version) == ("ADDED", "a", "8")
    assert api_answers.event(encoded({"type": "ERROR", "object": STATUS})) == ApiStatus(410, "Expired", "too old")
    for line in (b"{}", b'{"type": "ADDED"}', b'{"type": 5, "object": {}}', b"nonsense"):
        with pytest.raises(ValueError):
            api_answers.event(line)


def test_a_refusal_has_the_code_of_the_answer_and_the_words_of_the_api():
    assert api_answers.refusal(encoded(STATUS), 409, "Conflict") == ApiStatus(409, "Expired", "too old")
    assert api_answers.refusal(b"<html>", 502, "Bad Gateway") == ApiStatus(502, "Bad Gateway", "")
    assert api_answers.refusal(b'{"code": "x"}', 502, "Bad Gateway") == ApiStatus(502, "Bad Gateway", "")
