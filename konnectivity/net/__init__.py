"""Sockets of the operating system: listeners with limits per source, outgoing connections, addresses, error texts.

`addresses`, `source_address`, `backoff` and `token_bucket` are pure. No module of this package knows a protocol above
TCP and TLS.
"""
