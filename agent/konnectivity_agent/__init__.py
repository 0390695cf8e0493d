"""The proxy agent: dials out to a server, holds one stream open, and opens the connections that the server asks for.

dialer    opens a target: DNS, IPv4 and IPv6, a deadline, Go's error texts
policy    which destinations may be dialled (pure)
plan      what to connect to, and when (pure)
fleet     all servers: finds them and keeps a tunnel to each
uplink    one connection to one server
endpoints health and admin ports
metrics   what Prometheus scrapes
cli, app  options, and the parts wired together
"""
