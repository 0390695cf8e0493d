"""Fields of certificates: our parser reads the same values as `cryptography`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import example, given
from hypothesis import strategies as st

from konnectivity.tls import x509_fields
from konnectivity.tls.x509_fields import Certificate
from konnectivity.tool.pki.authority import Authority

KEY = ec.generate_private_key(ec.SECP256R1())
AUTHORITY = Authority.create("test authority")
OIDS = [x509.NameOID.COMMON_NAME, x509.NameOID.ORGANIZATION_NAME, x509.NameOID.ORGANIZATIONAL_UNIT_NAME]
OIDS += [x509.NameOID.LOCALITY_NAME, x509.NameOID.STATE_OR_PROVINCE_NAME, x509.NameOID.DOMAIN_COMPONENT]
OIDS += [x509.NameOID.USER_ID, x509.NameOID.STREET_ADDRESS]

texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=40) | st.text(
    ' #,+"\\<>;=a', min_size=1, max_size=8
)
attributes = st.builds(
    x509.NameAttribute, st.sampled_from(OIDS), texts.filter(lambda text: len(text.encode()) <= 64)
)  # the library takes no longer ones
names = st.lists(st.lists(attributes, min_size=1, max_size=1).map(x509.RelativeDistinguishedName), max_size=5).map(
    x509.Name
)
times = st.datetimes(datetime(1950, 1, 1), datetime(9999, 12, 31, 23, 59, 59))


def build(subject: x509.Name, begin: datetime, end: datetime, serial: int = 1) -> x509.Certificate:
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(KEY.public_key())
    builder = builder.not_valid_before(begin).not_valid_after(end).serial_number(serial)
    return builder.sign(KEY, hashes.SHA256())


def expected(made: x509.Certificate) -> Certificate:
    begin, end = made.not_valid_before_utc.timestamp(), made.not_valid_after_utc.timestamp()
    return Certificate(made.subject.rfc4514_string(), begin, end, made.issuer.rfc4514_string())


def der(made: x509.Certificate) -> bytes:
    return made.public_bytes(serialization.Encoding.DER)


@given(names, st.tuples(times, times).map(sorted), st.integers(1, 2**159 - 1))
@example(x509.Name([]), [datetime(1950, 1, 1), datetime(2049, 12, 31, 23, 59, 59)], 1)
@example(x509.Name([]), [datetime(2050, 1, 1), datetime(9999, 12, 31, 23, 59, 59)], 1)
def test_as_cryptography_reads_it(subject, validity, serial):
    made = build(subject, *validity, serial)
    assert x509_fields.parse(der(made)) == expected(made)


@pytest.mark.parametrize("encoding", ["UTF8String", "PrintableString", "IA5String", "BMPString", "T61String"])
def test_encodings_of_names(encoding):
    kind = x509.name._ASN1Type[encoding]
    name = x509.Name([x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "kubernetes", kind)])
    assert x509_fields.parse(der(build(name, datetime(2024, 1, 1), datetime(2025, 1, 1)))).subject == "O=kubernetes"


def test_a_name_of_several_values_and_one_without_a_name():
    unknown = x509.NameAttribute(x509.ObjectIdentifier("2.5.4.97"), "x")
    known = x509.NameAttribute(x509.NameOID.COMMON_NAME, "agent")
    name = x509.Name([x509.RelativeDistinguishedName([known, unknown])])
    subject = x509_fields.parse(der(build(name, datetime(2024, 1, 1), datetime(2025, 1, 1)))).subject
    assert set(subject.split("+")) == {"CN=agent", "2.5.4.97=x"}


def test_the_first_of_a_file():
    issued = AUTHORITY.issue("agent", client=True, valid_for=timedelta(days=2))
    found = x509_fields.first(b"a key first\n" + issued.key_pem + issued.cert_pem + AUTHORITY.certificate_pem)
    assert found == expected(x509.load_pem_x509_certificate(issued.cert_pem))
    assert found.subject == "CN=agent"
    assert timedelta(hours=47) < datetime.fromtimestamp(found.not_after, UTC) - datetime.now(UTC) < timedelta(days=2)


def test_a_certificate_with_headers_is_skipped():
    with_headers = AUTHORITY.certificate_pem.replace(b"CERTIFICATE-----\n", b"CERTIFICATE-----\nA: b\n\n", 1)
    issued = AUTHORITY.issue("agent", client=True)
    assert x509_fields.first(with_headers + issued.cert_pem).subject == "CN=agent"


@pytest.mark.parametrize("content", [b"", AUTHORITY.issue("agent", client=True).key_pem], ids=["empty", "a key"])
def test_none(content):
    with pytest.raises(ValueError, match="holds no certificate"):
        x509_fields.first(content)


@given(st.data())
def test_what_is_damaged_is_an_error_or_a_certificate(data):
    damaged = bytearray(der(AUTHORITY.certificate))
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, min(200, len(damaged) - 1)))] = data.draw(st.integers(0, 255))
    try:
        x509_fields.parse(bytes(damaged))
    except ValueError as error:
        assert str(error)


@given(st.integers(0, len(der(AUTHORITY.certificate)) - 1))
def test_what_is_cut_off_is_an_error(size):
    with pytest.raises(ValueError, match="malformed certificate"):
        x509_fields.parse(der(AUTHORITY.certificate)[:size])


def test_what_follows_is_an_error():
    with pytest.raises(ValueError, match="something follows it"):
        x509_fields.parse(der(AUTHORITY.certificate) + b"\x30\x00")
