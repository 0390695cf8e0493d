"""Deployments to which things happen. Modules of this folder are found by those beside them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from fault_promises import Outcome, of
from fault_site import Site

from benchmarks import reference

OURS, REFERENCE = "ours", "reference"
PROGRAMS = [OURS, REFERENCE] if reference.programs() else [OURS]


@pytest.fixture(params=PROGRAMS)
def programs(request):
    """Whose programs a thing happens to: for tests that look at them from outside only."""
    return request.param


@pytest.fixture
def site(request, tmp_path):
    whose = request.getfixturevalue("programs") if "programs" in request.fixturenames else OURS
    site = Site(tmp_path, whose == OURS)
    yield site
    site.stop()


@pytest.fixture
def outcome(request, record_property):
    """What was promised for this test; it takes what the test finds."""
    whose = request.getfixturevalue("programs") if "programs" in request.fixturenames else OURS
    record_property("programs", whose)
    return Outcome(of(request.node.nodeid), record_property, strict=whose == OURS)
