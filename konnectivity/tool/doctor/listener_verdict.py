"""Verdict on the facts about an agents' listener. Pure: facts in, results out."""

from __future__ import annotations

from collections.abc import Iterator

from cryptography import x509

from konnectivity.tls import x509_fields as certificates
from konnectivity.tool.check_results import CheckResult, failed, ok, warning
from konnectivity.tool.doctor.certificate_files import results_of
from konnectivity.tool.doctor.listener_probe import Attempt, ProbedListener
from konnectivity.tool.pki import certificate_check, certificate_parsing
from konnectivity.tool.pki.roles import SERVER_AUTH

RESOLVE, REACH, TLS, ALPN, SNI = "resolve", "reach", "tls", "alpn", "sni"
TRUST, NAME, EXPIRY, USAGE, PORT, SERVED = (
    "certificate-trust",
    "certificate-name",
    "certificate-expiry",
    "certificate-usage",
    "agent-port",
    "certificate-served",
)


def judge(found: ProbedListener, ca: str, clock: certificate_check.Clock) -> list[CheckResult]:
    """Return all results on a listener."""
    if found.error:
        do = "DNS of this machine; in a pod with hostNetwork: dnsPolicy ClusterFirstWithHostNet"
        return [failed(RESOLVE, found.where, f"{found.host}: {found.error}", do)]
    if found.proxy:
        results = [ok(RESOLVE, found.where, f"left to the proxy {found.proxy} (HTTPS_PROXY)")]
    else:
        results = [ok(RESOLVE, found.where, ", ".join(each.address for each in found.attempts))]
    for attempt in found.attempts:
        results += _attempt(found, attempt, ca, clock)
    return results


def judge_own(found: ProbedListener, certificate: bytes) -> list[CheckResult]:
    """Check the listener of a server on this machine, which should show the first certificate of a PEM file."""
    if found.error or not found.attempts:
        return [failed(REACH, found.where, found.error or "no address", "--agent-bind-address")]
    attempt = found.attempts[0]
    if attempt.error:
        return [failed(REACH, found.where, attempt.error, "is the server running? its log: `Listening for agents`")]
    bare = attempt.bare
    if bare is None or bare.error:
        what = "something else answers there" if bare is not None and bare.no_tls else f"no TLS: {bare and bare.error}"
        return [failed(TLS, found.where, what, "is another program on this port? the server's log says so")]
    results = [ok(REACH, found.where, f"TCP in {attempt.connect_s * 1000:.1f} ms"), ok(TLS, found.where, bare.version)]
    return [*results, _alpn(found.where, bare.alpn), *_served(found.where, bare.leaf, certificate)]


def _served(where: str, leaf: bytes, certificate: bytes) -> list[CheckResult]:
    first = next(iter(certificates.chain(certificate)), b"")
    if first == leaf:
        return [ok(SERVED, where, "the certificate of --cluster-cert")]
    what = "the server shows another certificate than the one in --cluster-cert now"
    do = (
        "it takes new files within 10 s, but a subPath mount never changes; a server of the reference must be restarted"
    )
    return [warning(SERVED, where, what, do)]


def _attempt(found: ProbedListener, attempt: Attempt, ca: str, clock: certificate_check.Clock) -> Iterator[CheckResult]:
    where = found.where if attempt.address == found.host else f"{found.where} ({attempt.address})"
    if attempt.error:
        yield failed(REACH, where, attempt.error, _unreached(attempt.error))
        return
    yield ok(REACH, where, f"TCP in {attempt.connect_s * 1000:.1f} ms")
    bare = attempt.bare
    if bare is None or bare.error:
        why = bare.error if bare is not None else "not tried"
        do = "the port of the server's --agent-port, with TLS passed through by whatever is in between"
        if "UNRECOGNIZED_NAME" in why.upper():
            why = f"no tenant of the server has the name {found.host}"
            do = "server-names of the tenant; `konnectivity tenants` lists them, and those that are refused"
        what = "something answers, and not in TLS" if bare is not None and bare.no_tls else f"no TLS: {why}"
        yield failed(TLS, where, what, do)
        return
    yield ok(TLS, where, bare.version)
    yield _alpn(where, bare.alpn)
    yield from _sni(found, where, attempt)
    if bare.leaf:
        yield from _certificate(found, where, bare.leaf, clock)
    if attempt.chain is not None:
        yield _trust(where, attempt, ca)
    if attempt.answer is not None:
        yield _door(where, attempt)


