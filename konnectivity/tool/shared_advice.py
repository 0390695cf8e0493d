"""Common mistakes with the options that both programs have. Pure: options in, findings out.

Mistakes with one program's options are in `konnectivity_server.server_advice` and `konnectivity_agent.agent_advice`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from konnectivity.net.addresses import is_loopback
from konnectivity.runtime.logs.log_options import LogOptions
from konnectivity.runtime.options import declared, deprecations, format_duration, notices
from konnectivity.tool.check_results import CheckResult, failed, warning

LOUD = 6  # log level from which single packets are logged
POD_GRACE_S = 30.0  # default grace period of a pod in Kubernetes, in seconds
LONG_SILENCE_S = 300.0  # balancers and NAT gateways forget a flow after some minutes
_UNEXPANDED = re.compile(r"\$[({][A-Za-z_][A-Za-z0-9_]*[)}]")


class ListenPort(NamedTuple):
    """Port that the program opens."""

    flag: str
    host: str
    port: int


def shared(options: LogOptions, listeners: Iterable[ListenPort]) -> list[CheckResult]:
    """Return advice on the log, on ports, and on placeholders that were left in values."""
    return [*_unexpanded(options), *_taken_twice(listeners), *_log(options), *_without_effect(options)]


def silence(heartbeat_s: float, keepalive_s: float, peer: str) -> list[CheckResult]:
    """Warn about a tunnel whose silence nobody notices."""
    if heartbeat_s or keepalive_s <= LONG_SILENCE_S:
        return []
    long = format_duration(keepalive_s)
    return [
        warning(
            "silence",
            "--heartbeat-interval",
            f"off, and --keepalive-time is {long}: {peer} that is gone is noticed after {long}, and a balancer forgets "
            "an idle line before that",
            "leave --heartbeat-interval at its default, or set --keepalive-time=30s",
        )
    ]


def profiles(enabled: bool, host: str, asks_for_token: bool = False) -> list[CheckResult]:
    """Say what the admin port shows, and to whom."""
    if is_loopback(host):
        return []
    what, do = f"reachable on {host or 'all addresses'}", "bind it to 127.0.0.1 and use kubectl port-forward"
    if asks_for_token:
        what += " without TLS: a token can be read on its way"
        return [warning("admin-port", "--admin-bind-address", what, f"{do}, or let only a proxy with TLS reach it")]
    what += ", and nobody is asked who they are"
    what += "; profiles show what the program holds in memory" if enabled else ""
    return [warning("admin-port", "--admin-bind-address", what, do)]


def grace(flag: str, seconds: float) -> list[CheckResult]:
    """Warn about a shutdown that takes longer than the pod's grace period."""
    if 0 < seconds < POD_GRACE_S:
        return []
    return [] if not seconds else [_longer_than_the_pod(flag, seconds)]


def _longer_than_the_pod(flag: str, seconds: float) -> CheckResult:
    return warning(
        "grace",
        flag,
        f"{format_duration(seconds)}; Kubernetes kills a pod {POD_GRACE_S:g} s after SIGTERM unless "
        "terminationGracePeriodSeconds says otherwise",
        f"set terminationGracePeriodSeconds to more than {seconds:g}, or {flag} to less",
    )


def _unexpanded(options: LogOptions) -> list[CheckResult]:
    """Warn about `${X}`, which Kubernetes never replaces, and `$(X)`, which needs a variable of the container."""
    found = []
    for each in declared(type(options)):
        text = each.kind.write(getattr(options, each.field))
        if match := _UNEXPANDED.search(text):
            found.append(
                warning(
                    "unexpanded",
                    f"--{each.flag}",
                    f"{match[0]} is taken literally by the program",
                    "in a manifest write $(NAME), and give the container an env of that name; Kubernetes does not know "
                    "${NAME}",
                )
            )
    return found


def _taken_twice(listeners: Iterable[ListenPort]) -> list[CheckResult]:
    seen: dict[int, ListenPort] = {}
    found = []
    for each in listeners:
        other = seen.setdefault(each.port, each)
        if other is not each and each.port:
            what = f"port {each.port}, which {other.flag} has as well"
            found.append(failed("ports", each.flag, what, "give one of them another port"))
    return found


def _log(options: LogOptions) -> list[CheckResult]:
    found = []
    if options.verbosity >= LOUD:
        what = f"{options.verbosity}: a line for each packet that opens or closes a connection"
        found.append(warning("log-volume", "-v", what, "-v=4, or less, in production"))
    if options.log_file and options.logtostderr:
        what = f"{options.log_file} is not written: --logtostderr is true"
        found.append(warning("log-file", "--log-file", what, "set --logtostderr=false, or drop --log-file"))
    return found


def _without_effect(options: LogOptions) -> list[CheckResult]:
    found = []
    for line in notices(options):
        flag, _, why = line.partition(" has no effect here: ")
        found.append(warning("no-effect", flag, f"has no effect here: {why}", f"drop {flag}"))
    for line in deprecations(options):
        flag = line.split()[1].rstrip(",")
        found.append(warning("deprecated", flag, line, "see docs/reference/options.md"))
    return found
