"""Checks of one tenant of a server with --tenants: its files, its credentials, and its state on the admin port."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from konnectivity.tool import admin_client
from konnectivity.tool.check_results import CheckResult, failed, ok, skipped, warning
from konnectivity.tool.cli.doctor_checks.doctor_case import Case, there
from konnectivity.tool.doctor import certificate_files

if TYPE_CHECKING:
    from konnectivity_agent.agent_options import AgentOptions
    from konnectivity_server.server_options import ServerOptions
    from konnectivity_server.tenants.tenant_options import TenantOptions

TENANT, NAMES, AGENT, FILES = "tenant", "tenant-names", "tenant-agent", "tenant-files"
_NOT_READY = "not ready"


def options_of(given: ServerOptions, name: str) -> tuple[TenantOptions | None, list[CheckResult]]:
    """Return the options of a tenant of a server's directory, if the server would serve it, and what was found.

    Without a name, every tenant of the directory is judged, and none is returned.
    """
    from konnectivity_server.tenants import directory_check, tenant_directory

    results, found = [], None
    for tenant, why in directory_check.verdicts(given):
        if name and tenant != name:
            continue
        if why:
            results.append(failed(FILES, tenant, why, "correct the file that the reason names"))
            continue
        results.append(ok(FILES, tenant, f"{given.tenants}: can be served"))
        if name:
            directory = tenant_directory.TenantDirectory(given)
            found = directory.read(tenant, directory.names()[tenant]).options
    if name and not results:
        do = "its folder or its file NAME.yaml; in a Secret, the key NAME.yaml, and the kubelet's next look (a minute)"
        results.append(failed(FILES, name, f"{given.tenants} declares no such tenant", do))
    return found, results


def names(options: TenantOptions, agents: Sequence[AgentOptions], case: Case) -> list[CheckResult]:
    """Check that agents dial a server name of the tenant, with a certificate that the tenant takes."""
    from konnectivity_server.tenants.server_names import ServerNames

    ours: ServerNames[bool] = ServerNames()
    ours.add(options.server_names, True)
    results = []
    for host in case.agent_hosts:
        if ours.find(host):
            results.append(ok(NAMES, host, f"is of the tenant: {', '.join(options.server_names)}"))
        else:
            what = f"agents dial {host}; the tenant has {', '.join(options.server_names)}"
            results.append(
                failed(NAMES, host, what, "--proxy-server-host of the agents, or server-names of the tenant")
            )
    for agent in agents:
        if options.cluster_ca_cert and there(agent.agent_cert, agent.agent_key, options.cluster_ca_cert):
            files = (agent.agent_cert, agent.agent_key, options.cluster_ca_cert)
            results += certificate_files.pair_of_authority(AGENT, *files, "agent", case.clock)
        elif options.cluster_ca_cert and not agent.agent_cert:
            do = "--agent-cert and --agent-key, from the CA that is the tenant's cluster-ca-cert"
            results.append(failed(AGENT, "proxy-agent", "shows no certificate, which the tenant demands", do))
    return results


def a_server_name(options: TenantOptions) -> str:
    """Return a TLS server name that leads to the tenant."""
    return options.server_names[0].replace("*", "doctor", 1)


async def state(case: Case) -> list[CheckResult]:
    """Ask each admin port for the state of the tenant."""
    return [
        each for found in await asyncio.gather(*(_asked(address, case) for address in case.admins)) for each in found
    ]


async def _asked(address: str, case: Case) -> list[CheckResult]:
    path = f"/api/v1/tenants?match={admin_client.quoted(case.tenant)}&limit=1000"
    try:
        found = await asyncio.to_thread(case.client.get_json, address, path)
        rows = {str(each["name"]): each for each in found["tenants"]}
    except (admin_client.AdminError, KeyError, TypeError) as error:
        return [skipped(TENANT, address, f"gives no list of tenants: {error}", "is it a server with --tenants?")]
    row = rows.get(case.tenant)
    if row is None:
        do = "the key NAME.yaml in its Secret, and the kubelet's next look (a minute); `konnectivity tenants`"
        return [failed(TENANT, address, f"has no tenant {case.tenant}", do)]
    return [judged(address, row)]


def judged(address: str, row: dict[str, Any]) -> CheckResult:
    """Return the verdict on a tenant as an admin port shows it."""
    state, trouble = str(row.get("state")), str(row.get("trouble") or "")
    if state == "refused":
        return failed(TENANT, address, f"is refused: {trouble}", "correct the file that the reason names")
    if state == "outdated":
        return warning(TENANT, address, f"is served with its files of before: {trouble}", "correct the new files")
    if state == _NOT_READY:
        do = "its agents' log, and `konnectivity doctor -- proxy-agent ...` where they run"
        return failed(TENANT, address, f"not ready: {trouble or 'no agent is connected'}", do)
    served = ", ".join(map(str, row.get("server_names", ())))
    return ok(TENANT, address, f"ready: {row.get('agents')} agents, {row.get('dials')} dials, by {served}")
