"""Entry point of `konnectivity forward`."""

from __future__ import annotations

import functools
import sys
from collections.abc import Sequence

from konnectivity.forward.forward_options import ForwardOptions
from konnectivity.runtime import lifecycle, standard_streams
from konnectivity.runtime.options import effective, load

PROGRAM = "konnectivity forward"
DESCRIPTION = (
    "SOCKS5 and HTTP proxy through which programs of the control plane reach nodes, pods and services behind agents."
)


def main(argv: Sequence[str] | None = None) -> None:
    """Run `konnectivity forward` with the arguments behind its name."""
    with standard_streams.checked(PROGRAM):
        options = load(ForwardOptions, PROGRAM, DESCRIPTION, sys.argv[2:] if argv is None else argv)
        if options.check_config:
            standard_streams.say(f"{effective(options)}\n")
            sys.exit(0)
    options.start_log("konnectivity-forward")
    from konnectivity.forward import forward_app  # after the options: `--help` needs none of it

    sys.exit(lifecycle.run(functools.partial(forward_app.run, options)))
