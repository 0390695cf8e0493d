"""TLS by Go's rules, from files that are replaced while the programs run. See docs/secure/tls.md.

`contexts` makes contexts, `certificate_reload` renews them, `pem_files` judges files, `handshake_failures` explains.
"""

from konnectivity.tls import handshake_failures
from konnectivity.tls.certificate_reload import ClientTls, ServerTls
from konnectivity.tls.contexts import client_context, key_exchange, server_context, server_name
from konnectivity.tls.pem_files import TlsError
from konnectivity.tls.shared_tls import SharedTls

__all__ = [
    "ClientTls",
    "ServerTls",
    "SharedTls",
    "TlsError",
    "client_context",
    "handshake_failures",
    "key_exchange",
    "server_context",
    "server_name",
]
