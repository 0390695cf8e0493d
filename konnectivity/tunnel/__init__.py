"""Tunnel: many proxied TCP connections on one message stream, fair, exact to the byte and bounded in memory.

`connection` is the state machine of one connection (`states` has its tables), `flow_control` and `scheduler` share the
tunnel among connections, `dialing` and `serving` are its two ends, and `relay` joins a connection to a socket.
"""
