"""Tests of odd certificates: `konnectivity pki --check` reports those that Go or OpenSSL refuse, and no others."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import NamedTuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from konnectivity.tool.findings import ERROR
from konnectivity.tool.pki import certificate_check, certificate_parsing, private_keys
from konnectivity.tool.pki.authority import Authority

NOW = datetime.now(UTC)
CLOCK = certificate_check.Clock(NOW, timedelta(days=1))
AUTHORITY = Authority.create("konnectivity-ca")
HOST = "server.konnectivity.example"
NAMES = (x509.DNSName(HOST),)
SERVER, CLIENT = [ExtendedKeyUsageOID.SERVER_AUTH], [ExtendedKeyUsageOID.CLIENT_AUTH]
SMALL = rsa.generate_private_key(65537, 1024)


def leaf(
    names=NAMES,
    usages=SERVER,
    key=None,
    begin=NOW - timedelta(days=1),
    end=NOW + timedelta(days=30),
    issuer=AUTHORITY,
    signature=True,
    ca=False,
    extra=(),
    identifier=None,
    common_name="konnectivity-server",
    serial=None,
):
    key = key or ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    builder = x509.CertificateBuilder(
        name_of(issuer), name, key.public_key(), serial or x509.random_serial_number(), begin, end
    )
    builder = builder.add_extension(x509.BasicConstraints(ca, None), True)
    usage = dict.fromkeys(
        ("content_commitment", "data_encipherment", "key_agreement", "crl_sign", "encipher_only", "decipher_only"),
        False,
    )
    builder = builder.add_extension(
        x509.KeyUsage(digital_signature=signature, key_encipherment=False, key_cert_sign=ca or not signature, **usage),
        True,
    )
    issuer_key = issuer.key.public_key() if issuer else key.public_key()
    identifier = identifier or x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key)
    builder = builder.add_extension(identifier, False)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), False)
    if usages:
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), False)
    for each, critical in extra:
        builder = builder.add_extension(each, critical)
    signer = issuer.key if issuer else key
    return builder.sign(signer, private_keys.signing_hash(signer)), key


def name_of(issuer):
    own = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "konnectivity-server")])
    return issuer.certificate.subject if issuer else own


def authority(**how):
    certificate, key = leaf((), (), ca=True, common_name=how.pop("name", "middle"), **how)
    return Authority(certificate, key)


class Case(NamedTuple):
    chain: list  # the leaf first
    text: str = ""  # text of the expected finding; empty: no finding
    go: bool = True  # whether Go accepts the chain
    openssl: bool = True
    role: str = "server"
    name: str = HOST
    trusted: tuple = (AUTHORITY.certificate,)


def one(**how):
    return [leaf(**how)[0]]


MIDDLE = authority()
EXPIRED_MIDDLE = authority(begin=NOW - timedelta(days=9), end=NOW - timedelta(days=1))
NO_CA = Authority(*leaf(common_name="no-ca"))
TIGHT_LEAF = leaf(issuer=MIDDLE)[0]
OTHER = Authority.create("konnectivity-ca")
CASES = {
    "good": Case(one()),
    "good for clients": Case(one(usages=CLIENT, names=()), role="client", name=""),
    "good for both": Case(one(usages=SERVER + CLIENT)),
    "good for all": Case(one(usages=())),
    "good for any": Case(
        one(usages=[ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]), "good for any, not for serverAuth", True, False
    ),
    "a short wildcard": Case(one(names=[x509.DNSName("*.example")]), "does not name", True, False, name="a.example"),
    "good with RSA": Case(one(key=rsa.generate_private_key(65537, 2048))),
    "good with Ed25519": Case(one(key=ed25519.Ed25519PrivateKey.generate())),
    "wildcard": Case(one(names=[x509.DNSName("*.konnectivity.example")])),
    "another wildcard": Case(one(names=[x509.DNSName("*.server.konnectivity.example")]), "does not name", False, False),
    "wildcard of a part": Case(one(names=[x509.DNSName("ser*.konnectivity.example")]), "does not name", False),
    "capitals": Case(one(names=[x509.DNSName("Server.Konnectivity.EXAMPLE")])),
    "another name": Case(one(names=[x509.DNSName("other.example")]), f"does not name {HOST}", False, False),
    "the common name": Case(one(names=(), common_name=HOST), "no subject alternative name", False),
    "an address": Case(one(names=[x509.IPAddress(ip_address("203.0.113.7"))]), name="203.0.113.7"),
    "an address of six": Case(one(names=[x509.IPAddress(ip_address("2001:db8::1"))]), name="2001:DB8:0::1"),
    "an address as a name": Case(
        one(names=[x509.DNSName("203.0.113.7")]), "does not name 203.0.113.7", False, False, name="203.0.113.7"
    ),
    "expired": Case(one(end=NOW - timedelta(minutes=1)), "expired on", False, False),
    "not yet": Case(one(begin=NOW + timedelta(hours=1)), "not valid before", False, False),
    "for clients only": Case(one(usages=CLIENT), "is good for clientAuth, not for serverAuth", False, False),
    "for servers only": Case(one(), "is good for serverAuth, not for clientAuth", False, False, "client"),
    "for code": Case(one(usages=[ExtendedKeyUsageOID.CODE_SIGNING]), "good for codeSigning", False, False),
    "no signatures": Case(one(signature=False), "no digitalSignature", True, False),
    "small RSA": Case(one(key=SMALL), "RSA key has 1024 bits", True),
    "an odd curve": Case(one(key=ec.generate_private_key(ec.SECP256K1())), "on the curve secp256k1", False),
    "critical and unknown": Case(
        one(extra=[(x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00"), True)]),
        "critical extension 1.2.3.4",
        False,
        False,
    ),
    "another CA": Case(
        one(issuer=OTHER, identifier=x509.AuthorityKeyIdentifier(None, None, None)),
        "another CA of the same name",
        False,
        False,
    ),
    "another CA with an identifier": Case(one(issuer=OTHER), "another CA of the same name", False, False),
    "a CA of another name": Case(one(issuer=Authority.create("other")), "issued by 'CN=other'", False, False),
    "another key identifier": Case(
        one(identifier=x509.AuthorityKeyIdentifier(b"\x01\x02", None, None)), "authority key identifier", True, False
    ),
    "itself trusted": Case([NO_CA.certificate], trusted=(NO_CA.certificate,)),
    "through an intermediate": Case(
        [leaf(issuer=MIDDLE)[0], MIDDLE.certificate], "allows 0 CAs below it, and there are 1", False, False
    ),
    "the intermediate is trusted": Case([TIGHT_LEAF], trusted=(MIDDLE.certificate,)),
    "the intermediate is missing": Case([TIGHT_LEAF], "issued by 'CN=middle'", False, False),
    "an expired intermediate": Case(
        [leaf(issuer=EXPIRED_MIDDLE)[0], EXPIRED_MIDDLE.certificate], "'CN=middle' has expired", False, False
    ),
    "issued by no CA": Case([leaf(issuer=NO_CA)[0], NO_CA.certificate], "is not a CA", False, False),
}


def negative_serial():
    """Return a certificate with a negative serial number, which is patched in since libraries refuse to make one."""
    good = leaf(serial=0x7FFFFFFF)[0].public_bytes(Encoding.DER)
    return certificate_parsing.certificates(
        armoured(good.replace(b"\x02\x04\x7f\xff\xff\xff", b"\x02\x04\x80\x00\x00\x00", 1))
    )


def armoured(der):
    return b"-----BEGIN CERTIFICATE-----\n" + base64.b64encode(der) + b"\n-----END CERTIFICATE-----\n"


CASES["a negative serial number"] = Case(negative_serial(), "serial number is negative", False, False)


def pem(*certificates):
    return b"".join(each.public_bytes(Encoding.PEM) for each in certificates)


@pytest.fixture
def files(tmp_path):
    def write(case):
        chain, ca = tmp_path / "chain.pem", tmp_path / "ca.pem"
        chain.write_bytes(pem(*case.chain))
        ca.write_bytes(pem(*case.trusted))
        return chain, ca

    return write


def errors(case):
    bundle = certificate_check.File("ca.pem", pem(*case.trusted))
    wanted = (case.name,) if case.name else ()
    subject = certificate_check.Subject(
        certificate_check.File("chain.pem", pem(*case.chain)), case.role, None, (bundle,), wanted
    )
    return [each.finding for each in certificate_check.check(subject, CLOCK) if each.result == ERROR]


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_our_finding(case):
    found = errors(case)
    assert any(case.text in text for text in found) if case.text else found == []


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_go(programs, files, case):
    chain, ca = files(case)
    command = [programs / "judge", "certificate", case.role, ca, chain, *([case.name] if case.name else [])]
    said = json.loads(subprocess.run(command, capture_output=True, check=True, timeout=30).stdout)["error"]
    assert (said == "") == case.go, said
    assert case.go or errors(case), "Go refuses it, and we found nothing"


@pytest.mark.skipif(shutil.which("openssl") is None, reason="the program openssl is missing")
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_openssl(files, case):
    """OpenSSL accepts the expected certificates, and `konnectivity pki --check` reports each that OpenSSL refuses."""
    chain, ca = files(case)
    name = (
        []
        if not case.name
        else ["-verify_ip" if ":" in case.name or case.name[0].isdigit() else "-verify_hostname", case.name]
    )
    purpose = ["-purpose", f"ssl{case.role}", "-partial_chain"]
    command = ["openssl", "verify", *purpose, *name, "-CAfile", ca, "-untrusted", chain, chain]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert (done.returncode == 0) == case.openssl, done.stdout + done.stderr
    assert case.openssl or errors(case), "OpenSSL refuses it, and we found nothing"
