"""TLS of a port that several roles share: the authority that vouches for a client gives its role, and nothing else."""

from __future__ import annotations

import shutil
import ssl
from dataclasses import dataclass
from pathlib import Path

import pytest

from konnectivity.tls import ServerTls, SharedTls, TlsError, client_context, handshake_failures
from konnectivity.tls.handshake import on_failure
from konnectivity.tool.pki.authority import Authority
from support.small_pki import Handshake

REFUSALS = ("unknown_authority", "bad_certificate")  # the second: an authority with the name of a trusted one
VERSIONS = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)


@dataclass
class Roles:
    """Authorities of two roles and of servers, in files, and the TLS of their port."""

    directory: Path

    def __post_init__(self):
        self.authorities = {name: Authority.create(f"CA of {name}") for name in ("servers", "agents", "frontends")}
        for name, authority in self.authorities.items():
            self.write_ca(name, authority)
        server = self.authorities["servers"].issue("server", dns=["proxy.test"], server=True)
        self.server = tuple(map(str, server.write(self.directory, "server")))

    def write_ca(self, name, *authorities):
        (self.directory / f"{name}.crt").write_bytes(b"".join(each.certificate_pem for each in authorities))

    def path(self, name):
        return str(self.directory / f"{name}.crt")

    def files(self, role, client_ca=True):
        return ServerTls(*self.server, self.path(role) if client_ca else "", ["h2"], clock=lambda: self.time)

    time = 0.0

    def shared(self, agents_show_certificates=True):
        roles = {"agents": self.files("agents", agents_show_certificates), "frontends": self.files("frontends")}
        return SharedTls(roles, ["h2", "http/1.1"])

    def client(self, authority, *chain, version=ssl.TLSVersion.TLSv1_3, **how):
        """Return the context of a client with a certificate of an authority, followed by further certificates."""
        context = client_context(self.path("servers"), "", "", ["h2"])
        context.minimum_version = context.maximum_version = version
        if authority is not None:
            issued = authority.issue("somebody", client=True, **how)
            certificate, key = issued.write(self.directory, "client")
            with certificate.open("ab") as file:
                file.write(b"".join(each.certificate_pem for each in chain))
            context.load_cert_chain(certificate, key)
        return context

    def role(self, shared, client, session=None):
        return shared.role_of(Handshake(shared.context, client, "proxy.test", session).server)

    def refusal(self, shared, client):
        """Return why a handshake fails."""
        errors = []
        token = on_failure.set(errors.append)
        try:
            with pytest.raises((AssertionError, ssl.SSLError)):
                Handshake(shared.context, client, "proxy.test")
        finally:
            on_failure.reset(token)
        (error,) = errors
        return handshake_failures.of_client(error).reason


@pytest.fixture
def roles(tmp_path):
    return Roles(tmp_path)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_authority_gives_the_role(roles, version):
    shared = roles.shared()
    for role in ("agents", "frontends"):
        assert roles.role(shared, roles.client(roles.authorities[role], version=version)) == role


@pytest.mark.parametrize("version", VERSIONS)
def test_no_certificate_is_the_role_of_those_who_show_none(roles, version):
    nobody = roles.client(None, version=version)
    assert roles.role(roles.shared(agents_show_certificates=False), nobody) == "agents"
    assert roles.refusal(roles.shared(), nobody) == "no_certificate"


def test_a_certificate_of_neither_authority_is_refused(roles):
    for shared in (roles.shared(), roles.shared(agents_show_certificates=False)):
        for authority in (Authority.create("another CA"), Authority.create("CA of frontends")):
            assert roles.refusal(shared, roles.client(authority, authority)) in REFUSALS


def test_a_certificate_that_is_only_sent_along_gives_no_role(roles):
    agents, frontends = roles.authorities["agents"], roles.authorities["frontends"]
    assert roles.role(roles.shared(), roles.client(agents, frontends)) == "agents"
    assert roles.role(roles.shared(), roles.client(frontends, agents)) == "frontends"


def test_authorities_with_one_name_are_told_apart(roles):
    same = {name: Authority.create("kubernetes") for name in ("agents", "frontends")}
    for name, authority in same.items():
        roles.write_ca(name, authority)
    shared = roles.shared()
    for name, authority in same.items():
        assert roles.role(shared, roles.client(authority)) == name


def test_two_roles_cannot_have_an_authority_in_common(roles):
    roles.write_ca("agents", roles.authorities["agents"], roles.authorities["frontends"])
    with pytest.raises(TlsError, match="CA bundles of agents and frontends have a certificate in common"):
        roles.shared()


def test_a_changed_authority_changes_the_role_of_new_connections(roles):
    shared = roles.shared()
    agents, frontends = roles.authorities["agents"], roles.authorities["frontends"]
    client = roles.client(agents)
    assert roles.role(shared, client) == "agents"
    roles.write_ca("agents", Authority.create("next CA of agents"))
    roles.time += 2
    assert roles.refusal(shared, client) == "unknown_authority"
    roles.write_ca("agents", agents, frontends)  # a mistake, found while the server runs
    roles.time += 2
    assert roles.role(shared, client) == "agents"
    assert roles.role(shared, roles.client(frontends)) is None  # both roles' authorities vouch for it


def test_a_changed_server_certificate_is_shown(roles):
    shared = roles.shared()
    renewed = roles.authorities["servers"].issue("renewed", dns=["proxy.test"], server=True)
    for new, old in zip(renewed.write(roles.directory, "new"), roles.server, strict=True):
        shutil.copy(new, old)
    roles.time += 2
    client = roles.client(roles.authorities["agents"])
    shown = Handshake(shared.context, client, "proxy.test").client.getpeercert()
    assert (("commonName", "renewed"),) in shown["subject"]


def test_a_session_of_tls_1_2_is_never_resumed(roles):
    """A client that resumed its session would not be verified again."""
    shared, client = roles.shared(), roles.client(roles.authorities["agents"], version=ssl.TLSVersion.TLSv1_2)
    first = Handshake(shared.context, client, "proxy.test")
    again = Handshake(shared.context, client, "proxy.test", first.client.session)
    assert not again.server.session_reused
    assert shared.role_of(again.server) == "agents"
