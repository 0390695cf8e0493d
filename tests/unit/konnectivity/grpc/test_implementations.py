"""Choice of the gRPC implementation, and the abilities of each."""

from __future__ import annotations

import ast

import pytest

from konnectivity.grpc import http2_client, http2_server
from konnectivity.grpc.implementations import NAMES, NATIVE, implementation
from support.checkout import ROOT

MODULES = {"native": ("http2_client", "http2_server"), "grpcio": ("grpcio_transport", "grpcio_transport")}


def parameters(module: str, name: str) -> list[str]:
    """Return the names of the parameters of a function or a class, from the source: compiled ones tell none."""
    for node in ast.parse((ROOT / "konnectivity/grpc" / f"{module}.py").read_text()).body:
        if isinstance(node, ast.AsyncFunctionDef) and node.name == name:
            return parameters_of(node)
        if isinstance(node, ast.ClassDef) and node.name == name:
            return next(parameters_of(each) for each in node.body if isinstance(each, ast.AsyncFunctionDef))
    raise AssertionError(f"{module} has no {name}")


def parameters_of(node: ast.AsyncFunctionDef) -> list[str]:
    return [each.arg for each in node.args.args if each.arg != "self"]


@pytest.mark.parametrize("name", NAMES)
def test_every_implementation_has_the_same_two_functions(name: str) -> None:
    pytest.importorskip("grpc")
    chosen = implementation(name)
    assert chosen.name == name
    connect, serve = MODULES[name]
    assert parameters(connect, "connect") == parameters("transport", "Connect")
    assert parameters(serve, "serve") == parameters("transport", "Serve")


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
