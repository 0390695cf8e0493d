"""TLS contexts in real handshakes: the peers they accept and refuse, negotiation, and the errors for bad files."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from konnectivity.tls import TlsError, client_context, key_exchange, server_context, server_name
from konnectivity.tls.go_names import CIPHER_SUITES, TLS_VERSIONS
from konnectivity.tool.pki.authority import Authority, CertificateIdentity

CBC = "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA"
GCM = "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"
OLD_SUITES = [name for name in CIPHER_SUITES if "_WITH_" in name]


@pytest.fixture
def server(pki):
    def server(client_ca="", alpn=("h2",), **options):
        return server_context(*pki.server_files, client_ca, alpn, **options)

    return server


@pytest.fixture
def client(pki):
    def client(ca=pki.ca, files=("", ""), alpn=("h2",), highest=None):
        context = client_context(ca, *files, alpn)
        if highest is not None:
            context.maximum_version = highest
        return context

    return client


def signed(issuer, key, name, authority, server=False, extensions=True) -> CertificateIdentity:
    """Return a certificate as other tools make it: without the extensions that the strict rules require."""
    own = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    begin = datetime.now(UTC) - timedelta(hours=1)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer or subject)
    builder = builder.public_key(own.public_key()).serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(begin).not_valid_after(begin + timedelta(days=1))
    if authority:
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=False)
    if server:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("proxy.test")]), critical=False)
    made = builder.sign(key or own, hashes.SHA256())
    encoding = serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    return CertificateIdentity(
        made.public_bytes(serialization.Encoding.PEM), own.private_bytes(serialization.Encoding.PEM, *encoding)
    )


def load(identity: CertificateIdentity):
    return (
        x509.load_pem_x509_certificate(identity.cert_pem).subject,
        serialization.load_pem_private_key(identity.key_pem, None),
    )


# ---- trusted peers ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["proxy.test", "127.0.0.1", "::1"])
def test_a_server_is_known_by_its_alternative_names(shake, server, client, name):
    assert shake(server(), client(), name).client.selected_alpn_protocol() == "h2"


@pytest.mark.parametrize("host", ["proxy.test.", "proxy.test", "[::1]", "127.0.0.1"])
def test_hosts_as_people_write_them(shake, server, client, host):
    shake(server(), client(), server_name(host))


def test_the_common_name_is_no_host_name(shake, pki, client):
    identity = pki.authority.issue("proxy.test", server=True)
    context = server_context(*map(str, identity.write(pki.directory, "nameless")), "", ("h2",))
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        shake(context, client())


def test_a_client_must_show_a_certificate_of_the_ca(shake, pki, server, client):
    done = shake(server(pki.ca), client(files=pki.client_files))
    assert dict(done.server.getpeercert()["subject"][0]) == {"commonName": "agent"}
    with pytest.raises(ssl.SSLError, match="PEER_DID_NOT_RETURN_A_CERTIFICATE"):
        shake(server(pki.ca), client())
    stranger = Authority.create("stranger").issue("agent", client=True).write(pki.directory, "stranger")
    with pytest.raises(ssl.SSLCertVerificationError):
        shake(server(pki.ca), client(files=tuple(map(str, stranger))))


def test_a_client_may_show_none_where_it_is_optional_but_no_wrong_one(shake, pki, server, client):
    context = server(pki.ca, optional_client=True)
    assert shake(context, client()).server.getpeercert() is None
    assert shake(context, client(files=pki.client_files)).server.getpeercert()
    stranger = Authority.create("stranger").issue("agent", client=True).write(pki.directory, "stranger")
    with pytest.raises(ssl.SSLCertVerificationError):
        shake(context, client(files=tuple(map(str, stranger))))


def test_without_a_client_ca_nobody_is_asked(shake, pki, server, client):
    assert shake(server(), client(files=pki.client_files)).server.getpeercert() is None


def test_any_certificate_of_the_bundle_is_trusted_as_it_stands(shake, pki, client):
    """A root, an intermediate or the leaf itself is trusted, although none passes the strict rules."""
    root = signed(None, None, "root", True)
    between = signed(*load(root), "between", True)
    leaf = signed(*load(between), "leaf", False, server=True)
    chain = CertificateIdentity(leaf.cert_pem + between.cert_pem, leaf.key_pem)
    context = server_context(*map(str, chain.write(pki.directory, "chain")), "", ("h2",))
    for anchor in (root, between, leaf):
        shake(context, client(ca=pki.file("anchor.crt", anchor.cert_pem)))
    alone = server_context(*map(str, leaf.write(pki.directory, "alone")), "", ("h2",))
    shake(alone, client(ca=pki.file("anchor.crt", leaf.cert_pem)))
    with pytest.raises(ssl.SSLCertVerificationError):
        shake(alone, client(ca=pki.file("anchor.crt", root.cert_pem)))  # the intermediate certificate is not sent


def test_a_client_known_by_its_own_certificate(shake, pki, client, server):
    known = pki.file("known.crt", pki.client.cert_pem)
    shake(server(known), client(files=pki.client_files))
    other = pki.authority.issue("other", client=True).write(pki.directory, "other")
    with pytest.raises(ssl.SSLCertVerificationError):
        shake(server(known), client(files=tuple(map(str, other))))


def test_the_strict_rules_are_off(server, client):
    for context in (server(), client()):
        assert not context.verify_flags & ssl.VerifyFlags.VERIFY_X509_STRICT


# ---- negotiation -----------------------------------------------------------------------------------------------------


def test_the_preferred_protocol_of_the_server(shake, server, client):
    done = shake(server(alpn=("h2", "http/1.1")), client(alpn=("konnectivity", "http/1.1", "h2")))
    assert done.server.selected_alpn_protocol() == "h2"


@pytest.mark.parametrize("suite", [name for name in OLD_SUITES if "ECDSA" in name])
def test_each_suite_by_its_name(shake, server, client, suite):
    done = shake(server(ciphers=(suite,)), client(highest=ssl.TLSVersion.TLSv1_2))
    assert done.server.cipher()[0] == CIPHER_SUITES[suite]


def test_a_suite_for_keys_of_another_kind_is_none(shake, server, client):
    with pytest.raises(ssl.SSLError):
        shake(server(ciphers=("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",)), client(highest=ssl.TLSVersion.TLSv1_2))


def test_without_names_the_suites_are_gos(server, client):
    for context in (server(), client()):
        offered = {each["name"] for each in context.get_ciphers() if each["protocol"] != "TLSv1.3"}
        assert offered == {CIPHER_SUITES[name] for name in OLD_SUITES}


def test_the_order_of_the_names_does_not_matter(shake, server, client):
    done = shake(server(ciphers=(CBC, GCM)), client(highest=ssl.TLSVersion.TLSv1_2))
    assert done.server.cipher()[0] == CIPHER_SUITES[GCM]


def test_names_of_tls_1_3_do_not_limit_it(shake, server, client):
    done = shake(server(ciphers=(GCM, "TLS_CHACHA20_POLY1305_SHA256")), client())
    assert done.server.version() == "TLSv1.3"
    assert done.server.cipher()[0] == "TLS_AES_256_GCM_SHA384"


def test_names_of_tls_1_3_alone_leave_nothing_else(shake, server, client):
    context = server(ciphers=("TLS_AES_128_GCM_SHA256",))
    assert shake(context, client()).server.version() == "TLSv1.3"
    with pytest.raises(ssl.SSLError):
        shake(context, client(highest=ssl.TLSVersion.TLSv1_2))


@pytest.mark.parametrize("name", ["", *TLS_VERSIONS])
def test_versions(shake, server, client, name):
    context = server(min_version=name)
    assert shake(context, client()).server.version() == "TLSv1.3"
    if name == "VersionTLS13":
        with pytest.raises(ssl.SSLError):
            shake(context, client(highest=ssl.TLSVersion.TLSv1_2))
    else:
        assert shake(context, client(highest=ssl.TLSVersion.TLSv1_2)).server.version() == "TLSv1.2"


def test_unknown_names(server):
    with pytest.raises(TlsError, match="cipher suite 'AES' is unknown or insecure: use one of TLS_AES_128"):
        server(ciphers=("AES",))
    with pytest.raises(TlsError, match=r"TLS version '1\.2' is unknown: use one of VersionTLS10,"):
        server(min_version="1.2")


def test_nothing_is_resumed(shake, pki, server, client):
    context, dialing = server(pki.ca), client(files=pki.client_files)
    first = shake(context, dialing)
    assert not first.client.session.has_ticket
    assert not shake(context, dialing, session=first.client.session).client.session_reused


def test_a_session_of_tls_1_2_is_good_for_one_context_only(shake, pki, server, client):
    dialing = client(files=pki.client_files, highest=ssl.TLSVersion.TLSv1_2)
    first = shake(server(pki.ca), dialing)
    assert not first.client.session.has_ticket
    assert not shake(server(pki.ca), dialing, session=first.client.session).client.session_reused


# ---- files -----------------------------------------------------------------------------------------------------------


def test_a_bundle_may_hold_other_things(shake, pki, server, client):
    with_headers = pki.client.cert_pem.replace(b"CERTIFICATE-----\n", b"CERTIFICATE-----\nA: b\n\n", 1)
    content = b"# comment\n" + pki.client.key_pem + with_headers + pki.authority.certificate_pem
    content = content.replace(b"\n", b"\r\n") + Authority.create("another").certificate_pem
    shake(server(), client(ca=pki.file("bundle.crt", content)))


def test_certificate_and_key_in_one_file(shake, pki, client):
    both = pki.file("both.pem", pki.server.key_pem + pki.server.cert_pem)
    shake(server_context(both, both, "", ("h2",)), client())


def test_an_old_kind_of_key_with_its_parameters(shake, pki, client):
    key = serialization.load_pem_private_key(pki.server.key_pem, None)
    form = serialization.PrivateFormat.TraditionalOpenSSL
    text = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    parameters = b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
    path = pki.file("old.key", parameters + text)
    shake(server_context(pki.server_files[0], path, "", ("h2",)), client())


def broken(pem: bytes) -> bytes:
    """Return the PEM with its lines in another order, so that it contains no certificate."""
    lines = pem.splitlines()
    return b"\n".join([lines[0], lines[2], *lines[1:2], *lines[3:]])


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (lambda pki: b"", "holds no certificate"),
        (lambda pki: pki.client.key_pem, "holds no certificate"),
        (lambda pki: pki.authority.certificate_pem[:300], "line 1: the CERTIFICATE has no end"),
        (lambda pki: pki.authority.certificate_pem + broken(pki.client.cert_pem), "certificate 2 of it: malformed"),
        (lambda pki: pki.authority.certificate_pem.replace(b"MII", b"M%I"), "line 1: the CERTIFICATE is malformed"),
    ],
    ids=["empty", "a key", "cut off", "no certificate", "no base64"],
)
def test_bundles_that_are_none(pki, server, content, why):
    path = pki.file("bundle.crt", content(pki))
    for load in (lambda: server(path), lambda: client_context(path, "", "", ("h2",))):
        with pytest.raises(TlsError, match=f"cannot use CA bundle '{path}': {why}"):
            load()


def other_key(pki):
    return pki.authority.issue("other", server=True).key_pem


def rsa_key(pki):
    form = serialization.PrivateFormat.PKCS8
    key = rsa.generate_private_key(65537, 2048)
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


def encrypted(form):
    def make(pki):
        key = serialization.load_pem_private_key(pki.server.key_pem, None)
        return key.private_bytes(serialization.Encoding.PEM, form, serialization.BestAvailableEncryption(b"secret"))

    return make


@pytest.mark.parametrize(
    ("certificate", "key", "why"),
    [
        (None, other_key, "private key '.*new.key' does not belong to certificate '.*server.crt'"),
        (None, rsa_key, "private key '.*new.key' does not belong to certificate '.*server.crt'"),
        (None, encrypted(serialization.PrivateFormat.PKCS8), "'.*new.key': it is encrypted; write it without a"),
        (None, encrypted(serialization.PrivateFormat.TraditionalOpenSSL), "'.*new.key': it is encrypted; write it"),
        (None, lambda pki: b"", "cannot use private key '.*new.key': holds no private key"),
        (None, lambda pki: pki.server.cert_pem, "cannot use private key '.*new.key': holds no private key"),
        (None, lambda pki: pki.server.key_pem[:100], "private key '.*new.key': line 1: the PRIVATE KEY has no end"),
        (None, lambda pki: pki.server.key_pem.replace(b"MI", b"IM"), "cannot use certificate .* with key '.*new.key'"),
        (lambda pki: b"", None, "cannot use certificate '.*new.crt': holds no certificate"),
        (lambda pki: pki.server.cert_pem[:99], None, "certificate '.*new.crt': line 1: the CERTIFICATE has no end"),
        (lambda pki: broken(pki.server.cert_pem), None, "cannot use certificate '.*new.crt': malformed certificate"),
    ],
)
def test_pairs_that_are_none(pki, certificate, key, why):
    files = list(pki.server_files)
    if certificate is not None:
        files[0] = pki.file("new.crt", certificate(pki))
    if key is not None:
        files[1] = pki.file("new.key", key(pki))
    with pytest.raises(TlsError, match=why):
        server_context(*files, "", ("h2",))
    with pytest.raises(TlsError, match=why):
        client_context(pki.ca, *files, ("h2",))


@pytest.mark.parametrize("path", ["/no/such/file", "/tmp"])
def test_files_that_cannot_be_read(pki, path):
    certificate, key = pki.server_files
    for files, what in (
        ((path, key, ""), "certificate"),
        ((certificate, path, ""), "private key"),
        ((certificate, key, path), "CA bundle"),
    ):
        with pytest.raises(TlsError, match=f"cannot read {what} '{path}': (No such file|Is a directory)"):
            server_context(*files, ("h2",))


def test_a_connection_that_is_cut_is_noticed_whatever_the_version_of_python(server, client):
    for context in (server(), client()):
        assert not context.options & getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)


def test_the_key_exchange_is_hybrid_from_openssl_3_5_on():
    assert key_exchange((3, 5, 0)) == key_exchange((4, 0, 1)) == "X25519MLKEM768, hybrid and post-quantum"
    assert key_exchange((3, 4, 9)) == "X25519, not post-quantum: X25519MLKEM768 needs OpenSSL 3.5"
