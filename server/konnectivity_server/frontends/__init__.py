"""Frontends of a server: HTTP CONNECT and gRPC, told apart by `protocol_detector` on a shared socket."""
