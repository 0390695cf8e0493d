"""Konnectivity for Python: the library shared by proxy-server, proxy-agent and the `konnectivity` tool.

The packages, from the wire up; each may use those above it:

    untrusted   input from peers, files and people, bounded
    http2       sans-I/O HTTP/2 (RFC 9113)
    grpc        bidirectional gRPC message streams on HTTP/2, or on grpcio behind the same interface
    wire        packets of the Konnectivity protocol
    tunnel      many proxied connections on one message stream
    http1       HTTP/1.1 for health and admin ports, the tool's client and forward proxies
    net, tls    sockets, listeners and addresses; TLS from files that change
    kube        Kubernetes API client for token reviews and leases
    metrics     counters, and their Prometheus text
    runtime     process, options, logs, tasks
    client      asyncio client: dial host:port through a server
    tool        the `konnectivity` tool: cli, doctor, pki, egress, manifests, top
    testing     a throwaway deployment on loopback, for the demo

On top of it stand `konnectivity_server` (server/) and `konnectivity_agent` (agent/), which never import each other.
"""

__version__ = "0.2.0"
