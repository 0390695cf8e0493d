"""Checks from the position of an agent: its files, every server it would dial, and a running agent on this machine."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from konnectivity.tool import admin_client
from konnectivity.tool.check_results import CheckResult, failed, ok, skipped
from konnectivity.tool.cli.doctor_checks.doctor_case import Case, here, there
from konnectivity.tool.doctor import certificate_files, kubernetes_api, listener_probe, listener_verdict, token_check
from konnectivity.untrusted.file_content import read_any
from konnectivity.untrusted.numbers import finite

if TYPE_CHECKING:
    from konnectivity_agent.agent_options import AgentOptions

_PREFIX = "konnectivity_network_proxy_agent_"


async def agent(given: AgentOptions, case: Case) -> list[CheckResult]:
    """Check an agent's files and every server that the agent would dial."""
    results = _agent_files(given, case)
    try:
        proxies = given.proxies(os.environ)
        hosts = given.servers
    except ValueError as error:
        return [*results, failed("proxy", "environment, --proxy-server-host", str(error), "correct it")]
    probes = []
    for host, port in hosts:
        alpn = (*given.alpn_proto, "h2")
        pair = (given.agent_cert, given.agent_key)
        client = listener_probe.Client(given.ca_cert, *pair, alpn, proxies.get((host, port)), case.timeout_s)
        probes.append(listener_probe.probe(host, port, client))
    for found in await asyncio.gather(*probes):
        results += listener_verdict.judge(found, given.ca_cert, case.clock)
    if given.count_server_leases:
        where = (given.kubeconfig or case.kubeconfig, given.lease_namespace, given.lease_label_selector)
        results += await kubernetes_api.leases(*where, len(case.admins))
    return results + await asyncio.to_thread(_running_agent, given, case)


def _agent_files(given: AgentOptions, case: Case) -> list[CheckResult]:
    results = []
    if there(given.ca_cert):
        results += certificate_files.bundle("ca", given.ca_cert, case.clock)
    if there(given.agent_cert, given.agent_key):
        results += certificate_files.pair("client-certificate", given.agent_cert, given.agent_key, "agent", case.clock)
    path = case.token or given.service_account_token_path
    if path:
        results += _token(path, case)
    elif not given.agent_cert:
        do = "--agent-cert and --agent-key, or --service-account-token-path"
        results.append(failed("credential", "proxy-agent", "it shows neither a certificate nor a token", do))
    return results


def _token(path: str, case: Case) -> list[CheckResult]:
    try:
        content = read_any(path)
    except OSError as error:
        do = "the projected volume of the pod, and its mount"
        return [failed(token_check.TOKEN, path, f"cannot be read: {error.strerror}", do)]
    return token_check.judge(path, content, case.audience, case.account, case.now)


def _running_agent(given: AgentOptions, case: Case) -> list[CheckResult]:
    """Report how many servers a running agent with these options is connected to, if one runs on this machine."""
    host = here(given.health_server_host)
    address = f"{host}:{given.health_server_port}"
    try:
        text = admin_client.AdminClient(case.timeout_s).get(address, "/metrics").body.decode("utf-8", "replace")
    except admin_client.AdminError:
        return [skipped("agent-servers", address, "no agent answers there: is it on another machine?")]
    figures = dict(line.rsplit(" ", 1) for line in text.splitlines() if line.startswith(_PREFIX))
    has, knows = (finite(figures.get(_PREFIX + name)) for name in ("open_server_connections", "known_server_count"))
    if has is None:
        return [skipped("agent-servers", address, "something else answers there")]
    if finite(figures.get(_PREFIX + "doubled_server_ids")):
        what = "two servers have the same server ID, and only one of them is connected"
        do = "give each server its own --server-id; the agent's log names both addresses"
        return [failed("agent-servers", address, what, do)]
    what = f"connected to {has:g} of {knows or 0:g} servers that it knows of"
    if has < max(knows or 0, 1):
        do = "its log: `Cannot connect to the server`; the other addresses in this table"
        return [failed("agent-servers", address, what, do)]
    return [ok("agent-servers", address, what)]
