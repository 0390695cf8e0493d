"""Fixtures of deployments that suffer faults. Modules of this folder can import each other."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from fault_promises import Outcome, of
from fault_site import Site

from benchmarks import reference

OURS, REFERENCE = "ours", "reference"
PROGRAMS = [OURS, REFERENCE] if reference.named() else [OURS]


@pytest.fixture(params=PROGRAMS)
def programs(request):
    """Return whose programs suffer the fault; for tests that observe the programs only from outside."""
    return request.param


@pytest.fixture
def site(request, tmp_path):
    whose = request.getfixturevalue("programs") if "programs" in request.fixturenames else OURS
    site = Site(tmp_path, whose == OURS)
    yield site
    site.stop()


@pytest.fixture
def outcome(request, record_property):
    """Return the recorder of a test's measurements, which compares them with the test's promise."""
    whose = request.getfixturevalue("programs") if "programs" in request.fixturenames else OURS
    record_property("programs", whose)
    return Outcome(of(request.node.nodeid), record_property, strict=whose == OURS)
