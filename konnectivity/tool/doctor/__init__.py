"""Checks of `konnectivity doctor`: a probe gathers facts within a deadline, a verdict turns facts into results (pure).

listener_probe      a TLS listener; service_probe asks which service answers behind it
listener_verdict    verdict on the facts of listener_probe
token_check         a service account token
socket_protocol     the protocol of a frontend's socket, compared with an egress configuration
certificate_files   certificates, keys and bundles on disk
kubernetes_api      token reviews and leases
server_comparison   several servers and their agents
end_to_end_dial     a dial through a frontend

The options of the two programs are known to `konnectivity.tool.cli.doctor_command` only.
"""
