"""gRPC bidirectional streams of opaque messages.

Everything above this package knows two interfaces, and chooses an implementation in `implementations`:

    message_stream     one call: messages in and out, and its end
    transport          `connect` and `serve`, and what they return

The native implementation is on `konnectivity.http2` and asyncio. A transport owns the socket and the HTTP/2 connection,
a call owns its message stream:

    http2_client, http2_server   what each role adds: opening, admission of requests
    http2_transport              one socket that speaks HTTP/2, and its calls
    http2_call                   one call
    http2_writer, event_reader   output and its congestion; input, in turns that do not block the event loop
    keepalive, round_trip        pings
    transport_options            settings of one end

The other implementation is on grpcio (extra `grpcio`), slower and independent of the native one: `grpcio_transport`
and `grpcio_stream`. Limits shared by connections are in `read_scheduler`, `reading_pause`, `send_budget`,
`header_budget`, `message_memory` and `call_memory`; the gRPC protocol itself is in `framing`, `metadata` and `status`.
"""
