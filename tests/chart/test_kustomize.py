"""Tests of charts/kustomize by kubectl: its bases and its example are the objects of `konnectivity manifests`."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest
import yaml

from support import cluster_programs
from support.checkout import ROOT
from support.cluster_programs import PROGRAMS

BASE = ROOT / "charts" / "kustomize"


@pytest.fixture(scope="session")
def kubectl():
    if missing := cluster_programs.missing():
        pytest.skip(f"missing: {', '.join(missing)}")
    return [str(PROGRAMS / "kube"), "kubectl"]


def built(kubectl, folder):
    """Return the objects of a kustomization by kind and name."""
    done = subprocess.run([*kubectl, "kustomize", str(folder)], capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    return by_name(done.stdout)


def by_name(text):
    return {(each["kind"], each["metadata"]["name"]): each for each in yaml.safe_load_all(text)}


def in_order(objects):
    """Sort the volumes and mounts of agents: a merge patch puts new ones first."""
    spec = objects["DaemonSet", "konnectivity-agent"]["spec"]["template"]["spec"]
    for entries in (spec["volumes"], spec["containers"][0]["volumeMounts"]):
        entries.sort(key=lambda each: each["name"])
    return objects


def manifests(*options):
    command = [sys.executable, "-m", "konnectivity.tool.cli", "manifests", *options]
    return by_name(subprocess.run(command, check=True, capture_output=True, timeout=60).stdout)


def image(objects, kind):
    (workload,) = [each for (its, _), each in objects.items() if its == kind]
    spec = workload["spec"]
    return spec.get("template", {"spec": spec})["spec"]["containers"][0]["image"]


def test_agents(kubectl):
    found = built(kubectl, BASE / "agent")
    its = image(found, "DaemonSet")
    assert its.startswith("registry.invalid/")
    assert found == manifests("all", "--server=server.invalid", f"--image={its}")


def test_the_server(kubectl):
    found = built(kubectl, BASE / "server")
    its = image(found, "Pod")
    assert its.startswith("registry.invalid/")
    assert found == manifests("server", f"--image={its}")


def test_the_example(kubectl, tmp_path):
    """A CA of one's own, a registry and a server take the place of what nobody owns, and nothing else changes."""
    copy = tmp_path / "kustomize"
    shutil.copytree(BASE, copy)
    command = [sys.executable, "-m", "konnectivity.tool.cli", "pki", f"--directory={tmp_path}", "--only=server"]
    subprocess.run([*command, "--server-ip=192.0.2.1"], check=True, capture_output=True, timeout=60)
    ca = shutil.copy(tmp_path / "ca.crt", copy / "example")
    found = built(kubectl, copy / "example")
    its = image(found, "DaemonSet")
    assert its.startswith("registry.example.com/konnectivity/proxy-agent:")
    assert "invalid" not in yaml.safe_dump_all(found.values())
    wanted = manifests("all", "--server=192.0.2.1", f"--ca={ca}", f"--image={its}")
    assert in_order(found) == in_order(wanted)
