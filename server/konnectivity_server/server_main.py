"""Entry point of `proxy-server`."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Coroutine
from typing import Any

from konnectivity.runtime import lifecycle, standard_streams
from konnectivity.runtime.options import effective, load
from konnectivity_server.server_options import ServerOptions

DESCRIPTION = (
    "The Konnectivity proxy server: carries kube-apiserver's connections to nodes, through agents that dialled in."
)


def main(argv: list[str] | None = None) -> None:
    """Run the console script `proxy-server`."""
    with standard_streams.checked("proxy-server"):
        options = load(ServerOptions, "proxy-server", DESCRIPTION, argv)
        if options.check_config:
            standard_streams.say(f"{effective(options)}\n")
            sys.exit(0 if not options.tenants or _tenants_judged(options) else 1)
    options.start_log("proxy-server")
    sys.exit(lifecycle.run(_program(options)))


def _tenants_judged(options: ServerOptions) -> bool:
    """Print a verdict on each tenant of the directory, and return whether all can be served."""
    from konnectivity_server.tenants import directory_check

    text, good = directory_check.report(options)
    standard_streams.say(text)
    return good


def _program(options: ServerOptions) -> Callable[[], Coroutine[Any, Any, int]]:
    """Return the program of this process: the server, one worker of it, or the supervisor of the workers."""
    from konnectivity_server.workers import worker  # after the options: `--help` needs none of it

    server_id = options.server_id or lifecycle.random_id()
    this = worker.taken()
    if this is None and options.workers != 1:
        from konnectivity_server.workers import supervisor

        return functools.partial(supervisor.run, options, server_id)
    from konnectivity_server import server_app

    if this is not None:
        return functools.partial(server_app.run, options, this.server_id(server_id), this)
    return functools.partial(server_app.run, options, server_id)
