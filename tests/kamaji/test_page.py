"""Tests of the commands of docs/start/quickstart-kamaji.md, pasted one after the other into a shell.

Each test continues where the one before has ended, as a reader of the page does.
"""

from __future__ import annotations

import pytest
import yaml
from admin_shell import admin_shell
from management_cluster import TENANTS
from pod_runner import container
from recorder import record
from tenant_plane import AGENT, SERVER, SYSTEM

from support.checkout import DOCS
from support.shell import blocks
from support.waiting import until

RUN, DEPLOYMENT, SEE, OFF, VOLUME, REMOVAL, CONFIG, BESIDE, AGENTS = blocks(DOCS / "start" / "quickstart-kamaji.md")
LEFT = ("daemonset", "deployment", "serviceaccount")


@pytest.fixture(scope="module")
def page(planes):
    return planes("page")


@pytest.fixture(scope="module")
def admin(page, management, tmp_path_factory):
    with admin_shell(management, tmp_path_factory.mktemp("admin"), page) as shell:
        yield shell


def volumes(page):
    return {each["name"] for each in page.deployment()["spec"]["template"]["spec"]["volumes"]}


def left(page):
    return [each for each in LEFT if page.tenant.get(SYSTEM, each, AGENT)]


def test_kamajis_default_programs_serve_at_first(page):
    """The tenant control plane of the page begins with the reference's programs."""
    page.start_agent()
    page.works()


def test_the_patch_runs_our_images(page, admin):
    assert "patched" in admin.paste(RUN)
    page.server(lambda found: found["image"].startswith("registry.example.com/konnectivity/proxy-server:"))
    page.start_agent()  # the reference's program still, until the rollout of agents is done
    page.replace_servers()
    page.works()
    page.stop_agents()
    agents = page.workload(
        "daemonset",
        lambda found: container(found["spec"]["template"]["spec"], AGENT)["image"].startswith(
            "registry.example.com/konnectivity/"
        ),
    )
    page.start_agent()
    page.works()
    record("agents", agents)
    record("agent-pod", page.admitted_agent())
    record("deployment", page.deployment())
    record("tenantcontrolplane", page.object())
    record("service", page.admin.there(TENANTS, "service", page.name))
    egress = f"{page.name}-konnectivity-egress-selector-configuration"
    record("egress-configuration", page.admin.there(TENANTS, "configmap", egress))
    record("rights", page.tenant.there("default", "clusterrolebinding", "system:konnectivity-server"))


def test_agents_become_a_deployment(page, admin):
    admin.paste(DEPLOYMENT)
    assert page.workload("deployment")["spec"]["replicas"] == 3
    record("agents-of-a-deployment", page.workload("deployment"))
    record("agent-pod-of-a-deployment", page.admitted_agent())
    until(lambda: page.tenant.get(SYSTEM, "daemonset", AGENT) is None, "Kamaji deletes the DaemonSet")
    page.start_agent("deployment")
    page.works()


def test_the_objects_are_printed(page, admin):
    admin.paste(SEE)
    printed = list(yaml.safe_load_all(admin.paste(SEE.splitlines()[1])))
    assert "Deployment" in {each["kind"] for each in printed}


def test_switching_off_leaves_a_volume_that_the_page_removes(page, admin):
    """Kamaji's new pods cannot start before the volume is removed; afterwards it stays removed."""
    admin.paste(OFF)
    off = page.deployment(lambda found: len(found["spec"]["template"]["spec"]["containers"]) == 3)
    record("deployment-when-off", off)
    record("tenantcontrolplane-when-off", page.object())
    with pytest.raises(AssertionError, match="tenant-1-konnectivity-kubeconfig not found"):
        page.pod("off", off["spec"]["template"]["spec"], TENANTS, page.admin, page.places[0])
    admin.paste(VOLUME)
    assert not [each for each in volumes(page) if "konnectivity" in each]
    page.admin.ok("-n", TENANTS, "annotate", "tcp", page.name, "reconcile=now")
    template = page.deployment()["spec"]["template"]["spec"]
    page.pod("without-volume", template, TENANTS, page.admin, page.places[0])


def test_the_removal_leaves_no_agents(page, admin):
    assert left(page)
    admin.paste(REMOVAL)
    assert left(page) == []


def test_server_and_agents_run_without_the_addon(page, admin):
    """Server and agents run beside Kamaji, which leaves both alone."""
    admin.paste(CONFIG)
    admin.paste(BESIDE)
    page.admin.ok("-n", TENANTS, "annotate", "--overwrite", "tcp", page.name, "reconcile=again")
    page.server()
    page.roll()
    assert {"konnectivity-uds", "konnectivity-server-kubeconfig"} <= volumes(page)
    admin.paste(AGENTS)
    page.start_agent("daemonset")
    page.works()
    spec = page.workload("daemonset")["spec"]["template"]["spec"]
    assert "readinessProbe" in container(spec, AGENT), "Kamaji has not changed our DaemonSet"
    ports = page.admin.there(TENANTS, "service", page.name)["spec"]["ports"]
    assert {each["name"] for each in ports} == {"kube-apiserver", SERVER}


def test_the_addon_is_switched_on_again(page, admin):
    """The addon takes over from the server beside it: one container, and volumes that exist."""
    admin.paste(
        'kubectl -n tenants patch tcp tenant-1 --type merge -p "$(konnectivity manifests kamaji-patch --port 8132)"'
    )
    until(lambda: page.addon(), "the addon is on")
    page.workload("daemonset", lambda found: container(found["spec"]["template"]["spec"], AGENT)["args"].count("-v=8"))
    spec = page.deployment()["spec"]["template"]["spec"]
    assert [each["name"] for each in spec["containers"]].count(SERVER) == 1
    page.roll()
    page.start_agent("daemonset")
    page.works()
