"""HTTP/1.1 (RFC 9112) for everything but the CONNECT frontend: health and admin ports, clients, forward proxies.

`http_server` serves `handlers`. `message_heads` is the one reader of message heads, `http_exchange` the one client side
of a request, used by `http_client` (streaming) and `small_requests` (whole responses).
"""
