"""The proxy server: accepts agents' tunnels and carries kube-apiserver's dials through them.

frontends      HTTP CONNECT and gRPC, as kube-apiserver uses them
pending_dials  dials that wait for an answer: choose a backend, ask it, retry on another, tell the frontend
registry       connected backends (pure); strategies choose among them (pure)
agents         streams of agents, their credentials and identifiers
peers          other servers of the set, and the lease by which agents count this one
tenants        the clusters that the server serves; one without --tenants
workers        the processes of --workers
api            health and admin ports; dashboard is the page on it
audit          the record of each dial; tracing has its OpenTelemetry spans
server_app     everything wired together; server_main is the entry point, server_options the declarations
"""
