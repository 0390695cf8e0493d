"""Tests of every pair of our programs and the reference's, Kamaji's default, in the pods that Kamaji makes."""

from __future__ import annotations

import pytest
from pod_runner import REFERENCE_IMAGES
from tenant_plane import SERVER

from konnectivity import __version__

OURS = {part: (f"localhost/konnectivity/proxy-{part}", __version__) for part in ("server", "agent")}
REFERENCE = {part: (f"{REFERENCE_IMAGES}proxy-{part}", "") for part in OURS}
PROGRAMS = {"ours": OURS, "reference": REFERENCE}


@pytest.fixture(scope="module")
def plane(planes):
    return planes("single")


@pytest.mark.parametrize("agent", PROGRAMS)
@pytest.mark.parametrize("server", PROGRAMS)
def test_logs_and_exec_work_with_each_pair(plane, server, agent):
    """Only the images of the tenant control plane change; arguments, mounts and users are Kamaji's in each pair."""
    images = {"server": PROGRAMS[server]["server"], "agent": PROGRAMS[agent]["agent"]}
    plane.patch_addon(**{part: {"image": name, "version": version} for part, (name, version) in images.items()})
    plane.server(lambda found: found["image"].startswith(images["server"][0]))
    plane.workload(
        "daemonset",
        lambda found: found["spec"]["template"]["spec"]["containers"][0]["image"].startswith(images["agent"][0]),
    )
    plane.replace_servers()
    pod = plane.start_agent()
    plane.works()
    assert plane.pods[-1].probe(SERVER, "/readyz") == "ok"
    assert pod.probe("konnectivity-agent", "/readyz") == "ok"
