"""Entry points of konnectivity-socks5-proxy and konnectivity-https-proxy, HyperShift's proxies.

Owns nothing: the flags are translated, and the forward proxy runs as it does for `konnectivity forward`.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Sequence

from konnectivity.forward.forward_main import DESCRIPTION
from konnectivity.forward.hypershift_options import HttpsProxyOptions, HypershiftOptions, Socks5ProxyOptions
from konnectivity.runtime import lifecycle, standard_streams
from konnectivity.runtime.options import load

PROGRAMS: dict[str, type[HypershiftOptions]] = {
    "konnectivity-socks5-proxy": Socks5ProxyOptions,
    "konnectivity-https-proxy": HttpsProxyOptions,
}


def main(argv: Sequence[str]) -> None:
    """Run the program that the first word names, with the arguments behind it."""
    program, *words = argv
    with standard_streams.checked(program):
        options = load(PROGRAMS[program], program, DESCRIPTION, words).forward_options()
    options.start_log(program)
    from konnectivity.forward import forward_app  # after the options: `--help` needs none of it

    sys.exit(lifecycle.run(functools.partial(forward_app.run, options)))
