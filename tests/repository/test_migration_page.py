"""Tests that pages for operators name existing flags only, and that the patch for Kamaji changes images only."""

from __future__ import annotations

import re

import pytest
import yaml

from konnectivity.runtime.options import declared
from konnectivity_agent.agent_options import AgentOptions
from konnectivity_server.server_options import ServerOptions
from support.checkout import DOCS

MIGRATION = (DOCS / "start" / "migration.md").read_text()
FLAGS = {f"--{each.flag}" for options in (ServerOptions, AgentOptions) for each in declared(options)}
# Flags of kubectl, the kubelet, our tool and the benchmarks.
OTHERS = {"--type", "--tail", "--agents", "--seconds", "--admin", "--server", "--mode", "--timeout", "--cert", "--key"}
OTHERS |= {"--server-name", "--verbose", "--include", "--extra-arg", "--watch", "--client-ca-file"}


@pytest.mark.parametrize(
    "page",
    [
        "start/migration.md",
        "operate/operations.md",
        "operate/sizing.md",
        "operate/availability.md",
        "operate/alerts.md",
        "operate/troubleshooting.md",
    ],
)
def test_flags_are_there(page):
    named = set(re.findall(r"(?<![\w-])(--[a-z][a-z0-9-]+)", (DOCS / page).read_text()))
    assert named
    assert named - FLAGS - OTHERS == set()


def test_the_patch_for_kamaji_changes_images_and_nothing_else():
    text = MIGRATION.partition("--type=merge -p '")[2].partition("'\n")[0]
    patch = yaml.safe_load(text)["spec"]["addons"]["konnectivity"]
    assert set(patch["server"]) == {"image", "version"}
    assert set(patch["agent"]) == {"image", "version"}
    assert all(isinstance(each["version"], str) for each in patch.values())


@pytest.mark.parametrize("flag", ["backend-dial-timeout", "graceful-shutdown-timeout"])
def test_the_defaults_that_differ_are_told(flag):
    option = next(each for each in declared(ServerOptions) if each.flag == flag)
    assert option.kind.write(option.default) in ("10s", "25s")
    assert f"--{flag}" in MIGRATION.partition("## Before")[2].partition("2. **")[0]
