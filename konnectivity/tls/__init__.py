"""TLS from files, by Go's rules, with certificates that change while connections live. See docs/tls.md."""

from konnectivity.tls import failures
from konnectivity.tls.contexts import client_context, key_exchange, server_context, server_name
from konnectivity.tls.pem_files import TlsError
from konnectivity.tls.reload import ClientTls, ServerTls

__all__ = [
    "ClientTls",
    "ServerTls",
    "TlsError",
    "client_context",
    "failures",
    "key_exchange",
    "server_context",
    "server_name",
]
