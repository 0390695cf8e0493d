"""Tests of the reference's agents and clients on the one port of a server: kube-apiserver's egress configuration."""

from __future__ import annotations

import pytest
import uvloop
from egress_scenarios import SCENARIOS, SMALL, EgressClient, outcomes
from reference_pairs import OURS, VERSIONS, Pairing, RunningPair, result

from support.one_port import OnePort

CLIENTS = ("connect-tls", "grpc-uds", "client-library-2024")
CELLS = [(VERSIONS[0], client) for client in CLIENTS] + [(VERSIONS[-1], "connect-tls")]
pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def cells(request, reference, programs, kubelet, drivers, tmp_path_factory):
    """Run all cells with an agent; return their outcomes by client and scenario."""
    pair = RunningPair(Pairing(OURS, request.param), tmp_path_factory.mktemp("one-port"), programs, reference)
    pair.deployment = OnePort(pair.deployment.directory)
    try:
        pair.start()
        clients = {
            name: EgressClient(drivers(pair.deployment, name, kubelet[1]), kubelet[0], SMALL, status, False)
            for version, name in CELLS
            if version == request.param
            for status in ["502 dial tcp" if name.startswith("connect-") else ""]
        }
        yield uvloop.run(outcomes(clients, SCENARIOS))
    finally:
        pair.deployment.stop()


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize(("cells", "client"), CELLS, indirect=["cells"], ids=str, scope="module")
def test_a_client_has_the_expected_outcome_of_a_scenario(cells, client, scenario):
    result(cells[client, scenario])
