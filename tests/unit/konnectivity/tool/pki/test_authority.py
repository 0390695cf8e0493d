"""Certificates of the throwaway authority, in real TLS handshakes."""

from __future__ import annotations

import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from konnectivity.tool.pki.authority import Authority, CertificateIdentity

AUTHORITY = Authority.create("test authority")


def context(purpose: ssl.Purpose, identity: CertificateIdentity, trusted: Authority, directory: Path) -> ssl.SSLContext:
    result = ssl.create_default_context(purpose, cadata=trusted.certificate_pem.decode())
    result.load_cert_chain(*identity.write(directory, purpose.name.lower()))
    if purpose is ssl.Purpose.CLIENT_AUTH:
        result.verify_mode = ssl.CERT_REQUIRED
    return result


def greet(raw: socket.socket, tls: ssl.SSLContext, server_hostname: str | None) -> bytes | ssl.SSLError:
    """Shake hands and exchange a byte: in TLS 1.3 a client learns only by reading that it was refused."""
    with raw:
        try:
            with tls.wrap_socket(raw, server_side=server_hostname is None, server_hostname=server_hostname) as line:
                line.sendall(b"x")
                return line.recv(1)
        except ssl.SSLError as error:
            return error
        except OSError as error:  # the other side hung up first, and has the reason
            return ssl.SSLError(str(error))


def handshake(
    directory: Path,
    server: CertificateIdentity,
    client: CertificateIdentity,
    hostname: str,
    trusted: Authority = AUTHORITY,
) -> tuple[bytes | ssl.SSLError, bytes | ssl.SSLError]:
    """Shake hands and return the results of the server and of the client."""
    server_tls = context(ssl.Purpose.CLIENT_AUTH, server, AUTHORITY, directory)
    client_tls = context(ssl.Purpose.SERVER_AUTH, client, trusted, directory)
    ours, theirs = socket.socketpair()
    ours.settimeout(10)
    theirs.settimeout(10)
    with ThreadPoolExecutor(1) as pool:
        serving = pool.submit(greet, ours, server_tls, None)
        answer = greet(theirs, client_tls, hostname)
        return serving.result(), answer


def server_identity() -> CertificateIdentity:
    return AUTHORITY.issue("server", dns=["proxy.test"], ips=["127.0.0.1", "::1"], server=True)


def client_identity() -> CertificateIdentity:
    return AUTHORITY.issue("agent", client=True)


@pytest.mark.parametrize("hostname", ["proxy.test", "127.0.0.1", "::1"])
def test_both_sides_accept_each_other(tmp_path: Path, hostname: str) -> None:
    assert handshake(tmp_path, server_identity(), client_identity(), hostname) == (b"x", b"x")


def test_a_name_that_was_not_issued_is_refused(tmp_path: Path) -> None:
    _, client = handshake(tmp_path, server_identity(), client_identity(), "other.test")
    assert isinstance(client, ssl.SSLCertVerificationError)
    assert "proxy.test" not in client.verify_message
    assert "other.test" in client.verify_message


def test_a_server_certificate_is_not_good_for_a_client(tmp_path: Path) -> None:
    server, _ = handshake(tmp_path, server_identity(), server_identity(), "proxy.test")
    assert isinstance(server, ssl.SSLCertVerificationError)
    assert "purpose" in server.verify_message


def test_a_client_certificate_is_not_good_for_a_server(tmp_path: Path) -> None:
    not_server = AUTHORITY.issue("agent", dns=["proxy.test"], client=True)
    _, client = handshake(tmp_path, not_server, client_identity(), "proxy.test")
    assert isinstance(client, ssl.SSLCertVerificationError)
    assert "purpose" in client.verify_message


def test_an_expired_certificate_is_refused(tmp_path: Path) -> None:
    expired = AUTHORITY.issue("agent", client=True, valid_for=timedelta(minutes=-5))
    server, _ = handshake(tmp_path, server_identity(), expired, "proxy.test")
    assert isinstance(server, ssl.SSLCertVerificationError)
    assert server.verify_message == "certificate has expired"


def test_another_authority_is_not_trusted(tmp_path: Path) -> None:
    other = Authority.create("test authority")
    _, client = handshake(tmp_path, server_identity(), client_identity(), "proxy.test", trusted=other)
    assert isinstance(client, ssl.SSLCertVerificationError)


def test_strict_verification_accepts_the_chain(tmp_path: Path) -> None:
    """The chain passes VERIFY_X509_STRICT, which Python 3.13 turns on."""
    server_tls = context(ssl.Purpose.CLIENT_AUTH, server_identity(), AUTHORITY, tmp_path)
    client_tls = context(ssl.Purpose.SERVER_AUTH, client_identity(), AUTHORITY, tmp_path)
    for each in (server_tls, client_tls):
        each.verify_flags |= ssl.VerifyFlags.VERIFY_X509_STRICT
    ours, theirs = socket.socketpair()
    with ThreadPoolExecutor(1) as pool:
        serving = pool.submit(greet, ours, server_tls, None)
        assert greet(theirs, client_tls, "proxy.test") == b"x"
        assert serving.result() == b"x"


def test_a_certificate_has_a_purpose() -> None:
    with pytest.raises(ValueError, match="certificate for x: pass server=True, client=True, or both"):
        AUTHORITY.issue("x")


def test_shape_of_the_certificates() -> None:
    assert isinstance(AUTHORITY.certificate.public_key(), ec.EllipticCurvePublicKey)
    issued = x509.load_pem_x509_certificate(server_identity().cert_pem)
    key = issued.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert key.curve.name == "secp256r1"
    assert issued.subject.rfc4514_string() == "CN=server"
    assert len(issued.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == 1
    issued.verify_directly_issued_by(AUTHORITY.certificate)


def test_files(tmp_path: Path) -> None:
    identity = client_identity()
    cert, key = identity.write(tmp_path / "pki", "agent")
    assert (cert, key) == (tmp_path / "pki" / "agent.crt", tmp_path / "pki" / "agent.key")
    assert cert.read_bytes() == identity.cert_pem
    assert key.stat().st_mode & 0o777 == 0o600
    assert serialization.load_pem_private_key(key.read_bytes(), None)
    ca = AUTHORITY.write(tmp_path / "pki")
    assert ca == tmp_path / "pki" / "ca.crt"
    assert x509.load_pem_x509_certificate(ca.read_bytes()) == AUTHORITY.certificate
    assert sorted(path.name for path in ca.parent.iterdir()) == ["agent.crt", "agent.key", "ca.crt"]


def test_writing_again_replaces_the_files(tmp_path: Path) -> None:
    client_identity().write(tmp_path, "agent")
    (tmp_path / "agent.key").chmod(0o644)
    renewed = client_identity()
    cert, key = renewed.write(tmp_path, "agent")
    assert (cert.read_bytes(), key.read_bytes()) == (renewed.cert_pem, renewed.key_pem)
    assert key.stat().st_mode & 0o777 == 0o600
