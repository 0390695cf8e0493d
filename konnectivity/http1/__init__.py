"""HTTP/1.1 (RFC 9112) for everything but CONNECT: health and admin ports, the tool's client, forward proxies.

`http_server` serves `handlers`; `http_client` sends one request; `message_heads` is the shared reader of message heads.
"""
