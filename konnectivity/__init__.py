"""Konnectivity for Python: the library shared by proxy-server, proxy-agent and the `konnectivity` tool.

The map, from the wire up:

    http2       sans-I/O HTTP/2 endpoint: bytes in -> events, verbs -> bytes out
    grpc        bidi message streams on it (and on grpcio): the one seam everything above knows
    wire        the Packet codec
    window      how large the windows of a tunnel are
    link        pure state machine of one proxied connection: credit, half-close, close (`transitions`: its tables;
                `endpoint`, `line`: what it asks of its two sides)
    tunnel      many links on one stream: dispatch, fair scheduling, credit
    relay       socket <-> link: the only byte pump
    client      asyncio client: dial("host:port") through a server
    pki, egress, manifests, doctor            what the tool makes and checks: certificates, kube-apiserver's egress
                                              configuration, Kubernetes objects, running tunnels
    options, logs, tls, listen, lifecycle     what a program needs around them
    zipped        loads all of it out of one file
    cli, testing                              the `konnectivity` tool; throwaway CA and peers for tests

Server and agent depend on this package, never on each other.
"""

__version__ = "0.1.0"
