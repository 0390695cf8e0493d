"""Chain of certificates by which TLS verified a client. Owns nothing; reads a session whose handshake is complete."""

from __future__ import annotations

import _ssl
import ssl


def has_certificate(session: ssl.SSLObject) -> bool:
    """Return whether the client showed a certificate."""
    return session.getpeercert(binary_form=True) is not None


def verified_chain(session: ssl.SSLObject) -> list[bytes]:
    """Return the chain in DER form, the client's certificate first; empty if this handshake verified none."""
    # Python before 3.13 has this method only on the object behind the session.
    chain = session._sslobj.get_verified_chain()  # type: ignore[attr-defined]
    return [certificate.public_bytes(_ssl.ENCODING_DER) for certificate in chain or ()]
