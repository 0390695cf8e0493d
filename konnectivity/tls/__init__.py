"""TLS from files, by Go's rules, with certificates that change while connections live. See docs/secure/tls.md."""

from konnectivity.tls import handshake_failures
from konnectivity.tls.certificate_reload import ClientTls, ServerTls
from konnectivity.tls.contexts import client_context, key_exchange, server_context, server_name
from konnectivity.tls.pem_files import TlsError

__all__ = [
    "ClientTls",
    "ServerTls",
    "TlsError",
    "client_context",
    "handshake_failures",
    "key_exchange",
    "server_context",
    "server_name",
]
