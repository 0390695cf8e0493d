"""One cluster of real nodes for all tests of this folder.

The cluster is installed as docs/start/quickstart-kubeadm.md says; two more API servers use the other transports.
"""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest
import yaml

sys.path.insert(0, str(Path(__file__).parent))

import image_archive
import node_machine
from kubectl import Kubectl
from real_cluster import RealCluster

from support import cluster_programs

HERE = Path(__file__).parent
TOOLS = ("ip", "nsenter", "setpriv", "unshare", "nft", "containerd", "runc", "ctr", "conntrack", "busybox", "curl")
LOG_LINES = 15


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.timeout(900))  # the first test waits for image and cluster


@pytest.fixture(scope="session")
def programs() -> Path:
    """Return the folder with the cluster's programs."""
    missing = cluster_programs.missing()
    missing += [f"the program {name}" for name in TOOLS if shutil.which(name) is None]
    missing += ["the plugin bridge in /usr/lib/cni"] * (not Path("/usr/lib/cni/bridge").exists())
    missing += ["root, for namespaces and cgroups"] * (os.getuid() != 0)
    if missing:
        pytest.skip(f"missing: {', '.join(missing)}")
    return cluster_programs.PROGRAMS


@pytest.fixture(scope="package")
def cluster(programs: Path, product_image: tuple[Path, Path], tmp_path_factory) -> Iterator[RealCluster]:
    """Yield the cluster with its workload, and remove the cluster after the last test of this folder."""
    node_machine.remove_left_behind()
    directory = tmp_path_factory.mktemp("nodes")
    small = directory / "small"
    small.mkdir()
    images = directory / "images.tar"
    found = image_archive.product_images(product_image[0])
    found += image_archive.small_images(small, programs / "kube")
    found.append(image_archive.metrics_server_image(directory / "metrics-server", programs / "metrics-server"))
    image_archive.write(images, found)
    made = RealCluster(directory, programs, images)
    try:
        try:
            made.start()
            made.metrics_server.install()
            add_workload(made)
            made.install()
            made.kubectl.ok("wait", "--for=condition=Ready", "pod", "--all", "--timeout=80s")
            made.wait_until_it_works()
        except BaseException as error:
            error.add_note(last_lines(made))
            raise
        yield made
    finally:
        made.remove()
        node_machine.command("rm", "-rf", str(directory))


def add_workload(cluster: RealCluster) -> None:
    """Create the pods that the tests use."""
    pair = cluster.credentials.webhook.issue("extension", dns=("extension.default.svc",), server=True)
    data = {"tls.crt": pair.cert_pem, "tls.key": pair.key_pem}
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "extension", "namespace": "default"},
        "data": {name: base64.b64encode(value).decode() for name, value in data.items()},
    }
    text = (HERE / "workload.yaml").read_text()
    cluster.kubectl.apply(secret, *yaml.safe_load_all(text.replace("$PROGRAMS", str(cluster.programs))))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the last lines of all logs to the report of a test that has failed."""
    report = yield
    cluster = getattr(item, "funcargs", {}).get("cluster")
    if report.when == "call" and report.failed and cluster is not None:
        report.sections.append(("last lines of the nodes' logs", last_lines(cluster)))
    return report


def last_lines(cluster: RealCluster) -> str:
    """Return the last lines of the logs of all services and static pods."""
    found = []
    logs = [*cluster.directory.glob("*/logs/*.log"), *cluster.directory.glob("*/own/var/log/pods/*/*/*.log")]
    for each in sorted(logs):
        lines = each.read_text(errors="replace").splitlines()[-LOG_LINES:]
        found += [f"== {each.relative_to(cluster.directory)}", *(line[:400] for line in lines)]
    return "\n".join(found)


@pytest.fixture
def everywhere(cluster: RealCluster, record_property) -> Callable[[Callable[[Kubectl], object]], None]:
    """Return a function that runs a check by all transports side by side."""

    def run(check: Callable[[Kubectl], object]) -> None:
        cluster.everywhere(check)
        for transport in cluster.clients:
            record_property("transport", transport)

    return run


@pytest.fixture
def curl(cluster: RealCluster) -> Callable[..., bytes]:
    """Return a function that runs curl in the control plane's network and returns its output."""

    def run(*arguments: str) -> bytes:
        words = cluster.control.in_network("curl", "-fsS", "--max-time", "60", *arguments)
        return subprocess.run(words, capture_output=True, check=True, timeout=90).stdout

    return run
