"""Tunnel: many proxied TCP connections on one message stream, fair, exact to the byte and bounded in memory.

`connection` is the state machine of one connection (`states` has its tables), with `outbound_queue` and `inbound_flow`
for its two directions. `scheduler`, `flow_control` and `stream_hold` share the stream among connections. `tunnel` joins
them to a stream; `dialing` and `serving` are its two ends, `relay` joins a connection to a socket, and
`connection_transport` to a program in this process.
"""
