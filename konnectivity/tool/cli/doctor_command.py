"""Command `konnectivity doctor`: finds why a tunnel does not work, or confirms that it does."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import uvloop

from konnectivity.http1.http_client import Url, parse_url
from konnectivity.net import addresses
from konnectivity.runtime.options import HelpRequested, positive_duration
from konnectivity.runtime.options.value_checks import existing_file
from konnectivity.tls import TlsError
from konnectivity.tool import admin_client
from konnectivity.tool.check_results import COLUMNS, CheckResult, any_failed, rows, to_do
from konnectivity.tool.cli import frontend_arguments, output
from konnectivity.tool.cli.programs import AGENT, SERVER, split
from konnectivity.untrusted.untrusted_text import visible

if TYPE_CHECKING:
    from konnectivity.tool.cli.doctor_checks.doctor_case import Case
    from konnectivity_agent.agent_options import AgentOptions
    from konnectivity_server.server_options import ServerOptions

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

_NOTHING = (
    "there is nothing to look at: give the arguments of proxy-agent or proxy-server behind --, or --admin, "
    "--egress-config, --kubeconfig, or --frontend with --dial"
)
_EXAMPLE = """\
exit code: 0, nothing failed; 1, something did; 2, wrong usage

example:
  konnectivity doctor -- proxy-agent --proxy-server-host=konnectivity.example --proxy-server-port=8132 \\
      --ca-cert=ca.crt --service-account-token-path=/var/run/secrets/tokens/konnectivity-agent-token
  konnectivity doctor --egress-config egress.yaml --dial 10.0.0.7:10250 -- proxy-server --uds-name=/run/k.sock ...
  konnectivity doctor --admin 127.0.0.1:8133 --admin 127.0.0.1:9133 --expect-agent node-1,node-2
  konnectivity doctor --watch --admin 127.0.0.1:8133
  konnectivity doctor --admin 127.0.0.1:8133 --tenant tenant-1
"""


# Option -> keywords of `ArgumentParser.add_argument`.
_OPTIONS: dict[str, dict[str, Any]] = {
    "--expect-agent": {
        "metavar": "IDS",
        "action": "append",
        "default": [],
        "help": "Comma-separated ids of agents that should be connected; may be repeated.",
    },
    "--tenant": {
        "metavar": "NAME",
        "default": "",
        "help": "Tenant of a server with --tenants whose files, credentials, agents and state are checked (default: "
        "the servers serve one cluster; of a directory, all tenants).",
    },
    "--egress-config": {"metavar": "FILE", "default": "", "help": "File with kube-apiserver's egress configuration."},
    "--dial": {
        "metavar": "HOST:PORT|URL",
        "default": "",
        "help": "Destination or URL to reach through the tunnel, with the time of each hop.",
    },
    "--kubeconfig": {
        "metavar": "FILE",
        "default": "",
        "help": "Kubeconfig for checks of the Kubernetes API (default: that of the program's arguments).",
    },
    "--token": {
        "metavar": "FILE",
        "default": "",
        "help": "File with an agent's token, which the Kubernetes API is asked to review.",
    },
    "--audience": {
        "default": "",
        "help": "Audience of the agents' tokens (default: the server's --authentication-audience, else "
        "system:konnectivity-server).",
    },
    "--warn-days": {
        "metavar": "N",
        "type": int,
        "default": 14,
        "help": "Days of validity below which a certificate is a warning (default: %(default)s).",
    },
    "--timeout": {"metavar": "DURATION", "default": "5s", "help": "Limit for each request (default: %(default)s)."},
    "--watch": {
        "action": "store_true",
        "help": "Ask the admin ports each second until interrupted, and print each change: a path, agent or server "
        "that fails, with the layer at fault, or works again. Servers with --probe report their paths.",
    },
}


class _Asked(NamedTuple):
    """Parsed command line of the doctor."""

    case: Case
    agents: list[tuple[AgentOptions, list[str]]]
    servers: list[tuple[ServerOptions, list[str]]]
    egress: str
    frontends: dict[str, Mapping[str, Any]]
    dial: str
    url: Url | None


def add_to(commands: Commands) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "doctor",
        help="find why a tunnel does not work, or confirm that it does",
        description="Check what a tunnel needs, from the machine where this command runs. It registers no agent and "
        "changes nothing; only --dial opens a connection through the tunnel. The arguments of proxy-agent or "
        "proxy-server, or of both, stand behind --, as in a manifest.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    admin_client.add_options(parser, several=True, default="")
    for name, settings in _OPTIONS.items():
        parser.add_argument(name, **settings)
    output.add_to(parser)
    frontend_arguments.add_to(parser, "--frontend", required=False)
    parser.add_argument(
        "arguments", nargs="*", metavar="PROGRAM ARGUMENTS", help="Arguments of proxy-server or proxy-agent, after --."
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the checks and return the exit code (listed in `_EXAMPLE`)."""
    try:
        asked = _asked(arguments)
    except (ValueError, TlsError, admin_client.AdminError) as error:
        output.complain("doctor", error)
        return 2
    if arguments.watch:
        if not asked.case.admins:
            output.complain("doctor", "--watch needs --admin, or the arguments of proxy-server")
            return 2
        from konnectivity.tool.cli.doctor_checks import doctor_watch

        client = replace(asked.case.client, tenant=asked.case.tenant)
        return doctor_watch.watch(asked.case.admins, client, arguments.output)
    results = uvloop.run(_examined(asked))
    _show(results, arguments.output)
    return 1 if any_failed(results) else 0


