"""Command `konnectivity tenants`: lists the tenants of a running server, those in trouble first."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from konnectivity.tool import admin_client
from konnectivity.tool.cli import output

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

COLUMNS = ("name", "state", "agents", "connections", "dials", "failed", "trouble")
TROUBLED = ("refused", "outdated")
MAX_LISTED = 1000


def add_to(commands: Commands) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "tenants",
        help="list the tenants of a running server, those in trouble first",
        description="List the tenants of a server that runs with --tenants, as its admin port has them. The exit code "
        "is 1 if a tenant is refused, or served with outdated files. Example: konnectivity tenants --match example",
    )
    admin_client.add_options(parser)
    parser.add_argument(
        "--match",
        metavar="TEXT",
        default="",
        help="List only tenants whose name, server name, state or trouble has this text (default: all tenants).",
    )
    output.add_to(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return 0 if the files of every listed tenant are in use."""
    path = f"/api/v1/tenants?sort=state&limit={MAX_LISTED}&match={admin_client.quoted(arguments.match)}"
    try:
        client = admin_client.client_of(arguments.admin_token_file)
        found: dict[str, Any] = client.get_json(arguments.admin, path)
    except admin_client.AdminError as error:
        output.complain("tenants", error)
        return 2
    tenants = found["tenants"]
    if arguments.output == output.TABLE:
        output.show([row | {"failed": row.get("dial_failures")} for row in tenants], output.TABLE, COLUMNS)
        if found["matching"] > len(tenants):
            print(f"... and {found['matching'] - len(tenants)} more: --match selects some")
    else:
        output.show(tenants, arguments.output)
    return 1 if any(row["state"] in TROUBLED for row in tenants) else 0
