"""gRPC bidirectional streams of opaque messages.

status      codes, messages and their percent-encoding
framing     length-prefixed messages out of any cut of bytes
metadata    request and response headers, timeouts
stream      the seam: what everything above may know of a stream
header_budget  bytes of header fields held for calls
native      the seam on konnectivity.http2 and asyncio
alternative the seam on grpcio (extra `grpcio`), the independent oracle
"""
