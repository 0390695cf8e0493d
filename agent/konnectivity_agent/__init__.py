"""The proxy agent: dials out to a server, holds one stream open, and opens the connections that the server asks for.

dialer    opens a target: DNS, IPv4 and IPv6, a deadline, Go's error texts
uplink    one server: connect, hold the stream, connect again
cli, app  options, and the parts wired together
"""
