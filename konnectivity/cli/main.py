"""Entry point of the `konnectivity` tool: finds the command and runs it."""

from __future__ import annotations

import argparse
import sys

from konnectivity import __version__
from konnectivity.cli import curl, demo, dial, doctor, egress_config, explain, explain_route, kubeconfig, pki, top


def main(argv: list[str] | None = None) -> None:
    """Console script `konnectivity`."""
    parser = argparse.ArgumentParser(prog="konnectivity", description="Tools for Konnectivity tunnels.")
    parser.add_argument("--version", action="version", version=f"konnectivity {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    dial.add_to(commands)
    curl.add_to(commands)
    doctor.add_to(commands)
    explain.add_to(commands)
    explain_route.add_to(commands)
    top.add_to(commands)
    pki.add_to(commands)
    kubeconfig.add_to(commands)
    egress_config.add_to(commands)
    demo.add_to(commands)
    arguments = parser.parse_args(argv)
    try:
        sys.exit(arguments.run(arguments))
    except KeyboardInterrupt:
        sys.exit(130)
