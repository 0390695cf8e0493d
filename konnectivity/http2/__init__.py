"""Sans-I/O HTTP/2 (RFC 9113) for long-lived bidirectional streams, in both roles.

Bytes in -> events (`Http2Connection.receive`); verbs -> bytes out (`Http2Connection.take`).
It knows nothing of sockets, clocks, event loops or gRPC. Header compression is the `hpack` library's.

    frames       constants, frame builders
    headers      rules for header blocks (RFC 9113 section 8)
    settings     the two sides' SETTINGS
    events       what `receive` returns
    stream       state and windows of one stream
    limits       what a hostile peer may cost us
    connection   the state machine
"""

from konnectivity.http2.connection import Http2Connection
from konnectivity.http2.frames import ErrorCode
from konnectivity.http2.limits import Limits
from konnectivity.http2.settings import Settings

__all__ = ["ErrorCode", "Http2Connection", "Limits", "Settings"]
