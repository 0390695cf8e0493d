"""TLS from files, by Go's rules, with certificates that change while connections live. See docs/tls.md."""

from konnectivity.tls import failures
from konnectivity.tls.contexts import TlsError, client_context, server_context, server_name
from konnectivity.tls.reload import ClientTls, ServerTls

__all__ = ["ClientTls", "ServerTls", "TlsError", "client_context", "failures", "server_context", "server_name"]