def _asked(arguments: argparse.Namespace) -> _Asked:
    """Return the parsed command line.

    Raises:
        ValueError, TlsError, AdminError: the arguments contradict each other, or a file cannot be used.

    """
    programs = split(arguments.arguments)
    alone = arguments.admin or arguments.egress_config or arguments.kubeconfig
    if not (programs or alone or (arguments.frontend and arguments.dial)):
        raise ValueError(_NOTHING)
    try:
        agents = [each.agent((existing_file,)) for each in programs if each.name == AGENT]
        servers = [each.server((existing_file,)) for each in programs if each.name == SERVER]
    except HelpRequested:
        raise ValueError("--help is among the program's arguments") from None
    given: dict[str, Mapping[str, Any]] = {}
    if arguments.frontend:
        found = frontend_arguments.of(arguments)
        given[str(found)] = found.keywords()
    where, url = _destination(arguments.dial)
    case = _case(arguments, [options for options, _ in agents], [options for options, _ in servers])
    return _Asked(case, agents, servers, arguments.egress_config, given, where, url)


def _destination(text: str) -> tuple[str, Url | None]:
    if not text:
        return "", None
    if "://" in text:
        url = parse_url(text)
        return url.address, url
    addresses.split(text)
    return text, None


def _case(arguments: argparse.Namespace, agents: Sequence[AgentOptions], servers: Sequence[ServerOptions]) -> Case:
    from datetime import UTC, datetime, timedelta

    from konnectivity.tool.cli.doctor_checks.doctor_case import DEFAULT_AUDIENCE, Case, here
    from konnectivity.tool.pki.certificate_check import Clock

    timeout_s = positive_duration("--timeout", arguments.timeout)
    token_files = (arguments.admin_token_file, *(each.admin_token_file for each in servers))
    case = Case(
        Clock(datetime.now(UTC), timedelta(days=arguments.warn_days)),
        timeout_s,
        arguments.kubeconfig,
        arguments.token,
        arguments.audience or DEFAULT_AUDIENCE,
        admins=tuple(arguments.admin),
        expected=tuple(each for text in arguments.expect_agent for each in text.split(",") if each),
        client=admin_client.client_of(next(filter(None, token_files), ""), timeout_s),
        tenant=arguments.tenant,
    )
    for server in servers:
        host = here(server.admin_bind_address)
        admin = f"[{host}]:{server.admin_port}" if ":" in host else f"{host}:{server.admin_port}"
        case = replace(case, admins=tuple(dict.fromkeys((*case.admins, admin))))
        if server.reviews_tokens:
            account = f"{server.agent_namespace}/{server.agent_service_account}"
            case = replace(case, audience=arguments.audience or server.authentication_audience, account=account)
    for agent in agents:
        hosts = tuple(host for host, _ in _hosts(agent))
        case = replace(case, agent_hosts=(*case.agent_hosts, *hosts))
        if servers and not case.token:
            case = replace(case, token=agent.service_account_token_path)
    return case


def _hosts(agent: AgentOptions) -> list[tuple[str, int]]:
    try:
        return agent.servers
    except ValueError:  # among its problems
        return []


async def _examined(asked: _Asked) -> list[CheckResult]:
    from konnectivity.tool.cli.doctor_checks import (
        agent_checks,
        doctor_case,
        egress_checks,
        server_checks,
        tenant_checks,
        tunnel_checks,
    )

    results: list[CheckResult] = []
    for agent, problems in asked.agents:
        results += doctor_case.options(AGENT, agent, problems)
        results += await agent_checks.agent(agent, asked.case)
    serving: list[ServerOptions] = []
    for server, problems in asked.servers:
        results += doctor_case.options(SERVER, server, problems)
        if not server.tenants:
            results += await server_checks.server(server, asked.case)
            serving.append(server)
            continue
        tenant, found = tenant_checks.options_of(server, asked.case.tenant)
        results += found
        if tenant is not None:
            results += tenant_checks.names(tenant, [each for each, _ in asked.agents], asked.case)
            results += await server_checks.server(tenant, asked.case, tenant_checks.a_server_name(tenant))
            serving.append(tenant)
    if asked.case.kubeconfig and not asked.servers:
        results += await tunnel_checks.kubernetes(asked.case)
    one = serving[0] if serving else None
    if asked.egress:
        results += await egress_checks.egress(asked.egress, one, asked.case)
    if asked.case.tenant:
        results += await tenant_checks.state(asked.case)
    results += await tunnel_checks.side_by_side(asked.case)
    if asked.dial:
        frontends = asked.frontends or egress_checks.frontends(one, asked.egress)
        results += await tunnel_checks.dial(frontends, asked.dial, asked.url, asked.case)
    return list(dict.fromkeys(results))


def _show(results: list[CheckResult], form: str) -> None:
    found = rows(results)
    advice = to_do(results)
    if form != output.TABLE:
        output.show({"healthy": not any_failed(results), "results": found, "to_do": advice}, form)
        return
    output.show(found, form, COLUMNS)
    if advice:
        print("\nTo do\n")
        print("\n".join(f"* {visible(line, 8 * 1024)}" for line in advice))
