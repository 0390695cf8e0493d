"""Test API, called by a plain HTTPS client: it answers as the real one does."""

from __future__ import annotations

import http.client
import json
import ssl
import threading
import time

import pytest

from support import kubernetes_api
from support.kubernetes_api import KubernetesApi

LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases"
REVIEWS = "/apis/authentication.k8s.io/v1/tokenreviews"


@pytest.fixture
def api(tmp_path):
    before = set(threading.enumerate())
    with KubernetesApi(tmp_path) as api:
        yield api
    assert [each.name for each in threading.enumerate() if each not in before] == []


class Caller:
    """Connection to the API."""

    def __init__(self, api, token="caller-token", identity=None):
        context = ssl.create_default_context(cafile=str(api.ca_file))
        if identity:
            context.load_cert_chain(*identity)
        self.headers = {"Authorization": f"Bearer {token}"} if token else {}
        self.connection = http.client.HTTPSConnection("127.0.0.1", api.port, context=context, timeout=5)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.connection.close()

    def send(self, method, path, body=None):
        self.connection.request(method, path, None if body is None else json.dumps(body), self.headers)
        return self.connection.getresponse()

    def ask(self, method, path, body=None):
        response = self.send(method, path, body)
        return response.status, json.loads(response.read())


def lease(name, **labels):
    return {"metadata": {"name": name, "labels": labels}, "spec": {"leaseDurationSeconds": 30}}


def review(caller, token, *audiences):
    status, answer = caller.ask("POST", REVIEWS, {"spec": {"token": token, "audiences": list(audiences)}})
    assert status == 201
    return answer["status"]


def test_tokens_are_reviewed_for_an_audience(api):
    api.add_token("good", "system:serviceaccount:kube-system:agent", "konnectivity", "other")
    with Caller(api) as caller:
        assert review(caller, "good", "konnectivity", "elsewhere") == {
            "authenticated": True,
            "user": {"username": "system:serviceaccount:kube-system:agent"},
            "audiences": ["konnectivity"],
        }
        assert "invalid bearer token" in review(caller, "good", "elsewhere")["error"]
        assert "invalid bearer token" in review(caller, "bad", "konnectivity")["error"]
        api.objects.audience_aware = False
        assert "audiences" not in review(caller, "good", "elsewhere")
    assert api.requests == {"tokenreviews": 4}


def test_callers_are_known_by_token_or_certificate(api, tmp_path):
    with Caller(api) as caller:
        assert caller.ask("GET", LEASES)[0] == 200
    for token in ("", "unknown"):
        with Caller(api, token) as caller:
            assert caller.ask("GET", LEASES)[0] == 401
    identity = api.authority.issue("proxy", client=True).write(tmp_path, "proxy")
    with Caller(api, token="", identity=identity) as caller:
        assert caller.ask("GET", LEASES)[0] == 200
    assert api.seen_by == {"system:konnectivity-server": 1, "proxy": 1}


def test_a_lease_from_its_making_to_its_end(api):
    with Caller(api) as caller:
        assert caller.ask("GET", f"{LEASES}/a")[0] == 404
        status, made = caller.ask("POST", LEASES, lease("a", app="x"))
        assert (status, made["metadata"]["namespace"]) == (201, "kube-system")
        assert caller.ask("POST", LEASES, lease("a"))[1]["reason"] == "AlreadyExists"
        assert caller.ask("GET", f"{LEASES}/a") == (200, made)
        assert [each["metadata"]["name"] for each in caller.ask("GET", LEASES)[1]["items"]] == ["a"]
        assert caller.ask("GET", f"{LEASES}?labelSelector=app%3Dy")[1]["items"] == []

        status, updated = caller.ask("PUT", f"{LEASES}/a", made)
        assert int(updated["metadata"]["resourceVersion"]) > int(made["metadata"]["resourceVersion"])
        assert caller.ask("PUT", f"{LEASES}/a", made)[1]["reason"] == "Conflict"

        for key in ("resourceVersion", "uid"):
            stale = {"preconditions": {key: "1"}}
            assert caller.ask("DELETE", f"{LEASES}/a", stale)[0] == 409
        fresh = {"preconditions": {"resourceVersion": updated["metadata"]["resourceVersion"]}}
        assert caller.ask("DELETE", f"{LEASES}/a", fresh)[0] == 200
        assert caller.ask("DELETE", f"{LEASES}/a")[0] == 404


def test_a_watch_tells_what_happens_and_marks_when_nothing_does(api):
    api.bookmark_interval_s = 0.1
    with Caller(api) as caller, Caller(api) as watcher:
        version = caller.ask("GET", LEASES)[1]["metadata"]["resourceVersion"]
        query = f"?watch=true&resourceVersion={version}&timeoutSeconds=1&allowWatchBookmarks=true&labelSelector=app"
        stream = watcher.send("GET", LEASES + query)
        caller.ask("POST", LEASES, lease("a", app="x"))
        caller.ask("POST", LEASES, lease("other"))
        caller.ask("DELETE", f"{LEASES}/a")
        events = [json.loads(line) for line in stream]
    kinds = [event["type"] for event in events]
    assert kinds[:2] == ["ADDED", "DELETED"]
    assert set(kinds[2:]) == {"BOOKMARK"}
    assert events[-1]["object"]["metadata"]["resourceVersion"] == str(api.objects.version)


def test_a_watch_from_too_long_ago_is_gone(api):
    with Caller(api) as caller:
        version = caller.ask("GET", LEASES)[1]["metadata"]["resourceVersion"]
        api.objects.forget()
        (line,) = caller.send("GET", f"{LEASES}?watch=true&resourceVersion={version}")
    event = json.loads(line)
    assert (event["type"], event["object"]["code"]) == ("ERROR", 410)


def test_faults(api):
    api.fail(kubernetes_api.LIST, 429, retry_after_s=3, times=1)
    with Caller(api) as caller:
        response = caller.send("GET", LEASES)
        assert (response.status, response.getheader("Retry-After")) == (429, "3")
        assert json.loads(response.read())["reason"] == "TooManyRequests"
        assert caller.ask("GET", LEASES)[0] == 200
        api.fail(kubernetes_api.LIST, delay_s=0.2)
        before = time.monotonic()
        assert caller.ask("GET", LEASES)[0] == 200
        assert time.monotonic() - before >= 0.2
        api.fail(kubernetes_api.LIST, half=True)
        with pytest.raises(http.client.IncompleteRead):
            caller.send("GET", LEASES).read()


def test_down_and_up_again_on_the_same_port(api):
    with Caller(api) as caller:
        assert caller.ask("GET", LEASES)[0] == 200
        api.down()
    with Caller(api) as caller, pytest.raises(ConnectionRefusedError):
        caller.ask("GET", LEASES)
    api.up()
    with Caller(api) as caller:
        assert caller.ask("GET", LEASES)[0] == 200


def test_a_kubeconfig_for_it(api, tmp_path):
    content = json.loads(api.kubeconfig(tmp_path / "config").read_text())
    assert content["clusters"][0]["cluster"]["server"] == f"https://127.0.0.1:{api.port}"
    assert content["current-context"] == "test"
