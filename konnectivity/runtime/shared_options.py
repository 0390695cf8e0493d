"""Options that both programs have: profiles, memory and protocol."""

from __future__ import annotations

from dataclasses import dataclass

from konnectivity.http1.connection_limit import MAX_CONNECTIONS
from konnectivity.runtime.memory_limit import usable_memory
from konnectivity.runtime.options import at_least, duration, one_of, option, positive, size
from konnectivity.runtime.process_options import ProcessOptions
from konnectivity.tunnel.memory_budget import MemoryBudget, first_window, growth_share, process_share, tunnel_share


@dataclass(frozen=True, init=False, repr=False, eq=False)
class ProgramOptions(ProcessOptions):
    """Options that both programs have, base of the options of each."""

    enable_profiling: bool = option(
        False, group="Health, metrics, profiles", help="Serve profiles at /debug/pprof of the admin port."
    )
    enable_contention_profiling: bool = option(
        False, help="Measure the delay of the event loop for the profiles; needs --enable-profiling."
    )
    max_health_connections: int = option(
        MAX_CONNECTIONS,
        check=positive,
        help="Maximum number of concurrent connections to the health port, and again to the admin port; at the limit a "
        "new connection replaces an idle one.",
    )
    process_buffer_budget: int = option(
        size("0"),
        group="Memory",
        check=at_least(0),
        help="Maximum number of bytes that wait in this process for peers to read; above the limit new dials are "
        "refused, and stalled connections are reset (0 = a quarter of the memory limit of the cgroup or of the "
        "machine's memory, at most 256Mi; below a limit of 48Mi, half of the memory above 24Mi, at least 2Mi).",
    )
    tunnel_buffer_budget: int = option(
        size("0"),
        check=at_least(0),
        help="Maximum number of bytes that wait for peers to read on the connections of one tunnel (between one agent "
        "and one server); above the limit new dials through the tunnel are refused (0 = a quarter of "
        "--process-buffer-budget, at least 8Mi).",
    )
    connection_buffer_budget: int = option(
        size("1Mi"),
        check=positive,
        help="Maximum number of bytes that wait for one connection whose peer has no flow control; above the limit the "
        "stream that the connection shares is held.",
    )
    stream_hold_timeout: float = option(
        duration("2s"),
        check=positive,
        help="Maximum time that one connection above --connection-buffer-budget holds its shared stream, before that "
        "connection is reset.",
    )
    connection_window: int = option(
        size("0"),
        check=at_least(0),
        help="Initial flow-control window per connection and direction, in bytes, if the peer has flow control (0 = "
        "64Ki, or 16Ki if --process-buffer-budget is below 16Mi).",
    )
    connection_window_max: int = option(
        size("32Mi"), check=positive, help="Maximum flow-control window per connection and direction, in bytes."
    )
    konnectivity_extension: bool = option(
        True,
        group="Protocol",
        help="Offer this project's extension of the protocol (flow control, half-close, exact close) to peers that "
        "know it; false = only the reference protocol.",
    )
    grpc_implementation: str = option(
        "native",
        check=one_of("native", "grpcio"),
        help="gRPC transport: native, or grpcio, which is slower and needs the extra konnectivity[grpcio].",
    )

    @property
    def processes(self) -> int:
        """Return the number of processes that share the memory of this program."""
        return 1

    def memory_budget(self) -> MemoryBudget:
        """Return the memory budget of this process, with nothing reserved; read the memory limit of its cgroup."""
        process = self.process_buffer_budget or process_share(usable_memory(), self.processes)
        return MemoryBudget(
            process_budget=process,
            tunnel_budget=self.tunnel_buffer_budget or tunnel_share(process),
            connection_budget=self.connection_buffer_budget,
            initial_window=self.connection_window or min(first_window(process), self.connection_window_max),
            max_window=self.connection_window_max,
            growth_budget=growth_share(process),
        )

    def problems(self) -> list[str]:
        found = []
        if self.enable_contention_profiling and not self.enable_profiling:
            found.append("--enable-contention-profiling needs --enable-profiling")
        if self.connection_window > self.connection_window_max:
            found.append("--connection-window is larger than --connection-window-max")
        return found
