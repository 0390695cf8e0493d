"""Tests of two extensions of the API that run in a pod: a webhook and an aggregated API."""

from __future__ import annotations

import base64
import json

import pytest

from support.waiting import until

SERVICE = {"namespace": "default", "name": "extension", "port": 443}
RULE = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}


@pytest.fixture(scope="module")
def extensions(cluster):
    """Register the webhook and the aggregated API of the pod `extension`."""
    ca = base64.b64encode(cluster.credentials.webhook.certificate_pem).decode()
    group = {"group": "tunnel.test", "version": "v1", "groupPriorityMinimum": 100, "versionPriority": 100}
    webhook = {
        "name": "extension.tunnel.test",
        "clientConfig": {"service": {**SERVICE, "path": "/validate"}, "caBundle": ca},
        "rules": [RULE],
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "default"}},
        "failurePolicy": "Fail",
        "sideEffects": "None",
        "timeoutSeconds": 5,
        "admissionReviewVersions": ["v1"],
    }
    cluster.kubectl.apply(
        {
            "apiVersion": "apiregistration.k8s.io/v1",
            "kind": "APIService",
            "metadata": {"name": "v1.tunnel.test"},
            "spec": {**group, "service": SERVICE, "caBundle": ca},
        },
        {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": "extension"},
            "webhooks": [webhook],
        },
    )
    yield
    cluster.kubectl.ok("delete", "validatingwebhookconfiguration/extension", "apiservice/v1.tunnel.test")


def test_a_webhook_in_a_pod_admits_and_refuses(everywhere, extensions):
    def create(k, name, forbidden):
        head = {"name": f"{name}-{k.transport}", "labels": {"forbidden": forbidden}}
        text = json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": head})
        return k.run("create", "-f", "-", stdin=text.encode())

    def check(k):
        def refused():
            done = create(k, "bad", "true")
            k.run("delete", "configmap", f"bad-{k.transport}", "--ignore-not-found")
            return b"the webhook on the node says no" in done.stderr

        until(refused, "the webhook refuses")
        assert create(k, "good", "false").returncode == 0
        k.ok("delete", "configmap", f"good-{k.transport}")

    everywhere(check)


def test_an_aggregated_api_in_a_pod_answers(everywhere, extensions):
    def check(k):
        path = "/apis/tunnel.test/v1/hello"
        until(lambda: k.run("get", "--raw", path).returncode == 0, "the aggregated API answers")
        assert k.ok("get", "--raw", path) == b"hello to kubernetes-admin"

    everywhere(check)
