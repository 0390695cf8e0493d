"""Choice of the gRPC implementation, and the abilities of each."""

from __future__ import annotations

import inspect

import pytest

from konnectivity.grpc import http2_client, http2_server
from konnectivity.grpc.implementations import NAMES, NATIVE, implementation
from konnectivity.grpc.transport import Connect, Serve


def parameters(function: object) -> list[str]:
    """Return the names of a function's parameters, without `self`."""
    return [name for name in inspect.signature(function).parameters if name != "self"]  # type: ignore[arg-type]


@pytest.mark.parametrize("name", NAMES)
def test_every_implementation_has_the_same_two_functions(name: str) -> None:
    pytest.importorskip("grpc")
    chosen = implementation(name)
    assert chosen.name == name
    assert parameters(chosen.connect) == parameters(Connect.__call__)
    assert parameters(chosen.serve) == parameters(Serve.__call__)


def test_the_native_implementation_is_ours_and_can_do_everything() -> None:
    native = implementation("native")
    assert native.connect is http2_client.connect
    assert native.serve is http2_server.serve
    assert native.opens_sockets
    assert native.shares_sockets
    assert native.reads_certificates


def test_grpcio_opens_its_own_sockets_and_shares_none() -> None:
    grpcio = implementation("grpcio")
    assert not grpcio.opens_sockets
    assert not grpcio.shares_sockets
    assert not grpcio.reads_certificates


def test_an_unknown_implementation_counts_as_native() -> None:
    """The option's own check refuses it; the rules of other options are still checked."""
    assert implementation("go").name == NATIVE
