"""Command `konnectivity explain-route HOST:PORT`: shows which agent a server would ask for a destination, and why."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from konnectivity.net import addresses
from konnectivity.tool import admin_client
from konnectivity.tool.cli import output
from konnectivity.untrusted.untrusted_text import visible

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]


def add_to(commands: Commands) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "explain-route",
        help="show which agent a server would ask for a destination, and why",
        description="Ask a running server, on its admin port, how it would choose an agent for a destination. "
        "Example: konnectivity explain-route 10.0.0.7:10250 --admin 127.0.0.1:8095",
    )
    parser.add_argument(
        "destination", metavar="HOST:PORT", type=_destination, help="Destination of the dial; the port may be left out."
    )
    admin_client.add_options(parser)
    admin_client.add_tenant_option(parser)
    parser.add_argument(
        "-o", "--output", choices=("text", "json"), default="text", help="Output format (default: %(default)s)."
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return 0 if a server has an agent for the destination."""
    try:
        client = admin_client.client_of(arguments.admin_token_file, tenant=arguments.tenant)
        found: dict[str, Any] = client.get_json(
            arguments.admin, f"/api/v1/route?destination={admin_client.quoted(arguments.destination)}"
        )
    except admin_client.AdminError as error:
        output.complain("explain-route", error)
        return 2
    print(json.dumps(found, indent=2) if arguments.output == "json" else text_of(found))
    ready = [peer for peer in found["peers"] if peer["state"] == "ready"]
    return 0 if ready or any(step["agents"] for step in found["strategies"]) else 1


def _destination(text: str) -> str:
    """Return the destination, HOST:PORT or HOST, or raise ArgumentTypeError."""
    try:
        if addresses.has_port(text):
            addresses.split(text)
        else:
            addresses.check_host(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{error}; write HOST:PORT, as in 10.0.0.7:10250") from None
    return text


def text_of(found: dict[str, Any]) -> str:
    """Return a server's answer as text for a person."""
    lines = [f"{visible(found['destination'])} (host {visible(found['host'])})"]
    for step in found["strategies"]:
        lines.append(f"  {step['strategy']}: {step['agents']} agents, {step['ready']} ready")
        lines += [f"    {visible(each['id'])}  {each['state']}  load {each['load']:g}" for each in step["listed"]]
        hidden = step["agents"] - len(step["listed"])
        lines += [f"    ... and {hidden} more"] if hidden else []
    return "\n".join([*lines, f"=> {visible(found['verdict'], 8 * 1024)}"])
