"""Tests of docs/start/quickstart-gateway.md, pasted with real Kamaji: from the addon's sidecar to a gateway, and back.

Each test continues where the one before has ended. A second tenant uses the same gateway all the time.
"""

from __future__ import annotations

import pytest
from admin_shell import admin_shell
from egress_way import way_of
from management_cluster import TENANTS
from recorder import record
from rolling_plane import LogReader
from tenant_plane import SYSTEM
from tenants_gateway import TenantsGateway

from support.checkout import DOCS
from support.kubectl_command import read_line
from support.shell import blocks
from support.waiting import until

INSTALL, ADD, AGENTS, BOTH, OFF, REST, ON, BACK, LEAVE, CERTIFICATES = blocks(DOCS / "start" / "quickstart-gateway.md")
GATEWAY_AGENT = "konnectivity-gateway-agent"
MOVED, OTHER = "moved", "single"


@pytest.fixture(scope="module")
def moved(planes):
    return planes(MOVED)


@pytest.fixture(scope="module")
def other(planes):
    return planes(OTHER)


@pytest.fixture(scope="module")
def gateway(management):
    made = TenantsGateway(management)
    yield made
    made.stop()


@pytest.fixture(scope="module")
def admin(moved, other, management, tmp_path_factory):
    with admin_shell(management, tmp_path_factory.mktemp("admin"), moved, other) as shell:
        yield shell


@pytest.fixture(scope="module")
def reader(moved):
    """Yield a reader of logs of the tenant that moves, while all tests of this file run."""
    moved.start_agent()
    moved.works()
    with LogReader(moved) as made:
        yield made


@pytest.fixture(scope="module")
def followed(other):
    """Yield a log of the other tenant that is followed by the gateway, while the remaining tests of this file run."""
    other.works()
    with other.tenant.running("logs", "--follow", "pod") as process:
        assert read_line(process)
        yield process


def of(block, *names):
    """Return a block of the page with other tenants than the page's."""
    return block.replace("tenant-1 tenant-2", " ".join(names)).replace("tenant-1", names[0])


def changed(plane, *, by_gateway, sidecar):
    """Wait until Kamaji has changed the Deployment, and return it."""
    source = "gateway" if by_gateway else "egress-selector-configuration"
    wanted = (f"{plane.name}-konnectivity-{source}", sidecar)
    return plane.deployment(lambda found: way_of(found["spec"]["template"]["spec"]) == wanted)


def dials(gateway, name):
    return gateway.tenants()[name]["dials"]


def test_both_tenants_get_agents_of_the_gateway(moved, other, gateway, admin, reader):
    admin.paste(INSTALL)
    gateway.start(MOVED, OTHER)
    admin.paste(of(ADD, MOVED, OTHER))
    gateway.refresh()
    admin.paste(of(AGENTS, MOVED, OTHER))
    for each in (moved, other):
        each.start_agent("daemonset", 1, GATEWAY_AGENT)
    gateway.wait_until_ready(MOVED, OTHER)
    admin.paste(of(BOTH, OTHER))
    changed(other, by_gateway=True, sidecar=True)
    other.roll()
    other.works()
    assert reader.failures == []


def test_kube_apiserver_uses_the_gateway_beside_the_addon(moved, gateway, admin, reader, followed):
    admin.paste(of(BOTH, MOVED))
    record("moved-deployment-with-both", changed(moved, by_gateway=True, sidecar=True))
    record("moved-tenantcontrolplane", moved.object())
    moved.roll()
    before = dials(gateway, MOVED)
    moved.works()
    assert dials(gateway, MOVED) > before
    assert reader.failures == []


def test_the_addon_is_switched_off_without_a_failed_dial(moved, gateway, admin, reader):
    """No pod can start until the volume of Kamaji's deleted Secret is removed; the old pod serves until then."""
    admin.paste(of(OFF, MOVED))
    template = changed(moved, by_gateway=True, sidecar=False)["spec"]["template"]["spec"]
    with pytest.raises(AssertionError, match=f"{MOVED}-konnectivity-kubeconfig not found"):
        moved.pod("off", template, TENANTS, moved.admin, moved.places[0])
    moved.works()
    admin.paste(of(REST, MOVED))
    moved.admin.ok("-n", TENANTS, "annotate", "tcp", MOVED, "reconcile=now")
    moved.roll()
    moved.works()
    record("moved-deployment", changed(moved, by_gateway=True, sidecar=False))
    assert moved.tenant.get(SYSTEM, "daemonset", "konnectivity-agent") is None
    assert reader.failures == []


def test_agents_of_the_gateway_connect_without_the_rights_that_kamaji_removed(moved, gateway, reader):
    moved.stop_agents()
    until(lambda: gateway.tenants()[MOVED]["agents"] == 0, "the gateway has no agent")
    moved.start_agent("daemonset", 1, GATEWAY_AGENT)
    gateway.wait_until_ready(MOVED, OTHER)
    moved.works()
    reader.failures.clear()


def test_the_addon_is_switched_on_beside_the_gateway(moved, gateway, admin, reader):
    admin.paste(of(ON, MOVED))
    changed(moved, by_gateway=True, sidecar=True)
    moved.roll()
    moved.start_agent()
    moved.works()
    assert reader.failures == []


def test_the_tenant_leaves_the_gateway_and_the_other_one_stays(moved, gateway, admin, reader, followed):
    """Kamaji's new sidecar has no agents until the old one ends, which is the one reason for a failed dial."""
    admin.paste(of(BACK, MOVED))
    changed(moved, by_gateway=False, sidecar=True)
    moved.roll()
    moved.works()
    assert [each for each in reader.failures if "No agent available" not in each] == []
    assert reader.reads > 100
    admin.paste(of(LEAVE, MOVED))
    gateway.refresh()
    gateway.wait_until_ready(OTHER)
    moved.works()
    assert gateway.tenants()[OTHER]["dial_failures"] == 0
    assert read_line(followed)
    assert followed.poll() is None
