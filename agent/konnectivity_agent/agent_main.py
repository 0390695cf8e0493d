"""Entry point of `proxy-agent`."""

from __future__ import annotations

import functools
import os
import sys

from konnectivity.runtime import lifecycle, standard_streams
from konnectivity.runtime.options import effective, load
from konnectivity_agent.agent_options import AgentOptions

DESCRIPTION = "The Konnectivity proxy agent: dials out to a proxy server and opens the connections it asks for."


def main(argv: list[str] | None = None) -> None:
    """Console script `proxy-agent`."""
    with standard_streams.checked("proxy-agent"):
        options = load(AgentOptions, "proxy-agent", DESCRIPTION, argv)
        try:
            proxies = options.proxies(os.environ)
        except ValueError as error:
            sys.exit(f"Error: environment variable {error}")
        if options.check_config:
            standard_streams.say(f"{effective(options)}\n")
            sys.exit(0)
    options.start_log("proxy-agent")
    from konnectivity_agent import agent_app  # after the options: `--help` needs none of it

    sys.exit(
        lifecycle.run(functools.partial(agent_app.run, options, options.agent_id or lifecycle.random_id(), proxies))
    )
