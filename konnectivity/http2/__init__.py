"""Sans-I/O HTTP/2 (RFC 9113) for long-lived bidirectional streams, in both roles.

Bytes in -> events (`Http2Connection.receive`); verbs -> bytes out (`Http2Connection.take`).
It knows nothing of sockets, clocks, event loops or gRPC. It has an HPACK (RFC 7541) of its own, which tests compare
with the `hpack` library.

    http2_connection  one connection: reader, receiving half and sending half together, and the verbs
    frame_reader      bytes -> frames
    inbound           receiving half: effects of the peer's frames
    outbound          sending half: frames to write, within the peer's windows
    streams           table of open streams, and memory of closed ones
    stream_state      state and windows of one stream
    events            results of `receive`
    header_blocks     fragments -> header lists
    header_decoder    HPACK, with limits
    header_encoder    HPACK, without a dynamic table
    header_table      static and dynamic table of HPACK
    huffman_code      Huffman code of HPACK
    header_rules      rules for header blocks (RFC 9113 section 8)
    frames            constants, frame builders
    frame_payloads    rules for the payload of each type of frame (section 6)
    settings          SETTINGS of one side (section 6.5)
    abuse_limits      limits on what a hostile peer may cost
"""

from konnectivity.http2.abuse_limits import Limits
from konnectivity.http2.frames import ErrorCode
from konnectivity.http2.http2_connection import Http2Connection
from konnectivity.http2.settings import Settings

__all__ = ["ErrorCode", "Http2Connection", "Limits", "Settings"]
