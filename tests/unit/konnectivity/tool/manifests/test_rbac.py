"""RBAC rules that equal those in docs/operate/kubernetes.md, with which tests/node runs."""

from __future__ import annotations

import re

import yaml

from konnectivity.tool.manifests import rbac
from support.checkout import DOCS

PAGES = DOCS


def shown(page):
    blocks = re.findall(r"```yaml\n(.*?)```", (PAGES / page).read_text(), re.DOTALL)
    return [each for block in blocks for each in yaml.safe_load_all(block) if each.get("kind", "").endswith("Role")]


def roles(objects):
    return [each for each in objects if each["kind"].endswith("Role")]


def test_server_and_agent_with_leases():
    made = [*rbac.server(lease_namespace="kube-system"), *rbac.agent("kube-system", "kube-system")]
    assert roles(made) == shown("operate/kubernetes.md")
    assert len(made) == 2 * len(roles(made))


def test_without_leases_the_server_reviews_tokens_and_that_is_all():
    (role,) = roles(rbac.server())
    assert role["rules"] == [
        {"apiGroups": ["authentication.k8s.io"], "resources": ["tokenreviews"], "verbs": ["create"]}
    ]


def test_with_identities_it_looks_at_pods():
    assert roles(rbac.server(pods=True))[1:] == shown("secure/identity.md")


def test_every_binding_is_of_its_role():
    made = [*rbac.server(lease_namespace="leases", pods=True), *rbac.agent("kube-system", "leases")]
    for role, binding in zip(made[::2], made[1::2], strict=True):
        assert binding["roleRef"]["name"] == role["metadata"]["name"]
        assert binding["roleRef"]["kind"] == role["kind"]
        assert binding["metadata"] == role["metadata"]


def test_the_leases_namespace_is_made_unless_every_cluster_has_it():
    assert [each["metadata"]["name"] for each in rbac.lease_namespace("konnectivity")] == ["konnectivity"]
    assert rbac.lease_namespace("kube-system") == []
