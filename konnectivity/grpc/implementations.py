"""Choice of the gRPC implementation: the only module that tells native from grpcio.

An implementation is imported when it is first used: grpcio is an optional dependency (extra `grpcio`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from konnectivity.grpc.transport import Connect, Serve

NATIVE = "native"
GRPCIO = "grpcio"
NAMES = (NATIVE, GRPCIO)


@dataclass(frozen=True, slots=True)
class Implementation:
    """Implementation of gRPC, and what the other parts must know of its abilities.

    Attributes:
        name: value of `--grpc-implementation`.
        opens_sockets: whether a client's socket is opened by this program, so that names can be looked up here, and a
            forward proxy be used.
        reads_certificates: whether a server sees more of a client's certificate than its common name.
        shares_sockets: whether a listener can be shared: with HTTP CONNECT, or with other processes.
        load: imports the implementation, and returns its `connect` and `serve`.

    """

    name: str
    opens_sockets: bool
    reads_certificates: bool
    shares_sockets: bool
    load: Callable[[], tuple[Connect, Serve]]

    @property
    def connect(self) -> Connect:
        """Function that opens a client's connection."""
        return self.load()[0]

    @property
    def serve(self) -> Serve:
        """Function that opens a server's listener."""
        return self.load()[1]


def implementation(name: str) -> Implementation:
    """Return the implementation of a value of `--grpc-implementation`.

    A value that the option's own check refuses counts as native, so that all errors of a command line are told at once.
    """
    return _IMPLEMENTATIONS.get(name, _IMPLEMENTATIONS[NATIVE])


def _native() -> tuple[Connect, Serve]:
    from konnectivity.grpc import http2_client, http2_server

    return http2_client.connect, http2_server.serve


def _grpcio() -> tuple[Connect, Serve]:
    from konnectivity.grpc import grpcio_transport

    return grpcio_transport.connect, grpcio_transport.serve


_IMPLEMENTATIONS = {
    NATIVE: Implementation(NATIVE, opens_sockets=True, reads_certificates=True, shares_sockets=True, load=_native),
    GRPCIO: Implementation(GRPCIO, opens_sockets=False, reads_certificates=False, shares_sockets=False, load=_grpcio),
}