def _unreached(why: str) -> str:
    if "refused" in why:
        return "is a server running there, with this --agent-port? does the Service or balancer have a backend?"
    if "no answer" in why:
        return "a firewall or a network policy drops the packets, or the address is of another network"
    return "routes, firewalls and the proxy between here and there"


def _alpn(where: str, agreed: str | None) -> CheckResult:
    if agreed == "h2":
        return ok(ALPN, where, "h2")
    what = f"the other side chose {agreed}" if agreed else "the other side agrees on no protocol"
    do = "agents need h2: a balancer that ends TLS must pass it through, and the port must be the server's --agent-port"
    return failed(ALPN, where, f"{what}, not h2", do)


def _sni(found: ProbedListener, where: str, attempt: Attempt) -> Iterator[CheckResult]:
    if attempt.nameless is None or attempt.bare is None:
        yield ok(SNI, where, "not sent: the host is an address")
    elif attempt.nameless.error:
        yield ok(SNI, where, f"{found.host}; without it there is no connection: something routes by the name")
    elif attempt.nameless.leaf != attempt.bare.leaf:
        yield ok(SNI, where, f"{found.host}; without it there is another certificate: something routes by the name")
    else:
        yield ok(SNI, where, f"{found.host}; the certificate does not depend on it")


def _certificate(
    found: ProbedListener, where: str, der: bytes, clock: certificate_check.Clock
) -> Iterator[CheckResult]:
    try:
        leaf = x509.load_der_x509_certificate(der)
        names = ", ".join(certificate_parsing.names(leaf)) or "no name"
        missing = certificate_check.missing_names(leaf, [found.host.strip("[]").removesuffix(".")])
        usages = certificate_parsing.usages(leaf)
    except ValueError as error:
        yield failed(NAME, where, f"the certificate cannot be read: {error}", "issue it again")
        return
    if missing:
        what = f"the certificate does not name {missing[0]}; it has {names}"
        yield failed(NAME, where, what, f"issue the server's certificate with {missing[0]}, or dial a name that it has")
    else:
        yield ok(NAME, where, names)
    expiry = results_of(EXPIRY, (each._replace(where=where) for each in certificate_check.validity(where, leaf, clock)))
    yield from expiry or [ok(EXPIRY, where, f"valid until {leaf.not_valid_after_utc:%Y-%m-%d %H:%M} UTC")]
    if usages and SERVER_AUTH not in usages and "any" not in usages:
        what = f"the certificate is for {', '.join(usages)}, not for {SERVER_AUTH}"
        yield failed(USAGE, where, what, f"issue it with the extended key usage {SERVER_AUTH}")


def _trust(where: str, attempt: Attempt, ca: str) -> CheckResult:
    assert attempt.chain is not None, "asked for if it is there"
    why = attempt.chain.error
    if not why:
        return ok(TRUST, where, f"comes from {ca}")
    issuer = _issuer(attempt)
    what = f"does not come from {ca}: {why}" + (f"; it was issued by {issuer}" if issuer else "")
    return failed(TRUST, where, what, "--ca-cert must be the CA that issued the server's certificate (--cluster-cert)")


def _issuer(attempt: Attempt) -> str:
    try:
        leaf = x509.load_der_x509_certificate(attempt.bare.leaf if attempt.bare is not None else b"")
        return leaf.issuer.rfc4514_string()
    except ValueError:
        return ""


# A server checks the client's certificate of TLS 1.3 after the client has finished its handshake: the server's alert
# arrives late, or the reset that follows the alert arrives before it.
_HANGS_UP = ("certificate", "alert", "closed by the peer", "connection reset", "broken pipe")


_OF_AGENTS = "the credential is one of agents"  # refusal of a port that agents share with frontends


def _door(where: str, attempt: Attempt) -> CheckResult:
    answer = attempt.answer
    assert answer is not None, "asked for if it is there"
    if answer.agents or _OF_AGENTS in answer.text:
        return ok(PORT, where, "takes agents, and this client's certificate if it asks for one")
    if answer.frontend:
        return failed(PORT, where, "this is a frontend, for kube-apiserver", "the port of the server's --agent-port")
    if any(each in answer.text.lower() for each in _HANGS_UP):
        what = f"the server does not take this client's certificate ({answer.text})"
        do = "--agent-cert and --agent-key of the CA that is the server's --cluster-ca-cert, with usage clientAuth"
        return failed(PORT, where, what, do)
    return warning(PORT, where, f"no answer that an agent port gives: {answer.text}", "is it a proxy server?")
