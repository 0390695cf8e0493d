"""Private keys: generation by kind, and PEM encoding. Pure."""

from __future__ import annotations

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes

from konnectivity.tool.pki.key_types import DEFAULT, KEY_TYPES

_EXPONENT = 65537
_CURVES: dict[str, ec.EllipticCurve] = {"P256": ec.SECP256R1(), "P384": ec.SECP384R1()}

Private = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def new(key_type: str = DEFAULT) -> Private:
    """Return a new key of one of KEY_TYPES."""
    if key_type not in KEY_TYPES:
        raise ValueError(f"key type {key_type!r} is not one of {', '.join(KEY_TYPES)}")
    kind, _, size = key_type.partition("-")
    return rsa.generate_private_key(_EXPONENT, int(size)) if kind == "RSA" else ec.generate_private_key(_CURVES[size])


def to_pem(key: CertificateIssuerPrivateKeyTypes) -> bytes:
    """Return a private key as PKCS #8 PEM without a password."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def signing_hash(key: CertificateIssuerPrivateKeyTypes) -> hashes.SHA256 | hashes.SHA384 | None:
    """Return the hash for signatures with this key."""
    if isinstance(key, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey):
        return None
    large = isinstance(key, ec.EllipticCurvePrivateKey) and key.key_size > 256
    return hashes.SHA384() if large else hashes.SHA256()
