"""Sans-I/O HTTP/2 (RFC 9113) for long-lived bidirectional streams, in both roles.

Bytes in -> events (`Http2Connection.receive`); verbs -> bytes out (`Http2Connection.take`).
It knows nothing of sockets, clocks, event loops or gRPC. Header blocks are encoded by the `hpack` library.

    frames       constants, frame builders
    payloads     what each frame's payload must look like
    headers      rules for header blocks (RFC 9113 section 8)
    settings     one side's SETTINGS
    limits       what a hostile peer may cost us
    events       what `receive` returns
    stream       state and windows of one stream
    table        which streams are open, and what became of the others
    reader       bytes -> frames
    blocks       fragments -> header lists
    header_decoder  HPACK, with limits
    inbound      what the peer's frames do
    outbound     what leaves, and the windows it keeps to
    connection   the three together, and the verbs
"""

from konnectivity.http2.abuse_limits import Limits
from konnectivity.http2.frames import ErrorCode
from konnectivity.http2.http2_connection import Http2Connection
from konnectivity.http2.settings import Settings

__all__ = ["ErrorCode", "Http2Connection", "Limits", "Settings"]
