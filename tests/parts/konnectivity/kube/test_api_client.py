"""API client against a real HTTPS server: every way to log in, every answer, and no answer."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import socket
import subprocess
import sys
import tempfile
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from time import monotonic

import pytest

from konnectivity import kube
from konnectivity.kube import KubeError, kubeconfig
from konnectivity.kube.api_client import KubeClient
from konnectivity.kube.json_object import JsonObject
from konnectivity.kube.kubeconfig_files import EXEC_VERSIONS
from konnectivity.kube.lease_objects import StoredLease, renewed
from konnectivity.testing.deployment import free_port
from konnectivity.tool.pki.authority import Authority
from support import kubernetes_api
from support.kubernetes_api import KubernetesApi

NAMESPACE = "kube-system"
LABELS = {"k8s-app": "konnectivity-server"}


@asynccontextmanager
async def client_of(api, *, qps=-1.0, burst=0, timeout_s=5.0, check_interval_s=5.0, **config):
    path = api.kubeconfig(api.directory / "kubeconfig", **config)
    async with KubeClient(kubeconfig.load(str(path)), qps, burst, timeout_s, check_interval_s) as client:
        yield client


def fresh(name="a", now=None):
    return renewed(None, NAMESPACE, name, name, LABELS, 30, now or datetime.now(UTC))


def changed(lease, spec=None, **metadata):
    """Return a lease with other metadata, and with more in its spec."""
    content = lease.content
    more = {"metadata": {**content["metadata"], **metadata}, "spec": {**content["spec"], **(spec or {})}}
    return StoredLease.read(JsonObject({**content, **more}))


async def refusal(waiting) -> KubeError:
    with pytest.raises(KubeError) as caught:
        await waiting
    return caught.value


def encoded(data):
    return base64.b64encode(data).decode()


# ---- what it asks ---------------------------------------------------------------------------------------------------


async def test_a_token_is_reviewed(api):
    api.add_token("good", "system:serviceaccount:kube-system:agent", "konnectivity")
    async with client_of(api) as client:
        review = await client.review_token("good", "konnectivity")
        assert review == (True, "system:serviceaccount:kube-system:agent", ("konnectivity",), "", {}, "")
        review = await client.review_token("bad", "konnectivity")
        assert (review.authenticated, review.error) == (False, "[invalid bearer token, unknown token]")


async def test_an_event_is_created_in_its_namespace(api):
    async with client_of(api) as client:
        await client.create_event("default", {"kind": "Event", "message": "why"})
        assert api.events == [{"kind": "Event", "message": "why"}]
        api.fail("events.create", 403)
        with pytest.raises(KubeError) as refused:
            await client.create_event("default", {"kind": "Event"})
        assert refused.value.code == 403


async def test_a_lease_from_its_making_to_its_end(api):
    async with client_of(api) as client:
        assert (await refusal(client.get_lease(NAMESPACE, "a"))).code == 404
        made = await client.create_lease(NAMESPACE, fresh())
        assert (await refusal(client.create_lease(NAMESPACE, fresh()))).reason == "AlreadyExists"
        assert (await client.get_lease(NAMESPACE, "a")).lease == made.lease
        assert made.lease.valid(datetime.now(UTC))

        await client.replace_lease(NAMESPACE, renewed(made, NAMESPACE, "a", "a", {"other": "x"}, 30, datetime.now(UTC)))
        assert (await refusal(client.replace_lease(NAMESPACE, changed(made, resourceVersion="1")))).reason == "Conflict"
        (found,), _ = await client.list_leases(NAMESPACE, {"other": "x"})
        assert (await client.list_leases(NAMESPACE, LABELS))[0] == []

        conflict = await refusal(client.delete_lease(NAMESPACE, "a", "1"))
        assert (conflict.code, conflict.reason) == (409, "Conflict")
        await client.delete_lease(NAMESPACE, "a", found.version)
        assert (await refusal(client.delete_lease(NAMESPACE, "a", "1"))).code == 404


async def test_a_renewed_lease_keeps_what_others_wrote(api):
    async with client_of(api) as client:
        seen = changed(fresh(), annotations={"note": "by a person"}, spec={"leaseTransitions": 3, "strategy": "new"})
        stored = await client.create_lease(NAMESPACE, seen)
        await client.replace_lease(
            NAMESPACE, renewed(stored, NAMESPACE, "a", "a", {"new": "label"}, 30, datetime.now(UTC))
        )
        after = await client.get_lease(NAMESPACE, "a")
        assert after.content["metadata"]["annotations"] == {"note": "by a person"}
        assert after.lease.labels == {"new": "label"}
        assert (after.content["spec"]["leaseTransitions"], after.content["spec"]["strategy"]) == (3, "new")


async def test_a_full_second_is_written_as_the_api_wants_it(api):
    async with client_of(api) as client:
        stored = await client.create_lease(NAMESPACE, fresh(now=datetime(2026, 1, 1, tzinfo=UTC)))
        assert stored.renew_time == datetime(2026, 1, 1, tzinfo=UTC)


async def test_a_watch_tells_what_happens_and_ends(api):
    api.bookmark_interval_s = 0.2
    async with client_of(api) as client:
        _, version = await client.list_leases(NAMESPACE)
        seen = []
        async with client.watch_leases(NAMESPACE, version, 2) as events:
            stored = await client.create_lease(NAMESPACE, fresh())
            await client.delete_lease(NAMESPACE, "a", stored.version)
            async for event in events:
                seen.append(event)
        told = [event for event in seen if event.kind != "BOOKMARK"]  # bookmarks arrive during pauses
        assert [event.kind for event in told] == ["ADDED", "DELETED"]
        assert seen[-1].kind == "BOOKMARK"
        assert told[0].stored.lease == stored.lease
        assert seen[-1].stored.version == str(api.objects.version)


async def test_odd_characters_in_a_watched_lease(api):
    async with client_of(api) as client:
        _, version = await client.list_leases(NAMESPACE)
        odd = changed(fresh(), annotations={"note": "\u2028 \x85 \x1c \n"})
        async with client.watch_leases(NAMESPACE, version, 5) as events:
            await client.create_lease(NAMESPACE, odd)
            assert (await anext(events)).kind == "ADDED"


async def test_a_watch_from_too_long_ago(api):
    async with client_of(api) as client:
        _, version = await client.list_leases(NAMESPACE)
        api.objects.forget()
        with pytest.raises(KubeError) as caught:
            async with client.watch_leases(NAMESPACE, version, 5) as events:
                await anext(events)
        assert caught.value.code == 410
        api.fail(kubernetes_api.WATCH, 410)
        with pytest.raises(KubeError) as caught:
            async with client.watch_leases(NAMESPACE, version, 5):
                pass
        assert caught.value.code == 410


# ---- how it gets there ----------------------------------------------------------------------------------------------


async def test_a_client_certificate_from_the_kubeconfig_never_touches_a_disk(api, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere")
    identity = api.authority.issue("system:konnectivity-server", client=True)
    user = {"client-certificate-data": encoded(identity.cert_pem), "client-key-data": encoded(identity.key_pem)}
    cluster = {"server": api.url, "certificate-authority-data": encoded(api.authority.certificate_pem)}
    async with client_of(api, user=user, cluster=cluster) as client:
        await client.list_leases(NAMESPACE)
    assert api.seen_by == {"system:konnectivity-server": 1}


async def test_a_path_in_the_address_stays(api):
    async with client_of(api, cluster=api.cluster(server=f"{api.url}/clusters/a")) as client:
        assert (await refusal(client.list_leases(NAMESPACE))).code == 404
        assert (await refusal(client.delete_lease(NAMESPACE, "a", "1"))).code == 404
    assert not api.requests


async def test_a_certificate_for_another_name(api):
    with KubernetesApi(api.directory / "other", host="127.0.0.2") as other:
        async with client_of(other) as client:
            error = await refusal(client.list_leases(NAMESPACE))
            assert str(error).startswith(f"{other.url}: its certificate is not trusted: IP address mismatch")
        async with client_of(other, cluster=other.cluster(**{"tls-server-name": "kubernetes"})) as client:
            await client.list_leases(NAMESPACE)
            await refusal(client.delete_lease(NAMESPACE, "a", "1"))
        async with client_of(other, cluster={"server": other.url, "insecure-skip-tls-verify": True}) as client:
            await client.list_leases(NAMESPACE)


async def test_another_authority(api):
    Authority.create("another").write(api.directory / "other")
    cluster = api.cluster(**{"certificate-authority": str(api.directory / "other" / "ca.crt")})
    async with client_of(api, cluster=cluster) as client:
        error = await refusal(client.list_leases(NAMESPACE))
    assert "its certificate is not trusted: " in str(error)
    assert error.reason == "Unreachable"


@pytest.mark.parametrize("order", [("::1", "127.0.0.1"), ("127.0.0.1", "::1")])
async def test_localhost_may_be_an_address_where_nobody_listens(api, monkeypatch, order):
    loop = asyncio.get_running_loop()
    look_up = loop.getaddrinfo

    async def addresses(host, port, **how):
        if host != "localhost":
            return await look_up(host, port, **how)
        return [
            (socket.AF_INET6 if ":" in ip else socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, port)) for ip in order
        ]

    monkeypatch.setattr(loop, "getaddrinfo", addresses)
    async with client_of(api, cluster=api.cluster(server=f"https://localhost:{api.port}")) as client:
        await client.list_leases(NAMESPACE)


async def test_a_token_file_that_changes(api):
    path = api.directory / "token"
    path.write_text("caller-token\n")
    async with client_of(api, user={"tokenFile": "token"}) as client:
        await client.list_leases(NAMESPACE)
        api.callers = {"new-token": "renewed"}
        assert (await refusal(client.list_leases(NAMESPACE))).code == 401
        path.write_text("new-token")
        await client.list_leases(NAMESPACE)
    assert api.seen_by["renewed"] == 1


async def test_a_plugin_is_asked_again_when_its_token_is_refused(api):
    path = api.directory / "plugin-token"
    path.write_text("old")
    code = f"import json; print(json.dumps({{'status': {{'token': open({str(path)!r}).read()}}}}))"
    plugin = {"apiVersion": EXEC_VERSIONS[1], "command": sys.executable, "args": ["-c", code]}
    async with client_of(api, user={"exec": plugin}) as client:
        assert (await refusal(client.list_leases(NAMESPACE))).code == 401
        path.write_text("caller-token")
        await client.list_leases(NAMESPACE)


async def test_certificates_that_change_are_used(api):
    api.authority.issue("first", client=True).write(api.directory, "proxy")
    user = {"client-certificate": "proxy.crt", "client-key": "proxy.key"}
    async with client_of(api, user=user, check_interval_s=0.0) as client:
        await client.list_leases(NAMESPACE)
        (api.directory / "proxy.crt").write_text("half a certifi")
        await client.list_leases(NAMESPACE)
        for name in ("second", "third"):
            api.authority.issue(name, client=True).write(api.directory, "proxy")
            await client.list_leases(NAMESPACE)
    assert api.seen_by == {"first": 2, "second": 1, "third": 1}


@pytest.mark.parametrize(
    ("cluster", "user", "problem"),
    [
        ({"certificate-authority": "none.crt"}, {}, r"cannot read CA bundle '.*/none.crt': No such file"),
        ({"certificate-authority": "kubeconfig"}, {}, r"cannot use CA bundle .*/kubeconfig: "),
        (
            {},
            {"client-certificate": "ca.crt", "client-key": "ca.crt"},
            r"cannot use client certificate .* with client key",
        ),
        ({"proxy-url": "gopher://x"}, {}, r"proxy-url 'gopher://x': "),
    ],
)
async def test_files_that_cannot_be_used_are_told_at_the_start(api, cluster, user, problem):
    with pytest.raises(KubeError, match=problem):
        async with client_of(api, cluster=api.cluster(**cluster), user=user):
            pass


async def test_a_kubeconfig_that_changes_is_used(api):
    api.callers |= {"second-token": "second"}
    api.authority.issue("third", client=True).write(api.directory, "third")
    path = api.directory / "kubeconfig"
    async with client_of(api, user={"token": "caller-token"}, check_interval_s=0.0) as client:
        await client.list_leases(NAMESPACE)
        path.write_text("half a kubeco")
        await client.list_leases(NAMESPACE)
        api.kubeconfig(path, user={"token": "second-token"})
        await client.list_leases(NAMESPACE)
        api.kubeconfig(path, user={"client-certificate": "third.crt", "client-key": "third.key"})
        await client.list_leases(NAMESPACE)
        api.authority.issue("fourth", client=True).write(api.directory, "third")
        await client.list_leases(NAMESPACE)
    assert api.seen_by == {"system:konnectivity-server": 2, "second": 1, "third": 1, "fourth": 1}


async def test_a_kubeconfig_that_names_another_api_is_not_followed(api, tmp_path_factory):
    """Its token is good at the other API alone, and the other API is asked nothing."""
    with KubernetesApi(tmp_path_factory.mktemp("other")) as other:
        other.callers = {"other-token": "stranger"}
        async with client_of(api, check_interval_s=0.0) as client:
            other.kubeconfig(api.directory / "kubeconfig", user={"token": "other-token"})
            await client.list_leases(NAMESPACE)
            assert client.server == api.url
        assert other.requests == {}
    assert api.seen_by == {"system:konnectivity-server": 1}


async def test_connect_takes_the_name_of_a_file(api):
    client = kube.connect(str(api.kubeconfig(api.directory / "config")))
    await client.list_leases(NAMESPACE)
    await client.close()
    with pytest.raises(KubeError, match="cannot read kubeconfig"):
        kube.connect(str(api.directory / "none"))


# ---- what goes wrong ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "reason"),
    [(401, "Unauthorized"), (403, "Forbidden"), (500, "InternalError"), (503, "ServiceUnavailable")],
)
async def test_a_refusal(api, status, reason):
    api.fail(kubernetes_api.LIST, status)
    async with client_of(api) as client:
        error = await refusal(client.list_leases(NAMESPACE))
    assert (error.code, error.reason) == (status, reason)
    assert str(error) == f"{api.url}: {status} {reason}: a test wants {status}"


@pytest.mark.parametrize(
    ("body", "status", "expected"),
    [
        (b"<html>bad gateway</html>", 502, (502, "Bad Gateway")),
        (b"[]", 502, (502, "Bad Gateway")),
        (b"", 500, (500, "Internal Server Error")),
        (b"not json", 200, (0, "Unintelligible")),
        (b'{"items": 5}', 200, (0, "Unintelligible")),
        (b"[]", 200, (0, "Unintelligible")),
        (b'{"items": [{"spec": {"renewTime": "noon"}}]}', 200, (0, "Unintelligible")),
        (b'{"items": []}', 200, (0, "Unintelligible")),
        (b'{"metadata": {}, "items": [{"metadata": {"name": "x"}}]}', 200, (0, "Unintelligible")),
    ],
)
async def test_an_answer_from_something_else(api, body, status, expected):
    api.fail(kubernetes_api.LIST, status, body=body)
    async with client_of(api) as client:
        error = await refusal(client.list_leases(NAMESPACE))
    assert (error.code, error.reason) == expected


@pytest.mark.parametrize("line", [b"not json", b'{"type": "ADDED"}', b'{"type": "ADDED", "object": 5}'])
async def test_a_watch_that_tells_nonsense(api, line):
    api.fail(kubernetes_api.WATCH, 200, body=line + b"\n")
    async with client_of(api) as client:
        with pytest.raises(KubeError) as caught:
            async with client.watch_leases(NAMESPACE, "1", 5) as events:
                await anext(events)
    assert caught.value.reason == "Unintelligible"


async def test_half_an_answer(api):
    api.fail(kubernetes_api.LIST, half=True, times=1)
    async with client_of(api) as client:
        assert (await refusal(client.list_leases(NAMESPACE))).reason == "Unreachable"
        await client.list_leases(NAMESPACE)


async def test_a_slow_answer(api):
    api.fail(kubernetes_api.LIST, delay_s=5.0)
    async with client_of(api, timeout_s=0.4) as client:
        before = monotonic()
        error = await refusal(client.list_leases(NAMESPACE))
        assert monotonic() - before < 2
        assert (error.reason, str(error)) == ("Timeout", f"{api.url}: no answer in 0.4 s")
        api.faults.clear()
        await client.list_leases(NAMESPACE)


async def test_down_and_up_again(api):
    async with client_of(api) as client:
        await client.list_leases(NAMESPACE)
        api.down()
        error = await refusal(client.list_leases(NAMESPACE))
        assert error.reason == "Unreachable"
        assert str(await refusal(client.list_leases(NAMESPACE))) == f"{api.url}: connection refused"
        api.up()
        await client.list_leases(NAMESPACE)


async def test_a_host_that_does_not_exist(api):
    async with client_of(api, cluster={"server": f"https://nowhere.invalid:{free_port()}"}) as client:
        assert (await refusal(client.list_leases(NAMESPACE))).reason == "Unreachable"


# ---- how fast -------------------------------------------------------------------------------------------------------


async def test_a_burst_then_the_rate(api):
    async with client_of(api, qps=20, burst=5) as client:
        before = monotonic()
        await asyncio.gather(*(client.list_leases(NAMESPACE) for _ in range(15)))
        assert monotonic() - before > 0.45


async def test_whoever_gets_no_turn_is_told_so(api):
    async with client_of(api, qps=0.1, burst=1, timeout_s=0.3) as client:
        await client.list_leases(NAMESPACE)
        error = await refusal(client.list_leases(NAMESPACE))
    assert (error.code, error.reason) == (0, "Throttled")
    assert "no turn in 0.3 s: too many requests for --kubeconfig-qps" in str(error)


async def test_the_api_asks_for_a_pause(api):
    api.fail(kubernetes_api.LIST, 429, retry_after_s=1, times=1)
    async with client_of(api) as client:
        error = await refusal(client.list_leases(NAMESPACE))
        assert (error.code, error.retry_after_s) == (429, 1.0)
        before = monotonic()
        await client.list_leases(NAMESPACE)
        assert monotonic() - before > 0.8


async def test_a_request_that_is_given_up_leaves_nothing_behind(api):
    api.fail(kubernetes_api.LIST, delay_s=0.5, times=3)
    async with client_of(api, qps=1000, burst=1) as client:
        waiting = [asyncio.create_task(client.list_leases(NAMESPACE)) for _ in range(3)]
        while api.requests[kubernetes_api.LIST] < len(waiting):  # all are answered late
            await asyncio.sleep(0.01)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        await client.list_leases(NAMESPACE)


async def test_requests_are_not_logged(api, caplog):
    caplog.set_level(logging.INFO)
    async with client_of(api) as client:
        await client.list_leases(NAMESPACE)
    assert caplog.records == []


def test_programs_load_what_they_may_not_need_when_they_need_it():
    code = (
        "import sys, json, konnectivity.kube, konnectivity_server.server_app, konnectivity_agent.agent_app\n"
        "late = ('yaml', 'konnectivity.kube.api_client', 'prometheus_client')\n"
        "print(json.dumps([name for name in late if name in sys.modules]))"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout
    assert json.loads(output) == []
