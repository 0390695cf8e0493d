"""Tests of our programs with three versions of the reference: each client through each pair that has one of ours.

A server of the reference has one frontend, so a pair with it is started for each kind of frontend. The clients of 2024
move 2 MiB in each transfer, the others 20 MiB, since the same programs carry it. The cells of a pair run side by side.
"""

from __future__ import annotations

import pytest
import uvloop
from egress_scenarios import LARGE, SCENARIOS, SMALL, EgressClient, outcomes
from reference_pairs import ON_GRPCIO, OURS, VERSIONS, Pairing, RunningPair, result

REUSABLE = "reusable-tunnel"  # this client is as new as the newest version, and is tested with it
FRONTENDS = {  # frontend -> its clients
    "grpc": ("grpc-uds", "client-library", REUSABLE, "grpc-uds-2024", "client-library-2024"),
    "connect-uds": ("connect-uds", "connect-uds-2024"),
    "connect-tls": ("connect-tls",),
}
EVERY = "every frontend"
PAIRINGS = [
    *(
        Pairing(version, agent, frontend)
        for version in VERSIONS
        for agent in (OURS, ON_GRPCIO)
        for frontend in FRONTENDS
    ),
    *(Pairing(OURS, version, EVERY) for version in VERSIONS),
]
CELLS = [
    (pairing, client)
    for pairing in PAIRINGS
    for frontend, clients in FRONTENDS.items()
    if pairing.frontend in (frontend, EVERY)
    for client in clients
    if client != REUSABLE or VERSIONS[0] in (pairing.server, pairing.agent)
]
pytestmark = pytest.mark.timeout(120)


def clients_of(pairing):
    return [client for each, client in CELLS if each == pairing]


def by_status(pairing, client):
    """Return the text of a failed dial for a client that reads only the status line; the reference gives no reason."""
    if not client.startswith("connect-"):
        return ""
    return "502 dial tcp" if pairing.server == OURS else "502 Bad Gateway"


@pytest.fixture(scope="module")
def cells(request, reference, programs, kubelet, drivers, tmp_path_factory):
    """Run all cells of a pairing; return their outcomes by client and scenario."""
    pairing = request.param
    pair = RunningPair(pairing, tmp_path_factory.mktemp("pair"), programs, reference)
    try:
        pair.start()
        clients = {
            name: EgressClient(
                drivers(pair.deployment, name, kubelet[1]),
                kubelet[0],
                SMALL if name.endswith("-2024") else LARGE,
                by_status(pairing, name),
                pairing.server == "v0.31.0" and name.startswith("connect-"),
            )
            for name in clients_of(pairing)
        }
        yield uvloop.run(outcomes(clients, SCENARIOS))
    finally:
        pair.deployment.stop()


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize(("cells", "client"), CELLS, indirect=["cells"], ids=str, scope="module")
def test_a_client_has_the_expected_outcome_of_a_scenario(cells, client, scenario):
    result(cells[client, scenario])
