"""The options that both programs have: profiles, buffer memory, windows, transport, where options come from."""

from __future__ import annotations

from dataclasses import dataclass

from konnectivity.http1.connection_limit import MAX_CONNECTIONS
from konnectivity.runtime.logs.log_options import LogOptions
from konnectivity.runtime.options import duration, one_of, option, positive, size
from konnectivity.tunnel.memory_budget import MemoryBudget


@dataclass(frozen=True)
class ProgramOptions(LogOptions):
    """Base of both programs' options. The defaults are those of a server."""

    enable_profiling: bool = option(
        False, group="Health, metrics, profiles", help="Serve /debug/pprof on the admin port."
    )
    enable_contention_profiling: bool = option(False, help="Measure how late the event loop is.")
    max_health_connections: int = option(
        MAX_CONNECTIONS,
        check=positive,
        help="Maximum concurrent connections to the health port, and to the admin port. Over it, an idle one is closed "
        "for the new one.",
    )
    process_buffer_budget: int = option(
        size("256Mi"),
        group="Memory",
        check=positive,
        help="Bytes that may wait in this process for peers that do not read. Over it, new dials are refused.",
    )
    tunnel_buffer_budget: int = option(
        size("64Mi"),
        check=positive,
        help="The same for the connections of one tunnel, which is one agent's, or one server's. Over it, no new dials "
        "through it.",
    )
    connection_buffer_budget: int = option(
        size("1Mi"),
        check=positive,
        help="Bytes that may wait for one connection whose peer knows no credit, before the stream it shares is held.",
    )
    stream_hold_timeout: float = option(
        duration("2s"),
        check=positive,
        help="How long such a connection may hold the stream it shares with others, before it alone is reset.",
    )
    konnectivity_extension: bool = option(
        True,
        help="Speak this project's extension (credit, half-close, exact close) to peers that know it. "
        "Off: the established wire to everyone.",
    )
    connection_window: int = option(
        size("64Ki"), check=positive, help="Credit a connection starts with, per direction, if the peer knows credit."
    )
    connection_window_max: int = option(size("32Mi"), check=positive, help="And what it may grow to on a fast line.")
    grpc_implementation: str = option(
        "native",
        group="Program",
        check=one_of("native", "grpcio"),
        help="gRPC transport: native, or grpcio (slower; needs the extra konnectivity[grpcio]).",
    )
    config: str = option("", metavar="file", help="YAML file with the names of these flags as its keys.")
    check_config: bool = option(False, help="Print the options in force and exit.")

    @property
    def growth_budget(self) -> int:
        """Bytes by which all windows together may grow."""
        return self.process_buffer_budget // 2

    def ledger(self) -> MemoryBudget:
        return MemoryBudget(
            process_budget=self.process_buffer_budget,
            tunnel_budget=self.tunnel_buffer_budget,
            connection_budget=self.connection_buffer_budget,
            initial_window=self.connection_window,
            max_window=self.connection_window_max,
            growth_budget=self.growth_budget,
        )

    def problems(self) -> list[str]:
        found = []
        if self.enable_contention_profiling and not self.enable_profiling:
            found.append("--enable-contention-profiling needs --enable-profiling")
        if self.connection_window > self.connection_window_max:
            found.append("--connection-window is larger than --connection-window-max")
        return found
