"""Fixtures of the tests with real Kamaji: one management cluster, and tenant control planes that start side by side.

The tests with real Kamaji need its manager, which takes 20 minutes to build, so `make e2e-kamaji` alone collects them.
"""

from __future__ import annotations

import os
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from gateway_plane import GatewayPlane  # noqa: E402
from management_cluster import ManagementCluster  # noqa: E402
from namespaces import HUB, Namespaces  # noqa: E402
from pod_runner import BIN, REFERENCE_VERSION  # noqa: E402
from rolling_plane import RollingPlane  # noqa: E402
from run_report import NAME  # noqa: E402
from tenant_objects import gateway_objects, gateway_tenant, page_tenant, tenant  # noqa: E402
from tenant_plane import TenantPlane  # noqa: E402

from support.cluster_programs import KUBE  # noqa: E402
from support.directory_rights import let_others_enter  # noqa: E402

START_TIMEOUT_S = 240.0
TEST_TIMEOUT_S = 600.0  # the first test of a file waits for its control plane; on a busy machine all need minutes
_PROGRAMS = ("ip", "nsenter", "setpriv", "curl", "haproxy", "openssl")


def pytest_ignore_collect(collection_path, config):
    """Collect the tests with real Kamaji in `make e2e-kamaji`, and test_recorded.py in all other runs."""
    if collection_path.parent != HERE or not collection_path.name.startswith("test_"):
        return None
    with_kamaji = collection_path.name != "test_recorded.py"
    return None if with_kamaji == config.pluginmanager.hasplugin(NAME) else True


def pytest_collection_modifyitems(items):
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.timeout(TEST_TIMEOUT_S))


@pytest.fixture(scope="session")
def programs():
    """Return the folder of the built programs; fail if a program is missing."""
    missing = [name for name in _PROGRAMS if shutil.which(name) is None and not Path(f"/usr/sbin/{name}").exists()]
    missing += ["root, for network namespaces"] * (os.getuid() != 0)
    missing += [
        str(each) for each in (KUBE, BIN / "kamaji", BIN / f"reference-{REFERENCE_VERSION}") if not each.exists()
    ]
    if missing:
        pytest.fail(f"missing: {', '.join(missing)}; `make e2e-kamaji` builds the programs")
    return BIN


@pytest.fixture(scope="session")
def management(programs, tmp_path_factory):
    """Yield the management cluster with Kamaji's manager."""
    directory = tmp_path_factory.mktemp("management")
    let_others_enter(directory)  # containers run as users other than root
    with ExitStack() as stack:
        namespaces = Namespaces(directory)
        stack.callback(namespaces.remove)
        made = ManagementCluster(directory, namespaces)
        stack.callback(made.stop)
        made.start()
        yield made


@pytest.fixture(scope="session")
def planes(management):
    """Start all tenant control planes side by side; yield a function that returns one by its name once it runs."""
    management.client.apply(*gateway_objects())
    status = {"addresses": [{"type": "IPAddress", "value": HUB}]}
    management.client.set_status("default", "gateway", "gateway", status)
    made = {
        "fields": TenantPlane(management, 1, tenant("fields")),
        "gateway": GatewayPlane(management, 2, gateway_tenant()),
        "moved": RollingPlane(management, 6, tenant("moved")),
        "page": TenantPlane(management, 3, page_tenant()),
        "pair": TenantPlane(management, 4, tenant("pair", replicas=2), replicas=2),
        "single": TenantPlane(management, 5, tenant("single")),
    }
    pool = ThreadPoolExecutor(len(made))
    starting = {name: pool.submit(each.start, ours=name != "page") for name, each in made.items()}

    def plane(name):
        starting[name].result(START_TIMEOUT_S)
        return made[name]

    with ExitStack() as stack:
        for each in made.values():
            stack.callback(each.stop)
        stack.callback(pool.shutdown, cancel_futures=True)
        yield plane


@pytest.fixture(autouse=True)
def no_agents(request):
    """End the agents that a test has started."""
    yield
    for name in ("plane", "page"):
        if name in request.fixturenames:
            request.getfixturevalue(name).stop_agents()
